"""The chips of a fleet: profiles of a folder, of a table, or drawn."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hascodesign.common import documents, inputs, records
from hascodesign.common.inputs import Unreadable, printable
from hascodesign.contract.array import generator
from hascodesign.contract.errors import ConfigError, FaultProfileError
from hascodesign.contract.types import ArraySpec, FaultProfile
from hascodesign.faults import formats, generate
from hascodesign.faults.profile import check
from hascodesign.faults.sources import CELLS_SUFFIX
from hascodesign.flow.config import FaultsConfig
from hascodesign.flow.request import size

CHIP = "chip"  # column of a table that names the chip of a line
LONGEST = 200  # characters of a chip's name
MOST_DRAWN = 10_000_000


@dataclass(frozen=True, slots=True)
class Chip:
    """One chip of a fleet."""

    name: str
    profile: FaultProfile  # checked; without words on where it is from: see `alike`

    @property
    def digest(self) -> str:
        """sha256 of what the profile means: the same for chips of the same faults."""
        return records.digest(self.profile)

    @property
    def faulty_pes(self) -> int:
        """PEs with a fault."""
        return len({fault.pe for fault in self.profile.faults})


def alike(profile: FaultProfile) -> FaultProfile:
    """The profile without what changes no bit: its source, conditions, a seed of no draw."""
    drawn = any(fault.kind == "transient" for fault in profile.faults)
    return replace(profile, source="", conditions={}, seed=profile.seed if drawn else 0)


def read(place: Path, array: ArraySpec, words: int) -> tuple[Chip, ...]:
    """Chips of a folder of profiles (``.json``, ``.csv``) or of a table with a column ``chip``.

    Parameters
    ----------
    place : folder or table.
    array : the flow's array, which every profile must be of.
    words : words that the network takes in each weight bank.

    Raises
    ------
    ConfigError
        One line with the file: no profile, two of one name, another array, a fault that is none.
    """
    found = tuple(_folder(place, words) if inputs.is_folder(place) else _table(place, array, words))
    if not found:
        raise ConfigError(f"{printable(place)}: must hold a chip, and holds none")
    seen: dict[str, Path] = {}
    for path, chip in found:
        if chip.name in seen:
            raise ConfigError(
                f"{printable(path)}: a chip must have a name of its own, not that of"
                f" {printable(seen[chip.name])}"
            )
        seen[chip.name] = path
        given = replace(chip.profile.array, wmem_depth=0)
        if given != array:
            raise ConfigError(
                f"{printable(path)}: the chip's array must be the flow's, {size(array)}, not"
                f" {size(given)}; name it in a flow file with --config"
            )
    return tuple(chip for _, chip in found)


def _folder(folder: Path, words: int) -> Iterator[tuple[Path, Chip]]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".json", ".csv") and not path.name.endswith(CELLS_SUFFIX):
            yield path, Chip(_name(path.stem, path), alike(formats.read(path, words)))


def _name(text: str, path: Path) -> str:
    if not text or len(text) > LONGEST or not text.isprintable():
        raise ConfigError(
            f"{printable(path)}: a chip's name must be 1 to {LONGEST} printable characters, not"
            f" {printable(text[:40])!r}"
        )
    return text


# ------------------------------------------------------------------------------------------ tables


def _table(path: Path, array: ArraySpec, words: int) -> Iterator[tuple[Path, Chip]]:
    if path.suffix.lower() != ".csv":
        raise ConfigError(
            f"{printable(path)}: chips must be a folder of profiles, or a table whose name ends in"
            " .csv"
        )
    try:
        text = documents.text_of(inputs.read(path, inputs.PROFILE))
    except Unreadable as error:
        raise FaultProfileError(f"{printable(path)}: the text {error}") from None
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if line and not line.startswith("#")), None)
    if start is None:
        raise ConfigError(f"{printable(path)}: a line naming the columns must stand in the table")
    head = lines[:start] or _head(array)
    columns, *cells = _cells(path, lines[start:], start)
    if not columns or columns[0] != CHIP:
        raise ConfigError(f"{printable(path)}: line {start + 1}: the first column must be {CHIP}")
    of_chip: dict[str, list[tuple[int, list[str]]]] = {}
    for number, row in enumerate(cells, start + 2):
        if row:
            of_chip.setdefault(_name(row[0], path), []).append((number, row[1:]))
    for name, entries in of_chip.items():
        faults = [(number, row) for number, row in entries if any(row)]
        document = "\n".join(
            [*head, *(_line(row) for row in (columns[1:], *(r for _, r in faults)))]
        )
        try:
            profile = formats.parse(f"{document}\n".encode(), "csv", words)
        except FaultProfileError as error:
            place = _in_table(str(error), len(head), [start + 1, *(number for number, _ in faults)])
            raise FaultProfileError(f"{printable(path)}: chip {name}: {place}") from None
        yield path, Chip(name, alike(profile))


def _cells(path: Path, lines: Sequence[str], before: int) -> list[list[str]]:
    rows = []
    for number, line in enumerate(lines, before + 1):
        try:
            rows.append([cell.strip() for cell in next(csv.reader([line], strict=True), [])])
        except csv.Error as error:
            raise FaultProfileError(
                f"{printable(path)}: line {number}: the line must be CSV: {error}"
            ) from None
    return rows


def _line(cells: Sequence[str]) -> str:
    return ",".join(f'"{cell}"' if set(cell) & set(',"') else cell for cell in cells)


def _head(array: ArraySpec) -> list[str]:
    values = formats.array_object(array)
    return ["# version: 1", *(f"# array.{name}: {value}" for name, value in values.items())]


def _in_table(error: str, head: int, numbers: Sequence[int]) -> str:
    """A message on one chip's lines with the number of the line in the whole table.

    ``numbers`` are those of the columns and of the chip's lines.
    """
    start, _, rest = error.partition(" ")
    number, mark, words = rest.partition(": ")
    if start != "line" or not mark or not number.isdecimal():
        return error
    place = int(number) - head - 1
    return f"line {numbers[place]}: {words}" if 0 <= place < len(numbers) else error


# ------------------------------------------------------------------------------------------- drawn


def draw(
    count: int, faulty: tuple[int, int], array: ArraySpec, chosen: FaultsConfig, seed: int
) -> tuple[Chip, ...]:
    """Chips drawn one by one: chip i is the same in a fleet of any size.

    Parameters
    ----------
    count : chips.
    faulty : least and most faulty PEs, drawn evenly between.
    array : with the words of its weight banks.
    chosen : faults on each faulty PE, the sites' shares, the bits.
    seed : of every draw.
    """
    found = []
    for number, rng in enumerate(generator(seed, "fleet chips").spawn(count), 1):
        profile = generate.by_area(
            array,
            rng,
            faulty_pes=int(rng.integers(faulty[0], faulty[1] + 1)),
            faults_per_pe=chosen.faults_per_pe,
            weights=chosen.site_area or None,
            bits=chosen.bits,
        )
        found.append(Chip(f"drawn-{seed}-{number:06d}", alike(check(profile))))
    return tuple(found)


def sample(keys: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """Keys of ceil(share * n) chips, drawn from the seed; the same whatever their order."""
    ordered = sorted(set(keys))
    count = -int(-share * len(ordered) // 1)
    places = generator(seed, "fleet verified").permutation(len(ordered))[:count]
    return frozenset(ordered[place] for place in places)


def key_of(base: str, chip: Chip) -> str:
    """Key of a chip's result: of network, data, options and program (``base``), and its profile."""
    return hashlib.sha256(f"{base} {chip.digest}".encode()).hexdigest()[:32]
