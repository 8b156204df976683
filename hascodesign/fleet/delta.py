"""The delta of a chip: the words to write at run time so that its accelerator is that of its plan.

Every chip of a fleet runs one bitstream, that of the plain build: rows as trained, in plain order.
What another schedule changes are words of its memories, which are written through the registers
of has_core (docs/core.md). A delta holds those words, and the schedule.json that they come from.
It is an .npz without pickle, the same bytes for the same schedule:

``delta.json``
    uint8, JSON: ``version``, ``chip`` (the key of its result), ``roms`` (sha256 of the plan's ROM
    files) and ``memories``: name, SELECT, width in bits and depth in words of each.
``schedule.json``
    uint8, the file's bytes.
``<memory>.address``, ``<memory>.words``
    uint32 [n] and uint8 [n, bytes of a word], least byte first: the words that differ.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.build import BuildPlan, Rom
from hascodesign.contract.types import IntegerNetwork, Schedule
from hascodesign.render import rom

VERSION = 1
WEIGHTS = "weights"  # one word: a step of all PEs


@dataclass(frozen=True, slots=True)
class Written:
    """One memory as the registers see it."""

    name: str
    select: int  # of register SELECT
    width: int  # bits of a word
    words: tuple[int, ...]  # unsigned


def memories(roms: Sequence[Rom]) -> tuple[Written, ...]:
    """The memories of a build in the order of SELECT; no weights where no layer is on chip."""
    banks = [one for one in roms if one.content == "weights"]
    rest = [one for one in roms if one.content != "weights"]
    found = []
    if banks:
        width = banks[0].width
        steps = zip(*(one.words for one in banks), strict=True)
        words = tuple(
            sum(word << (place * width) for place, word in enumerate(step)) for step in steps
        )
        found.append(Written(WEIGHTS, 0, width * len(banks), words))
    for select, one in enumerate(rest, 1):
        mask = (1 << one.width) - 1
        found.append(Written(one.name, select, one.width, tuple(word & mask for word in one.words)))
    return tuple(found)


def digest(roms: Sequence[Rom]) -> str:
    """sha256 over the ROM files of a build, as its plan has them."""
    return BuildPlan(rom.rom_files(roms)).digest


def encode(key: str, base: Sequence[Rom], roms: Sequence[Rom], schedule: bytes) -> bytes:
    """The delta's bytes.

    Parameters
    ----------
    key : of the chip's result.
    base : memories of the bitstream that all chips run.
    roms : memories of the chip's plan.
    schedule : its schedule.json.
    """
    wanted = memories(roms)
    before = _as_wide({one.name: one for one in base}, wanted, base)
    arrays: dict[str, NDArray[Any]] = {}
    head = {
        "version": VERSION,
        "chip": key,
        "roms": digest(roms),
        "memories": [
            {
                "name": one.name,
                "select": one.select,
                "width": one.width,
                "depth": len(one.words),
            }
            for one in wanted
        ],
    }
    arrays["delta.json"] = _bytes(json.dumps(head, separators=(",", ":")).encode())
    arrays["schedule.json"] = _bytes(schedule)
    for one in wanted:
        known = before.get(one.name, ())
        size = -(-one.width // 8)
        changed = [
            place
            for place, word in enumerate(one.words)
            if place >= len(known) or known[place] != word
        ]
        packed = b"".join(one.words[place].to_bytes(size, "little") for place in changed)
        arrays[f"{one.name}.address"] = np.array(changed, dtype=np.uint32)
        arrays[f"{one.name}.words"] = _bytes(packed).reshape(len(changed), size)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _as_wide(
    named: Mapping[str, Rom], wanted: Sequence[Written], base: Sequence[Rom]
) -> dict[str, tuple[int, ...]]:
    """Words of the bitstream's memories in the widths of the chip's: signs are extended."""
    found = {}
    for one in wanted:
        if one.name == WEIGHTS:
            found[one.name] = memories(base)[0].words
        elif one.name in named:
            mask = (1 << one.width) - 1
            known = named[one.name]
            idle = known.idle  # all ones, in any width
            found[one.name] = tuple(mask if word == idle else word & mask for word in known.words)
    return found


def _bytes(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, dtype=np.uint8)


# ----------------------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class Delta:
    """A delta that was read."""

    key: str
    roms: str  # sha256 of the plan's ROM files
    schedule: bytes  # schedule.json
    memories: Mapping[str, tuple[int, int, int]]  # name -> SELECT, width, depth
    words: Mapping[str, Mapping[int, int]]  # name -> address -> word


def decode(content: bytes) -> Delta:
    """A delta's content.

    Raises
    ------
    ValueError, KeyError, OSError
        The bytes are not what `encode` gives.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    head = json.loads(arrays["delta.json"].tobytes())
    if head["version"] != VERSION:
        raise ValueError(f"version must be {VERSION}, not {head['version']}")
    sizes = {
        m["name"]: (int(m["select"]), int(m["width"]), int(m["depth"])) for m in head["memories"]
    }
    words = {}
    for name in sizes:
        packed = arrays[f"{name}.words"]
        values = (int.from_bytes(row.tobytes(), "little") for row in packed)
        words[name] = dict(zip(arrays[f"{name}.address"].tolist(), values, strict=True))
    return Delta(head["chip"], head["roms"], arrays["schedule.json"].tobytes(), sizes, words)


def apply(base: Sequence[Rom], delta: Delta) -> dict[str, tuple[int, ...]]:
    """Words of every memory after the delta was written over those of the bitstream."""
    wanted = [
        Written(name, select, width, (0,) * depth)
        for name, (select, width, depth) in delta.memories.items()
    ]
    before = _as_wide({one.name: one for one in base}, wanted, base)
    found = {}
    for one in wanted:
        known, changed = before.get(one.name, ()), delta.words[one.name]
        found[one.name] = tuple(
            changed[place] if place in changed else known[place] for place in range(len(one.words))
        )
    return found


def base_roms(network: IntegerNetwork, plain: Schedule, on_chip: Sequence[bool]) -> tuple[Rom, ...]:
    """Memories of the bitstream that all chips run: rows as trained, in plain order."""
    return rom.build_roms(network, plain, on_chip)
