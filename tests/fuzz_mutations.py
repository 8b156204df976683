"""Ways of damaging a file: of any bytes, of text and tables, of headers, archives and gzip."""

from __future__ import annotations

import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
Mutation = Callable[[Rng, bytes, bytes], bytes]  # generator, content, another content

NUMBERS = (
    *("0", "-0", "-0.0", "-1", "1", "7", "15", "16", "255", "65536", "2147483648", "4294967296"),
    *("9223372036854775808", "18446744073709551615", "9" * 50, "9" * 5000, "1e400", "-1e400"),
    *("1e-400", "NaN", "Infinity", "-Infinity", "nan", "inf", "true", "false", "null", "1.0"),
    *("1_0", "0x10", "01", "+1", '"1"', "[]", "{}", "1e5", "0.1", "\u0661"),
)
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[-+.0-9eE_]+|[A-Za-z]+|[\][{}:,=#\n]')
NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")
TEXTS = (
    *(b'"\\ud800"', b'"\\u0000"', b'""', b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80"),
    *(
        b"\r",
        b"\r\n",
        b'"',
        b"'",
        b"\\",
        b";",
        b"\t",
        b"#",
        b"# x: 1\n",
        b"\xc2\xa0",
        b"/*",
        b"\n\n",
    ),
    *(b"[" * 1200, b'{"a":' * 1200, b"x" * 140_000, b"[[[", b"a." * 60, b'"pe": 1, "pe": 2,'),
)


def pick(rng: Rng, choices):
    """One of a sequence."""
    return choices[int(rng.integers(len(choices)))]


def span(rng: Rng, content: bytes, most: int = 64) -> tuple[int, int]:
    """A place in the content."""
    start = int(rng.integers(len(content) + 1))
    return start, min(len(content), start + int(rng.integers(1, most)))


# ------------------------------------------------------------------------------------- any bytes


def truncate(rng, content, other):
    """The file cut short."""
    return content[: int(rng.integers(len(content) + 1))]


def flip(rng, content, other):
    """One to eight bits turned over."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9)) if changed else 0):
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def overwrite(rng, content, other):
    """Some bytes of any value written over, or put in."""
    start, end = span(rng, content, 16)
    return content[:start] + rng.bytes(int(rng.integers(16))) + content[pick(rng, (start, end)) :]


def remove(rng, content, other):
    """A part left out."""
    start, end = span(rng, content)
    return content[:start] + content[end:]


def repeat(rng, content, other):
    """A part that stands several times."""
    start, end = span(rng, content, 256)
    return content[:start] + content[start:end] * int(rng.integers(2, 40)) + content[end:]


def splice(rng, content, other):
    """The beginning of one file and the end of another."""
    return content[: span(rng, content)[0]] + other[span(rng, other)[0] :]


def trailing(rng, content, other):
    """Something after the end, or the file twice."""
    return content + pick(rng, (b"\0", b"\n", b"x" * 100, content, rng.bytes(30)))


def payload(rng, content, other):
    """Bits turned over in the second half, where values stand and no header."""
    half = len(content) // 2
    return content[:half] + flip(rng, content[half:], other)


ANY = (truncate, flip, overwrite, remove, repeat, splice, trailing)


# ----------------------------------------------------------------------------------- text, tables


def _replaced(rng, content, pattern, new):
    found = list(pattern.finditer(content))
    if not found:
        return content
    match = pick(rng, found)
    return content[: match.start()] + new + content[match.end() :]


def number(rng, content, other):
    """A number that is another, or none."""
    return _replaced(rng, content, NUMBER, pick(rng, NUMBERS).encode())


def token(rng, content, other):
    """A token that another one takes the place of."""
    tokens = TOKEN.findall(content) or [b""]
    return _replaced(rng, content, TOKEN, pick(rng, (b"", pick(rng, tokens), pick(rng, TEXTS))))


def swapped(rng, content, other):
    """Two neighbouring tokens that change places."""
    found = list(TOKEN.finditer(content))
    if len(found) < 2:
        return content
    n = int(rng.integers(len(found) - 1))
    one, two = found[n], found[n + 1]
    between = content[one.end() : two.start()]
    return content[: one.start()] + two[0] + between + one[0] + content[two.end() :]


def odd_text(rng, content, other):
    """Characters that a text should not have, somewhere or at its front."""
    at = pick(rng, (0, len(content), span(rng, content)[0]))
    return content[:at] + pick(rng, TEXTS) + content[at:]


def encoded(rng, content, other):
    """The text in another encoding or with other line ends."""
    text = content.decode("utf-8", "replace")
    return pick(
        rng,
        (
            text.encode("utf-16"),
            text.encode("utf-8-sig"),
            text.encode("utf-32-le"),
            content.replace(b"\n", b"\r\n"),
            content.replace(b"\n", b"\r"),
            content.replace(b",", b";"),
        ),
    )


def cell(rng, content, other):
    """A cell of a table with another content."""
    lines = content.split(b"\n")
    n = int(rng.integers(len(lines)))
    cells = lines[n].split(b",")
    cells[int(rng.integers(len(cells)))] = pick(
        rng, (pick(rng, NUMBERS).encode(), pick(rng, TEXTS), b"", b'"a,b"', b'"a\nb"', b' "1" ')
    )
    lines[n] = b",".join(cells)
    return b"\n".join(lines)


def line(rng, content, other):
    """A line left out, doubled, or moved to another place."""
    lines = content.split(b"\n")
    moved = lines.pop(int(rng.integers(len(lines))))
    for _ in range(int(rng.integers(3))):
        lines.insert(int(rng.integers(len(lines) + 1)), moved)
    return b"\n".join(lines)


TEXT = (number, number, number, token, token, swapped, odd_text, encoded, line)
TABLE = (*TEXT, cell, cell, cell)


# ------------------------------------------------------------------------------ headers, archives

EXTREMES = (0, 1, 2, 3, 8, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63)


def _field(rng, content, at):
    width = pick(rng, (1, 2, 4, 8))
    value = pick(rng, EXTREMES) & ((1 << 8 * width) - 1)
    return (
        content[:at] + value.to_bytes(width, pick(rng, ("little", "big"))) + content[at + width :]
    )


def header(rng, content, other):
    """A field near the front with a value at one of its ends."""
    return _field(rng, content, int(rng.integers(min(len(content), 20) + 1)))


def zip_field(rng, content, other):
    """A field of one of the archive's records with a value at one of its ends."""
    found = [m.start() for m in re.finditer(b"PK(\1\2|\3\4|\5\6|\6\6|\6\7)", content)]
    return _field(rng, content, pick(rng, found) + int(rng.integers(2, 56))) if found else content


def inside_zip(inner: tuple[Mutation, ...]) -> Mutation:
    """Damage to one member of an archive, which is packed anew around it."""

    def mutate(rng, content, other):
        try:
            members = _members(content)
        except (zipfile.BadZipFile, ValueError, OSError, EOFError, RuntimeError, LookupError,
                zlib.error, struct.error):  # fmt: skip
            return content
        if not members:
            return content
        names = list(members)
        chosen = pick(rng, names)
        change = pick(rng, inner)
        members[chosen] = change(rng, members[chosen], members[pick(rng, names)])
        if rng.random() < 0.05:
            members[pick(rng, ("images.npy", "x/y.pkl", "../up", "labels"))] = members[chosen]
        buffer = io.BytesIO()
        packing = zipfile.ZIP_STORED if content.count(b".pkl") else pick(rng, (0, 8))
        with zipfile.ZipFile(buffer, "w", packing) as archive:
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name), data, packing)
        return buffer.getvalue()

    return mutate


def _members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = archive.infolist()
        if sum(member.file_size for member in found) > 1 << 20:
            return {}
        return {member.filename: archive.read(member) for member in found}


def inside_gzip(inner: tuple[Mutation, ...]) -> Mutation:
    """Damage to what a gzip file holds, which is packed anew."""

    def mutate(rng, content, other):
        try:
            raw = zlib.decompressobj(31).decompress(content, 1 << 20)
            more = zlib.decompressobj(31).decompress(other, 1 << 20)
        except zlib.error:
            return content
        return gzip.compress(pick(rng, inner)(rng, raw, more), 1, mtime=0)

    return mutate
