"""Memory images as files: ``.mem`` for $readmemh, Xilinx ``.coe``, C++ headers, the manifest.

All three hold the same words. A ``.mem`` is exactly one line of ceil(width/4) hex digits per
word, two's complement masked to the width. A header holds the words in the narrowest fixed-width
integer type, signed where the content is; words beyond 64 bits are rows of 64-bit chunks, lowest
chunk first.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hascodesign.contract.build import Rom
from hascodesign.contract.errors import ConfigError

MANIFEST = "roms/manifest.json"
SIGNED_CONTENT = frozenset({"bias", "thresholds", "preload"})
_KEYS = frozenset(
    {"file", "content", "layer", "depth", "width", "signed", "order", "idle", "sha256"}
)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_CHUNK = 64  # bits of one element of a header, at most
_PER_LINE = 8  # elements on a line of a header


def is_signed(rom: Rom) -> bool:
    """Whether the words are numbers in two's complement (weights are packed: unsigned)."""
    return rom.content in SIGNED_CONTENT


def rom_files(roms: Iterable[Rom]) -> dict[str, bytes]:
    """Every memory as ``roms/<name>.mem``, ``.coe`` and ``.h``, and ``roms/manifest.json``.

    Raises
    ------
    ValueError : two memories of one name, a name that is no identifier, an empty memory, or a
        word that does not fit: errors of the caller, not of a user.
    """
    files: dict[str, bytes] = {}
    entries: list[dict[str, Any]] = []
    for rom in roms:
        _check_rom(rom)
        for suffix, data in ((".mem", _mem(rom)), (".coe", _coe(rom)), (".h", _header(rom))):
            name = f"{rom.name}{suffix}"
            if f"roms/{name}" in files:
                raise ValueError(f"two memories are named {rom.name}")
            files[f"roms/{name}"] = data
            entries.append(
                {
                    "file": name,
                    "content": rom.content,
                    "layer": rom.layer,
                    "depth": rom.depth,
                    "width": rom.width,
                    "signed": is_signed(rom),
                    "order": rom.order,
                    "idle": rom.idle,
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
            )
    manifest = {"version": 1, "files": entries}
    files[MANIFEST] = (json.dumps(manifest, indent=1) + "\n").encode()
    return files


def on_chip_of(files: Mapping[str, bytes], layers: Sequence[str]) -> tuple[bool, ...]:
    """Per layer, whether the weight memories of a build hold it: what its manifest says."""
    entries = json.loads(files[MANIFEST])["files"]
    held = {entry["layer"] for entry in entries if entry["content"] == "weights"}
    if not held:
        return (False,) * len(layers)
    (names,) = held  # all memories hold the same layers
    return tuple(names is None or name in names.split() for name in layers)


def _check_rom(rom: Rom) -> None:
    if not _NAME.fullmatch(rom.name):
        raise ValueError(f"a memory's name must be a lower-case identifier, not {rom.name!r}")
    if not rom.words or rom.width < 1:
        raise ValueError(f"memory {rom.name} must have words and a width of at least 1")
    half = 1 << (rom.width - 1)
    low, high = (-half, half) if is_signed(rom) else (0, 2 * half)
    if min(rom.words) < low or max(rom.words) >= high:
        raise ValueError(f"the words of memory {rom.name} must fit {rom.width} bits")


# ------------------------------------------------------------------------------------- writers


def _hex_words(rom: Rom) -> list[str]:
    digits, mask = -(-rom.width // 4), (1 << rom.width) - 1
    return [f"{word & mask:0{digits}x}" for word in rom.words]


def _mem(rom: Rom) -> bytes:
    return ("\n".join(_hex_words(rom)) + "\n").encode()


def _coe(rom: Rom) -> bytes:
    vector = ",\n".join(_hex_words(rom))
    return f"memory_initialization_radix=16;\nmemory_initialization_vector=\n{vector};\n".encode()


def element_type(rom: Rom) -> str:
    """C++ type of one element of the memory's header."""
    bits = next(size for size in (8, 16, 32, 64) if min(rom.width, _CHUNK) <= size)
    return f"{'int' if is_signed(rom) else 'uint'}{bits}_t"


def chunks(rom: Rom) -> int:
    """Elements of the header for one word: 1 up to 64 bits."""
    return -(-rom.width // _CHUNK)


def _header(rom: Rom) -> bytes:
    count, guard = chunks(rom), f"{rom.name.upper()}_H"
    macro = rom.name.upper()
    size = f"[{macro}_DEPTH]" + (f"[{macro}_CHUNKS]" if count > 1 else "")
    idle = "" if rom.idle is None else f"#define {macro}_IDLE {rom.idle}\n"
    text = (
        f"// {rom.content}, {rom.layer or 'all layers'}; address counts {rom.order}.\n"
        f"#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n\n"
        f"#define {macro}_DEPTH {rom.depth}\n#define {macro}_WIDTH {rom.width}\n"
        f"#define {macro}_CHUNKS {count}\n{idle}\n"
        f"static const {element_type(rom)} {rom.name}{size} = {{\n"
        + ",\n".join(_header_lines(rom, count))
        + f"\n}};\n\n#endif  // {guard}\n"
    )
    return text.encode()


def _header_lines(rom: Rom, count: int) -> Iterator[str]:
    if count == 1:
        for first in range(0, rom.depth, _PER_LINE):
            yield "  " + ", ".join(_literal(rom, w) for w in rom.words[first : first + _PER_LINE])
        return
    mask = (1 << _CHUNK) - 1
    for word in rom.words:
        parts = (f"0x{(word >> (i * _CHUNK)) & mask:x}ULL" for i in range(count))
        yield "  {" + ", ".join(parts) + "}"


def _literal(rom: Rom, word: int) -> str:
    suffix = "LL" if rom.width > 32 else ""
    if is_signed(rom):
        # the least number of a type has no literal of its own: 2147483648 is no int
        return f"{word}{suffix}" if word > -(1 << 31) else f"({word + 1}{suffix} - 1)"
    return f"0x{word:x}U{suffix}"


# ------------------------------------------------------------------------------------- parsers


def mem_words(data: bytes, width: int, signed: bool = False) -> tuple[int, ...]:
    """Words of a ``.mem`` file.

    Parameters
    ----------
    data : the file.
    width : bits of a word.
    signed : read the words as two's complement.

    Raises
    ------
    ConfigError : a line that is not exactly ceil(width/4) hex digits, or a word beyond the width.
    """
    text = data.decode("ascii", errors="replace")
    if not text.endswith("\n"):
        raise ConfigError("a .mem file must end with a newline")
    return _from_hex(text[:-1].split("\n"), width, signed)


def coe_words(data: bytes, width: int, signed: bool = False) -> tuple[int, ...]:
    """Words of a ``.coe`` file; arguments and errors as for :func:`mem_words`."""
    form = r"memory_initialization_radix=16;\nmemory_initialization_vector=\n([^;]*);\n"
    match = re.fullmatch(form, data.decode("ascii", errors="replace"))
    if match is None:
        raise ConfigError("a .coe file must be a radix of 16 and one vector")
    return _from_hex(match[1].split(",\n"), width, signed)


def header_words(data: bytes, width: int, signed: bool = False) -> tuple[int, ...]:
    """Words of a C++ header; arguments and errors as for :func:`mem_words`."""
    match = re.search(r" = \{\n(.*)\n\};\n", data.decode("ascii", errors="replace"), re.DOTALL)
    if match is None:
        raise ConfigError("a memory's header must hold one array")
    body = re.sub(r"\((-\d+)(?:LL)? - 1\)", lambda m: str(int(m[1]) - 1), match[1])
    numbers = [int(n, 0) for n in re.findall(r"-?(?:0x[0-9a-f]+|\d+)", body)]
    count = -(-width // _CHUNK)
    words = [
        sum(part << (i * _CHUNK) for i, part in enumerate(numbers[first : first + count]))
        for first in range(0, len(numbers), count)
    ]
    return tuple(_within(word, width, signed) for word in words)


def _from_hex(lines: Sequence[str], width: int, signed: bool) -> tuple[int, ...]:
    digits = -(-width // 4)
    form = re.compile(f"[0-9a-f]{{{digits}}}")
    words = []
    for number, line in enumerate(lines, start=1):
        if not form.fullmatch(line) or int(line, 16) >> width:
            raise ConfigError(
                f"word {number} must be {digits} hex digits of {width} bits: {line!r}"
            )
        word = int(line, 16)
        words.append(word - (1 << width) if signed and word >> (width - 1) else word)
    return tuple(words)


def _within(word: int, width: int, signed: bool) -> int:
    low, high = (-(1 << (width - 1)), 1 << (width - 1)) if signed else (0, 1 << width)
    if not low <= word < high:
        raise ConfigError(f"a word of a header must fit {width} bits, not {word}")
    return word


_PARSERS = {".mem": mem_words, ".coe": coe_words, ".h": header_words}


def check_rom_files(files: Mapping[str, bytes]) -> tuple[Rom, ...]:
    """Hold a ``roms`` folder against its manifest.

    Parameters
    ----------
    files : path -> content; paths outside ``roms/`` are not looked at.

    Returns
    -------
    The memories as read back from the ``.mem`` files.

    Raises
    ------
    ConfigError : no or another manifest, a file that is missing, changed, malformed, of another
        depth, or not named; three forms of one memory that do not hold the same words.
    """
    if MANIFEST not in files:
        raise ConfigError(f"{MANIFEST} is missing")
    entries = _entries(files[MANIFEST])
    found = {path for path in files if path.startswith("roms/") and path != MANIFEST}
    surplus = found - {f"roms/{entry['file']}" for entry in entries}
    if surplus:
        raise ConfigError(f"{min(surplus)} is not named in {MANIFEST}")
    roms: dict[str, Rom] = {}
    for entry in entries:
        rom = _read_entry(entry, files)
        first = roms.setdefault(rom.name, rom)
        if first != rom:
            raise ConfigError(f"roms/{entry['file']} must hold what {rom.name}.mem holds")
    return tuple(roms.values())


def _entries(data: bytes) -> list[dict[str, Any]]:
    try:
        manifest = json.loads(data)
    except ValueError as error:
        raise ConfigError(f"{MANIFEST} must be JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.keys() != {"version", "files"}:
        raise ConfigError(f"{MANIFEST} must have the keys version and files and no other")
    if manifest["version"] != 1:
        raise ConfigError(f"{MANIFEST} must be version 1, not {manifest['version']!r}")
    for entry in manifest["files"]:
        if not isinstance(entry, dict) or entry.keys() != _KEYS:
            raise ConfigError(f"an entry of {MANIFEST} must have the keys {sorted(_KEYS)}")
    entries: list[dict[str, Any]] = manifest["files"]
    return entries


def _read_entry(entry: Mapping[str, Any], files: Mapping[str, bytes]) -> Rom:
    path = f"roms/{entry['file']}"
    if path not in files:
        raise ConfigError(f"{path}, named in {MANIFEST}, is missing")
    if hashlib.sha256(files[path]).hexdigest() != entry["sha256"]:
        raise ConfigError(f"the sha256 of {path} must be that in {MANIFEST}")
    stem, dot, suffix = str(entry["file"]).rpartition(".")
    if dot + suffix not in _PARSERS:
        raise ConfigError(f"{path} must be a .mem, .coe or .h file")
    words = _PARSERS[dot + suffix](files[path], entry["width"], entry["signed"])
    if len(words) != entry["depth"]:
        raise ConfigError(f"{path} must hold {entry['depth']} words, not {len(words)}")
    return Rom(
        stem, entry["content"], entry["width"], words, entry["order"], entry["layer"], entry["idle"]
    )
