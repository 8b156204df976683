"""The chips of a fleet: profiles of a folder, of a table, or drawn."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from hascodesign.common import documents, inputs, records
from hascodesign.common.inputs import Unreadable, printable
from hascodesign.contract.array import generator
from hascodesign.contract.errors import ConfigError, FaultProfileError
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile
from hascodesign.faults import formats, generate, table
from hascodesign.faults.profile import FIELDS, check
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
    """The profile without what changes no bit: its source, conditions, order, a seed of no draw.

    Transient faults draw by the number of their entry, and keep it.
    """
    lasting = iter(sorted((one for one in profile.faults if one.kind != "transient"), key=_order))
    faults = tuple(one if one.kind == "transient" else next(lasting) for one in profile.faults)
    drawn = any(fault.kind == "transient" for fault in faults)
    seed = profile.seed if drawn else 0
    return replace(profile, faults=faults, source="", conditions={}, seed=seed)


def _order(fault: Fault) -> tuple[tuple[bool, Any], ...]:
    values = (getattr(fault, name) for name in FIELDS)
    return tuple((value is not None, 0 if value is None else value) for value in values)


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
    try:
        numbered, count, mark = table.lines_of(text)
    except FaultProfileError as error:
        raise FaultProfileError(f"{printable(path)}: {error}") from None
    if count == len(numbered):
        raise ConfigError(f"{printable(path)}: a line naming the columns must stand in the table")
    width = numbered[count][1].count(mark) + 1
    head = [table.unpadded(line, mark, width) for _, line in numbered[:count]] or _head(array)
    numbers = [number for number, _ in numbered[:count]] or [1] * len(head)
    (start, columns), *cells = _cells(path, numbered[count:], mark)
    if columns[0] != CHIP:
        raise ConfigError(f"{printable(path)}: line {start}: the first column must be {CHIP}")
    of_chip: dict[str, list[tuple[int, list[str]]]] = {}
    for number, row in cells:
        if row[0].startswith("#"):
            raise ConfigError(
                f"{printable(path)}: line {number}: a line below the columns must be a chip's, not"
                f" {printable(row[0][:40])!r}"
            )
        of_chip.setdefault(_name(row[0], path), []).append((number, row[1:]))
    for name, entries in of_chip.items():
        faults = [(number, row) for number, row in entries if any(row)]
        document = "\n".join(
            [*head, *(_line(row) for row in (columns[1:], *(r for _, r in faults)))]
        )
        try:
            profile = formats.parse(f"{document}\n".encode(), "csv", words)
        except FaultProfileError as error:
            place = _in_table(str(error), [*numbers, start, *(number for number, _ in faults)])
            raise FaultProfileError(f"{printable(path)}: chip {name}: {place}") from None
        yield path, Chip(name, alike(profile))


def _cells(path: Path, lines: Sequence[tuple[int, str]], mark: str) -> list[tuple[int, list[str]]]:
    """Number and cells of each line, without those that a spreadsheet added behind the columns."""
    rows: list[tuple[int, list[str]]] = []
    for number, line in lines:
        try:
            cells = [cell.strip() for cell in next(csv.reader([line], delimiter=mark, strict=True))]
            least = len(rows[0][1]) if rows else 1
            while len(cells) > least and not cells[-1]:
                cells.pop()
            rows.append((number, cells))
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


def _in_table(error: str, numbers: Sequence[int]) -> str:
    """A message on one chip's lines with the number of the line in the whole table.

    ``numbers`` are those of the head, of the columns and of the chip's lines.
    """
    start, _, rest = error.partition(" ")
    number, mark, words = rest.partition(": ")
    if start != "line" or not mark or not number.isdecimal():
        return error
    place = int(number) - 1
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
    count = math.ceil(Fraction(str(share)) * len(ordered))  # as written: 0.07 of 100 is 7
    places = generator(seed, "fleet verified").permutation(len(ordered))[:count]
    return frozenset(ordered[place] for place in places)


def key_of(base: str, chip: Chip) -> str:
    """Key of a chip's result: of network, data, options and program (``base``), and its profile."""
    return hashlib.sha256(f"{base} {chip.digest}".encode()).hexdigest()[:32]
