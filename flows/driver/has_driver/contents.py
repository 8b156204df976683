"""What a schedule puts into the memories: read from a folder, and held against the build first.

The folder is ``schedule/`` of a delivered driver: ``manifest.json`` and a ``.mem`` file for each
memory, a line of hexadecimal digits for each word, lowest address first.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .codes import beat_bytes
from .description import Description, Memory
from .errors import UNREADABLE, InputError
from .link import Bytes

MANIFEST = "manifest.json"
_FILE = re.compile(r"[a-z][a-z0-9_]*\.mem")
_OF_PE = {"weights": "weights", "preload": "preload"}  # content of the memories that each PE has
STREAM = "stream"

Words = tuple[int, ...]


@dataclass(frozen=True)
class Contents:
    """Every memory as the registers take it."""

    words: tuple[Words, ...]  # by the memory's number, unsigned, of the build's width
    slots: tuple[tuple[Words, ...], ...]  # per layer and pass, the row of each PE, -1 for idle
    stream: tuple[Bytes, ...]  # per pass of the streamed layers, the bytes of its packet

    def without(self, numbers: Sequence[int]) -> Contents:
        """The same where nothing is known of some memories."""
        held = enumerate(self.words)
        return replace(self, words=tuple(() if n in numbers else words for n, words in held))


@dataclass(frozen=True)
class _File:
    width: int
    signed: bool
    layer: str | None
    words: Words  # unsigned


def read(folder: Path, built: Description) -> Contents:
    """The memories of a folder, as a build takes them.

    Parameters
    ----------
    folder : of ``manifest.json``.
    built : the build that they are written into.

    Raises
    ------
    InputError
        A file is missing, changed or malformed, or a memory has another size than the build's.
    """
    files = _files(folder)
    found = []
    for memory in built.memories:
        if memory.content in _OF_PE:
            found.append(_of_all_pes(folder, files, memory, built))
        else:
            one = _named(folder, files, memory.name, memory.depth)
            found.append(_widened(folder, memory.name, one, memory.width, memory.content))
    slots = slots_of(folder, found[1], built)
    return Contents(tuple(found), slots, _stream(folder, files, built))


def _files(folder: Path) -> dict[str, _File]:
    path = folder / MANIFEST
    try:
        entries = json.loads(path.read_text("utf-8"))["files"]
        return {
            str(entry["file"]).removesuffix(".mem"): _read(folder, entry)
            for entry in entries
            if str(entry["file"]).endswith(".mem")
        }
    except FileNotFoundError as error:
        raise InputError(f"{error.filename} must be there: a schedule has it") from None
    except UNREADABLE as error:
        raise InputError(f"{path} must list the memories of a schedule: {error!r}") from None


def _read(folder: Path, entry: dict[str, Any]) -> _File:
    name, width = str(entry["file"]), int(entry["width"])
    if not _FILE.fullmatch(name):
        raise InputError(f"a memory's file must be named in lower case, .mem, not {name!r}")
    content = (folder / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise InputError(f"{folder / name} must be the file that {MANIFEST} lists: it was changed")
    words = tuple(int(line, 16) for line in content.split())
    if len(words) != entry["depth"] or max(words, default=0) >> width:
        raise InputError(f"{folder / name} must hold {entry['depth']} words of {width} bits")
    layer = entry["layer"]
    return _File(width, bool(entry["signed"]), None if layer is None else str(layer), words)


def _named(folder: Path, files: dict[str, _File], name: str, depth: int) -> _File:
    one = files.get(name)
    if one is None:
        raise InputError(f"{folder} must have a memory {name}, as the build has")
    if len(one.words) != depth:
        raise InputError(
            f"{folder}: {name} must have {depth} words, as in the build, not {len(one.words)}"
        )
    return one


def _widened(folder: Path, name: str, one: _File, width: int, content: str) -> Words:
    """Words of the build's width; a row map's is the code of an idle slot, and stays."""
    if one.width > width or (content in ("row_map", "descending") and one.width != width):
        raise InputError(f"{folder}: {name} must have words of {width} bits, not {one.width}")
    if not one.signed:
        return one.words
    sign, mask = 1 << (one.width - 1), (1 << width) - 1
    return tuple(((word ^ sign) - sign) & mask for word in one.words)


def _of_all_pes(folder: Path, files: dict[str, _File], memory: Memory, built: Description) -> Words:
    """Words of all PEs side by side, PE 0 lowest."""
    if not memory.depth:
        return ()
    pes = built.array.pe
    width, digits = memory.width // pes, max(2, len(str(pes - 1)))
    names = [f"{_OF_PE[memory.content]}_pe{pe:0{digits}d}" for pe in range(pes)]
    banks = [_named(folder, files, name, memory.depth) for name in names]
    if memory.content == "weights":
        _check_layers(folder, banks[0].layer, built)
    words = [
        _widened(folder, name, bank, width, memory.content)
        for name, bank in zip(names, banks, strict=True)
    ]
    return tuple(
        sum(word << (width * pe) for pe, word in enumerate(step))
        for step in zip(*words, strict=True)
    )


def _check_layers(folder: Path, listed: str | None, built: Description) -> None:
    mine = [layer.name for layer in built.layers if layer.on_chip]
    theirs = [layer.name for layer in built.layers] if listed is None else listed.split()
    if mine != theirs:
        raise InputError(
            f"{folder}: weights of {', '.join(mine)} must be on chip, not of {', '.join(theirs)}"
        )


def slots_of(folder: Path, words: Words, built: Description) -> tuple[tuple[Words, ...], ...]:
    """The row map by layer and pass; every layer must have each row once."""
    pes, idle, place = built.array.pe, (1 << built.memories[1].width) - 1, 0
    found = []
    for layer in built.layers:
        size = layer.passes * pes
        rows = [-1 if word == idle else word for word in words[place : place + size]]
        if sorted(row for row in rows if row >= 0) != list(range(layer.rows)):
            raise InputError(
                f"{folder}: the row map must place each of the {layer.rows} rows of {layer.name}"
                " once"
            )
        found.append(tuple(tuple(rows[at : at + pes]) for at in range(0, size, pes)))
        place += size
    return tuple(found)


def _stream(folder: Path, files: dict[str, _File], built: Description) -> tuple[Bytes, ...]:
    """Packets of the streamed layers, one a pass."""
    if not built.streamed:
        return ()
    array = built.array
    passes = [layer.steps(array) for layer in built.streamed for _ in range(layer.passes)]
    one = _named(folder, files, STREAM, sum(passes))
    size = beat_bytes(array.pe * array.simd * array.weight_bits)
    beats = [np.frombuffer(word.to_bytes(size, "little"), np.uint8) for word in one.words]
    return tuple(np.concatenate(part) for part in _cut(beats, passes))


def _cut(beats: list[Bytes], sizes: Sequence[int]) -> list[list[Bytes]]:
    found, start = [], 0
    for size in sizes:
        found.append(beats[start : start + size])
        start += size
    return found
