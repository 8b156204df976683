"""The delta of one chip of a fleet: the words that its schedule changes in the fleet's bitstream.

An .npz without pickle: ``delta.json`` (uint8) names the memories with SELECT, width and depth;
``<memory>.address`` uint32 [n] and ``<memory>.words`` uint8 [n, bytes of a word], least byte first,
are what differs from the memories as built. ``schedule.json`` is for people and for hascodesign.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .contents import Contents, slots_of
from .description import Description
from .errors import UNREADABLE, InputError

VERSION = 1


def read(path: Path, base: Contents, built: Description) -> Contents:
    """The memories as built, with a chip's words in their places.

    Parameters
    ----------
    path : the delta.
    base : the memories of the bitstream that all chips run.
    built : that build.

    Raises
    ------
    InputError
        No delta, one of another build, or one that leaves the row map no map.
    """
    if built.streamed:
        raise InputError(
            f"{path}: a delta has no streamed weights, and those of {built.streamed[0].name} are;"
            " load the schedule folder of the chip's own flow"
        )
    head, arrays = _opened(path)
    listed = {one["name"]: one for one in head["memories"]}
    found = []
    for number, (memory, words) in enumerate(zip(built.memories, base.words, strict=True)):
        if not memory.depth and memory.name not in listed:
            found.append(words)
            continue
        wanted = {"select": number, "width": memory.width, "depth": memory.depth}
        got = {key: listed.get(memory.name, {}).get(key) for key in wanted}
        if got != wanted:
            raise InputError(f"{path}: {memory.name} must have {wanted}, as built, not {got}")
        found.append(_changed(path, memory.name, words, memory.width, arrays))
    extra = sorted(set(listed) - {memory.name for memory in built.memories})
    if extra:
        raise InputError(f"{path}: the build must have a memory {extra[0]}, and does not")
    return replace(base, words=tuple(found), slots=slots_of(path, found[1], built))


def _opened(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        head = json.loads(arrays["delta.json"].tobytes())
        if head["version"] != VERSION or not isinstance(head["memories"], list):
            raise ValueError(f"version {head['version']}")
    except FileNotFoundError:
        raise InputError(f"{path} must be there: the delta of a chip") from None
    except UNREADABLE as error:
        raise InputError(
            f"{path} must be a delta of version {VERSION}: {type(error).__name__} {error}"
        ) from None
    return head, arrays


def _changed(
    path: Path, name: str, words: tuple[int, ...], width: int, arrays: dict[str, Any]
) -> tuple[int, ...]:
    addresses, rows = arrays.get(f"{name}.address"), arrays.get(f"{name}.words")
    if addresses is None or rows is None or rows.dtype != np.uint8 or rows.ndim != 2:
        raise InputError(f"{path} must have {name}.address and {name}.words")
    made = list(words)
    for address, row in zip(addresses.tolist(), rows, strict=False):
        word = int.from_bytes(row.tobytes(), "little")
        if not 0 <= address < len(made) or word >> width:
            raise InputError(f"{path}: {name} must have words of {width} bits below {len(made)}")
        made[address] = word
    if len(addresses) != len(rows):
        raise InputError(f"{path} must have a word of {name} for each address")
    return tuple(made)
