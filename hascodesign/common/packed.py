"""The directory of a zip archive, held against its limits before anything is unpacked."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import BinaryIO

from hascodesign.common.inputs import Unreadable, amount, one_line

MOST_MEMBERS = 10_000
MOST_DIRECTORY = 4 << 20  # bytes
_END = struct.Struct("<4s4H2LH")  # end of central directory
_LOCATOR = struct.Struct("<4sLQL")  # of the 64-bit record
_END64 = struct.Struct("<4sQ2H2L4Q")
#: What zipfile and numpy let out for damaged archives; RuntimeError: of a member with a password,
#: NotImplementedError: of a method of compression, LookupError: of an encoding or a missing name.
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError),
    *(NotImplementedError, RuntimeError, LookupError),
)


def archive(file: BinaryIO, size: int, most: int) -> zipfile.ZipFile:
    """A zip archive whose members together unpack to at most ``most`` bytes.

    Raises
    ------
    Unreadable
        No archive, one whose directory is larger than any that is taken, or a member that is
        encrypted, doubled, packed otherwise than by deflate, or larger than allowed.
    """
    count = _check_end(file, size)
    try:
        opened = zipfile.ZipFile(file)
    except DAMAGE as error:
        raise Unreadable(f"must be a zip archive: {one_line(error)}") from None
    members = opened.infolist()
    if len(members) != count:
        raise Unreadable(f"must be an archive of {count} members as it says, not {len(members)}")
    if len({member.filename for member in members}) < len(members):
        raise Unreadable("must be an archive without two members of one name")
    for member in members:
        if member.flag_bits & 1 or member.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise Unreadable(f"must be an archive stored or deflated: {member.filename[:40]!r}")
        stored = member.compress_type == zipfile.ZIP_STORED
        if (stored and member.file_size != member.compress_size) or member.compress_size > size:
            raise Unreadable(f"must be an archive whose sizes hold: {member.filename[:40]!r}")
    total = sum(member.file_size for member in members)
    if total > most:
        raise Unreadable(f"must unpack to at most {amount(most)}, not {total} bytes")
    return opened


def unpacked(opened: zipfile.ZipFile, member: zipfile.ZipInfo, most: int | None = None) -> bytes:
    """The bytes of one member, as many as the directory says, or its first ``most``."""
    size = member.file_size if most is None else min(most, member.file_size)
    try:
        with opened.open(member) as file:
            content = file.read(size)  # bounded: what a stream holds beyond is not unpacked
    except DAMAGE as error:
        raise Unreadable(f"must be a whole zip archive: {one_line(error)}") from None
    if len(content) != size:
        raise Unreadable("must be a whole zip archive: a member is cut short")
    return content


def _check_end(file: BinaryIO, size: int) -> int:
    """Number of members that the record at the end of the archive says, its place checked.

    The two forms that libraries write are taken, at the very end of the file; readers that search
    for the record otherwise, zipfile and torch, then find the same one.
    """
    if size < _END.size:
        raise Unreadable("must be a zip archive: it is cut short")
    file.seek(size - _END.size)
    signature, *disks, count, length, offset, comment = _END.unpack(file.read(_END.size))
    if signature != b"PK\5\6" or comment:
        raise Unreadable("must be a zip archive: its directory must stand at its end")
    end = size - _END.size
    at = end - _LOCATOR.size - _END64.size
    if at >= 0:
        file.seek(at)
        record = _END64.unpack(file.read(_END64.size))
        locator = _LOCATOR.unpack(file.read(_LOCATOR.size))
        if locator[0] == b"PK\6\7":
            if record[0] != b"PK\6\6" or locator[2] != at:
                raise Unreadable("must be a zip archive: its directory must stand at its end")
            disks, (count, length, offset), end = [*record[4:6], record[6]], record[7:], at
    if length > MOST_DIRECTORY or count > MOST_MEMBERS:
        raise Unreadable(f"must be an archive of at most {MOST_MEMBERS} members, not {count}")
    if offset + length != end or disks != [0, 0, count]:
        raise Unreadable("must be a zip archive: its directory must be whole")
    file.seek(0)
    return count
