"""The delta of a chip: the words to write at run time so that its accelerator is that of its plan.

Every chip of a fleet runs one bitstream, that of the plain build: rows as trained, in plain order,
thresholds in place of shifts where rows may be written.
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
from hascodesign.render import rom

VERSION = 1
WEIGHTS = "weights"
BANKED = (WEIGHTS, "preload")  # one word is that of all PEs


@dataclass(frozen=True, slots=True)
class Written:
    """One memory as the registers see it."""

    name: str
    select: int  # of register SELECT
    width: int  # bits of a word
    words: tuple[int, ...]  # unsigned


def memories(roms: Sequence[Rom]) -> tuple[Written, ...]:
    """The memories of a build in the order of SELECT; no weights where no layer is on chip.

    Parameters
    ----------
    roms : in the order of the build.
    """
    groups: dict[str, list[Rom]] = {}
    for one in roms:
        groups.setdefault(one.content if one.content in BANKED else one.name, []).append(one)
    first = 0 if WEIGHTS in groups else 1
    return tuple(
        _written(name, select, banks) for select, (name, banks) in enumerate(groups.items(), first)
    )


def _written(name: str, select: int, banks: Sequence[Rom]) -> Written:
    """Banks of one memory as one, PE 0 lowest."""
    width = banks[0].width
    mask = (1 << width) - 1
    words = tuple(
        sum((word & mask) << (at * width) for at, word in enumerate(step))
        for step in zip(*(one.words for one in banks), strict=True)
    )
    return Written(name, select, width * len(banks), words)


def misfit(base: Sequence[Rom], roms: Sequence[Rom]) -> str:
    """Why a bitstream cannot take the memories of a plan; empty where it can."""
    before, wanted = memories(base), memories(roms)
    names = [[one.name for one in side] for side in (before, wanted)]
    if names[0] != names[1]:
        return f"its memories must be {', '.join(names[0])}, not {', '.join(names[1])}"
    for held, one in zip(before, wanted, strict=True):
        if len(held.words) != len(one.words):
            return f"{one.name} must have {len(held.words)} words, not {len(one.words)}"
        if one.width != held.width:
            return f"words of {one.name} must have {held.width} bits, not {one.width}"
    return ""


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

    Raises
    ------
    ValueError
        The bitstream cannot take them: see `misfit`.
    """
    if reason := misfit(base, roms):
        raise ValueError(reason)
    wanted = memories(roms)
    before = {one.name: one.words for one in memories(base)}
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
        size = -(-one.width // 8)
        pairs = zip(before[one.name], one.words, strict=True)
        changed = [place for place, (old, new) in enumerate(pairs) if old != new]
        packed = b"".join(one.words[place].to_bytes(size, "little") for place in changed)
        arrays[f"{one.name}.address"] = np.array(changed, dtype=np.uint32)
        arrays[f"{one.name}.words"] = _bytes(packed).reshape(len(changed), size)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


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
    """Words of every memory after the delta was written over those of the bitstream.

    Raises
    ------
    ValueError
        The delta is for other memories than the bitstream's.
    """
    before = memories(base)
    held = {one.name: (one.select, one.width, len(one.words)) for one in before}
    if held != dict(delta.memories):
        raise ValueError(f"the memories must be {held}, not {dict(delta.memories)}")
    return {
        one.name: tuple(
            delta.words[one.name].get(place, word) for place, word in enumerate(one.words)
        )
        for one in before
    }
