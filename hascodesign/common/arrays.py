"""Arrays of numbers in .npy and .npz files; nothing is unpickled.

A header is read by a pattern and held against the bytes that are there before any is unpacked.
numpy parses headers with ``ast``, which lets ten kinds of exception out of damaged ones.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hascodesign.common import packed
from hascodesign.common.inputs import Kind, Unreadable, exactly, opened, printable

MOST_AXES = 8
_MAGIC = b"\x93NUMPY"
_LENGTH = {1: 2, 2: 4, 3: 4}  # bytes of the header's length, by version
_MOST_HEADER = 10_000  # bytes, as numpy allows
_ENTRY = re.compile(
    r"""\s*(?P<quote>['"])(?P<key>descr|fortran_order|shape)(?P=quote)\s*:\s*
    (?P<value>True|False|'[^'"\\]*'|"[^'"\\]*"|\([0-9L,\s]{0,200}\)|\[[^\]]{0,200}\])\s*(?:,|$)""",
    re.VERBOSE,
)
_DTYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248])")
_SHAPE = re.compile(r"\(\s*(?:[0-9]{1,15}L?\s*(?:,\s*[0-9]{1,15}L?\s*)*,?)?\s*\)")


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of an array says."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    start: int  # bytes before the values

    @property
    def bytes(self) -> int:
        """Bytes of the whole file."""
        return self.start + math.prod(self.shape) * self.dtype.itemsize


def read_npy(path: Path, kind: Kind) -> NDArray[Any]:
    """The array of a .npy file."""
    with opened(path, kind) as (file, size):
        header = _header(file, size)
        file.seek(0)
        return _array(header, exactly(file, size))


def read_npz(
    path: Path, kind: Kind, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz archive by name; others in it are passed over.

    Parameters
    ----------
    path : the file.
    kind : its limits.
    required : names of arrays that must be there.
    optional : names of arrays that may be there.

    Raises
    ------
    ConfigError
        Of the class of ``kind``: no such archive, an array that is none of numbers, or sizes that
        its bytes do not bear out.
    """
    with opened(path, kind) as (file, size):
        if file.read(len(_MAGIC)) == _MAGIC:
            raise Unreadable("must be an .npz archive, not a single array")
        try:
            archive = packed.archive(file, size, kind.most_unpacked(size))
        except Unreadable as error:
            raise Unreadable(f"must be a readable .npz archive: it {error}") from None
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
        for name in required:
            if name not in members:
                found = ", ".join(printable(key[:40]) for key in [*members][:8]) or "none"
                raise Unreadable(f"must hold {name!r}, not only: {found}")
        wanted = [members[name] for name in (*required, *optional) if name in members]
        headers = [_member_header(archive, member) for member in wanted]  # all before any values
        return {
            member.filename.removesuffix(".npy"): _array(header, _content(archive, member))
            for member, header in zip(wanted, headers, strict=True)
        }


def _member_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Header:
    start = _content(archive, member, _MOST_HEADER + 16)
    try:
        return _header(io.BytesIO(start), member.file_size)
    except Unreadable as error:
        raise Unreadable(f"must be a readable .npz archive: {member.filename} {error}") from None


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int | None = None) -> bytes:
    try:
        return packed.unpacked(archive, member, most)
    except Unreadable as error:
        raise Unreadable(f"must be a readable .npz archive: it {error}") from None


def _array(header: Header, content: bytes) -> NDArray[Any]:
    values = np.frombuffer(content, header.dtype, offset=header.start)
    return values.reshape(header.shape, order="F" if header.fortran else "C")


def _header(file: BinaryIO, size: int) -> Header:
    """The header of an array of ``size`` bytes in all, which it must account for."""
    start = file.read(8)
    if start[:4] == b"PK\3\4":
        raise Unreadable("must be one .npy array, not an .npz archive")
    if start[:6] != _MAGIC or len(start) < 8 or start[6] not in _LENGTH:
        raise Unreadable("must be a .npy file of numbers: its first bytes must say so")
    width = _LENGTH[start[6]]
    length = int.from_bytes(file.read(width), "little")
    if length > min(_MOST_HEADER, size):
        raise Unreadable(f"must have a header of at most {_MOST_HEADER} bytes, not {length}")
    entries = _entries(file.read(length).decode("latin-1"))
    described = entries["descr"].strip("'\"")
    if not _DTYPE.fullmatch(described):
        raise Unreadable(f"must be a .npy file of numbers, not dtype {described[:40]!a}")
    if not _SHAPE.fullmatch(entries["shape"]) or entries["fortran_order"] not in ("True", "False"):
        raise Unreadable(f"must have a shape of whole numbers, not {entries['shape'][:40]!a}")
    shape = tuple(int(n) for n in re.findall("[0-9]+", entries["shape"]))
    if len(shape) > MOST_AXES:
        raise Unreadable(f"must have at most {MOST_AXES} axes, not {len(shape)}")
    fortran = entries["fortran_order"] == "True"
    header = Header(np.dtype(described), shape, fortran, 8 + width + length)
    if header.bytes != size:
        raise Unreadable(f"must take {header.bytes} bytes as its header says, not {size}")
    return header


def _entries(text: str) -> dict[str, str]:
    """The three entries of the header's dictionary, as text."""
    inner, entries, at = text.strip(), {}, 1
    if inner[:1] == "{" and inner[-1:] == "}":
        inner = inner[:-1].rstrip()
        while match := _ENTRY.match(inner, at):
            entries[match["key"]] = match["value"]
            at = match.end()
    if at < len(inner) or len(entries) != 3:
        raise Unreadable("must have a header of descr, fortran_order and shape")
    return entries
