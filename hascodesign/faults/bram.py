"""Measured faulty bits of block RAMs, voltage by voltage, mapped onto the weight banks.

The words of a PE's weight banks stand side by side, as the PE's weight ROM holds them: multiplier
s, bit b is bit s * WB + b of a word of S * WB bits. Block RAMs of 1,024 words of 16 bits tile that
memory: column j holds the word's bits 16 j to 16 j + 15, block r the addresses 1024 r to
1024 r + 1023. They are numbered PE by PE, block by block, column by column:

    block RAM = first + (pe * blocks + r) * columns + j

Bits beyond the width or the depth of the bank are not used, and their faults fall away.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hascodesign.common import inputs
from hascodesign.common.inputs import printable
from hascodesign.contract.errors import ConfigError, FaultProfileError
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, IntArray, frozen
from hascodesign.faults.formats import text_of
from hascodesign.faults.places import check_amount, in_order
from hascodesign.faults.profile import check, check_array, shown
from hascodesign.faults.voltage import NOMINAL_UV, Cells

WORDS = 1024  # of one block RAM of the list
BITS = 16  # of one word
BRAMS = 890  # of the board KC705-B
COLUMNS = ["vccbram_volt", "bram", "address", "bit"]
KC705B = "undervolt-kc705b"
_VOLTS = re.compile(r"[0-9]\.[0-9]{1,6}")
_DIGITS = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class MeasuredMap:
    """Bits that read 0 where 1 was written, at each voltage that was measured."""

    faults: Mapping[int, IntArray]  # microvolts -> [n, 3] block RAM, address, bit
    brams: int = BRAMS  # block RAMs that were measured
    source: str = "measured: block RAM of board KC705-B (Salami et al., MICRO 2018)"

    @property
    def voltages(self) -> tuple[float, ...]:
        """Volts that were measured, highest first."""
        return tuple(uv / 1e6 for uv in sorted(self.faults, reverse=True))

    def at(self, v: float) -> IntArray:
        """Faulty bits [n, 3] at a measured voltage; none above the highest of them."""
        uv = round(v * 1e6) if 0 <= v <= NOMINAL_UV / 1e6 else -1
        if max(self.faults) < uv <= NOMINAL_UV:
            return frozen(np.empty((0, 3)))
        if uv not in self.faults:
            listed = ", ".join(f"{volts:g}" for volts in self.voltages)
            raise ConfigError(f"the voltage must be one that was measured ({listed} V), not {v}")
        return self.faults[uv]


def read_map(path: Path) -> MeasuredMap:
    """The list in a CSV file, or in ``faults.csv`` of a folder.

    Raises
    ------
    FaultProfileError
        One line with the file and, where a row is at fault, its number from 0.
    """
    path = path / "faults.csv" if inputs.is_folder(path) else path
    data = inputs.read(path, inputs.MEASURED)
    try:
        rows = csv.reader(text_of(data).split("\n"), strict=True)
        if [name.strip() for name in next(rows, [])] != COLUMNS:
            raise FaultProfileError(f"the columns must be {', '.join(COLUMNS)}")
        return MeasuredMap(_by_voltage(row for row in rows if row))
    except (FaultProfileError, csv.Error) as error:  # csv: the line of the names
        raise FaultProfileError(f"{printable(path)}: {error}") from None


def onto_banks(
    array: ArraySpec, measured: MeasuredMap, v: float, *, first: int = 0, seed: int = 0
) -> FaultProfile:
    """The measured list at ``v`` volts as stuck-at-0 faults of the array's weight banks.

    Parameters
    ----------
    array : the array; ``wmem_depth`` must be fixed.
    measured : the list.
    v : volts, one of the measured voltages, or any above them, where nothing failed.
    first : block RAM of the list that holds the first word of PE 0.
    seed : seed of the transient draws, kept in the profile.

    Raises
    ------
    ConfigError
        Depth not fixed, banks that take more block RAMs than were measured, or a voltage that was
        not measured.
    """
    bits = measured.at(v)
    placed = [fault for fault in _placed(array, measured, bits, first) if fault is not None]
    source = (
        f"{measured.source}; {len(placed)} of {len(bits)} faulty bits fall on words of the banks, "
        f"which begin at block RAM {first}"
    )
    conditions = {"vccbram_v": round(v * 1e6) / 1e6, "first_bram": first}
    return check(FaultProfile(array, in_order(placed), seed, source, conditions))


def worst_places(array: ArraySpec, measured: MeasuredMap) -> list[int]:
    """First block RAMs of the places that can hold the weight banks side by side.

    Those with the most faulty bits at the lowest voltage come first; places without one are left
    out.
    """
    needed, low = brams_of(array), min(measured.voltages)
    firsts = range(0, measured.brams - needed + 1, needed)
    counts = {one: len(onto_banks(array, measured, low, first=one).faults) for one in firsts}
    return sorted((one for one in firsts if counts[one]), key=lambda one: -counts[one])


def nested_cells(
    array: ArraySpec, measured: MeasuredMap, *, first: int = 0, seed: int = 0
) -> Cells:
    """The list as cells with thresholds: a bit fails at the highest voltage that lists it.

    The few bits that were faulty at one voltage and not at the next lower one stay faulty here.
    """
    thresholds: dict[Fault, int] = {}
    for uv in sorted(measured.faults, reverse=True):
        for fault in _placed(array, measured, measured.faults[uv], first):
            if fault is not None:
                thresholds.setdefault(fault, uv)
    faults = in_order(list(thresholds))
    source = f"{measured.source}; threshold = highest voltage at which a bit failed"
    profile = check(FaultProfile(array, faults, seed, source, {"first_bram": first}))
    return Cells(profile, frozen([thresholds[f] for f in faults]), min(measured.faults))


def brams_of(array: ArraySpec) -> int:
    """Block RAMs of the list that the weight banks take; ``wmem_depth`` must be fixed."""
    check_array(array)
    if not array.wmem_depth:
        raise ConfigError("the array must fix wmem_depth for a map of its weight banks")
    columns = -(-array.simd * array.weight_bits // BITS)
    return array.pe * -(-array.wmem_depth // WORDS) * columns


def _placed(
    array: ArraySpec, measured: MeasuredMap, bits: IntArray, first: int
) -> Iterable[Fault | None]:
    """The entry of each faulty bit, None where the banks do not use it."""
    needed = brams_of(array)
    width = array.simd * array.weight_bits
    columns, blocks = -(-width // BITS), -(-array.wmem_depth // WORDS)
    if needed > measured.brams:
        raise ConfigError(
            f"the weight banks must fit into the {measured.brams} block RAMs of the list, not take "
            f"{needed}"
        )
    check_amount("first", first, measured.brams - needed)
    for bram, row, bit in bits.tolist():
        rest, column = divmod(bram - first, columns)
        pe, block = divmod(rest, blocks)
        address, place = block * WORDS + row, column * BITS + bit
        used = 0 <= pe < array.pe and address < array.wmem_depth and place < width
        simd, weight_bit = divmod(place, array.weight_bits)
        yield Fault(pe, "sa0", "wmem", simd, weight_bit, address) if used else None


def _by_voltage(rows: Iterator[list[str]]) -> dict[int, IntArray]:
    found: dict[int, dict[tuple[int, ...], None]] = {}
    entry = -1
    try:
        for entry, row in enumerate(rows):
            uv, place = _faulty_bit(entry, [cell.strip() for cell in row])
            bits = found.setdefault(uv, {})
            if place in bits:
                raise FaultProfileError(f"entry {entry}: the same bit must stand once at a voltage")
            bits[place] = None
    except csv.Error as error:
        raise FaultProfileError(f"entry {entry + 1}: the line must be CSV: {error}") from None
    if not found:
        raise FaultProfileError("the list must have one entry at least")
    return {uv: frozen(list(bits)) for uv, bits in found.items()}


def _faulty_bit(entry: int, cells: list[str]) -> tuple[int, tuple[int, ...]]:
    """Microvolts and place of one line of the list."""
    if len(cells) != len(COLUMNS) or not _VOLTS.fullmatch(cells[0]):
        raise FaultProfileError(f"entry {entry}: must be volts, block RAM, address, bit")
    place = tuple(int(c) if _DIGITS.fullmatch(c) else -1 for c in cells[1:])
    ends = (BRAMS, WORDS, BITS)
    for name, cell, value, end in zip(COLUMNS[1:], cells[1:], place, ends, strict=True):
        if not 0 <= value < end:
            raise FaultProfileError(
                f"entry {entry}: {name} must be 0..{end - 1}, not {shown(cell)}"
            )
    return round(float(cells[0]) * 1e6), place
