"""The parts of a bench: what drives a valid/ready stream, what watches one, what checks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


def pack(fields: IntArray, bits: int) -> list[int]:
    """Beats of [n, fields] codes of ``bits`` each, field 0 in the lowest bits."""
    planes = ((fields[:, :, None] >> np.arange(bits)) & 1).astype(np.uint8)
    packed = np.packbits(planes.reshape(len(fields), -1), axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


class Pauses:
    """Whether a side of a stream rests in a cycle: never, or at random from a seed."""

    def __init__(self, seed: int | None, share: float = 0.3) -> None:
        self._random = None if seed is None else random.Random(seed)
        self._share = share

    def __call__(self) -> bool:
        """Rest in this cycle."""
        return self._random is not None and self._random.random() < self._share


class Pace:
    """Rests so that a beat comes every ``cycles`` at most, as from a port that brings parts of it.

    What the port brings while a beat waits is kept: one beat, the next.
    """

    def __init__(self, cycles: int) -> None:
        self._cycles = cycles
        self._left = cycles

    def __call__(self) -> bool:
        """Rest in this cycle."""
        self._left -= 1
        if self._left > 0:
            return True
        self._left = self._cycles
        return False


class Driver:
    """Source of a valid/ready stream; ``edge`` is called at every rising clock edge."""

    def __init__(self, valid: Any, ready: Any, data: Any, pauses: Pauses) -> None:
        self._valid, self._ready, self._data, self._pauses = valid, ready, data, pauses
        self._beats: Iterator[Any] = iter(())
        self._showing = False
        self.sent = 0
        valid.value = 0

    def send(self, beats: Iterator[Any]) -> None:
        """Beats to come next; one that is shown and was never asked for is withdrawn."""
        self._beats, self.sent, self._showing = beats, 0, False
        self._valid.value = 0

    def edge(self) -> None:
        """Note whether the shown beat was taken, and show the next."""
        if self._showing:
            if not int(self._ready.value):
                return
            self.sent += 1
            self._showing = False
        beat = None if self._pauses() else next(self._beats, None)
        self._showing = beat is not None
        if beat is not None:
            self._data.value = beat
        self._valid.value = int(self._showing)


class Monitor:
    """Sink of the result stream; ``edge`` is called at every rising clock edge."""

    FIELDS = ("row", "column", "acc", "v", "code")

    def __init__(self, dut: Any, pauses: Pauses) -> None:
        self._dut, self._pauses = dut, pauses
        self._valid, self._ready = dut.m_axis_result_tvalid, dut.m_axis_result_tready
        self._last = dut.m_axis_result_tlast
        self._fields = [getattr(dut, f"m_axis_result_{name}") for name in self.FIELDS]
        self._resting = False
        self.results: list[tuple[int, ...]] = []  # row, column, acc, v, code: bits as they came
        self.lasts: list[int] = []  # places of the results that were marked last
        self._ready.value = 1

    def edge(self) -> None:
        """Take the shown result, if this side was ready, and choose readiness anew."""
        if not self._resting and int(self._valid.value):
            self.results.append(tuple(int(field.value) for field in self._fields))
            if int(self._last.value):
                self.lasts.append(len(self.results) - 1)
        rest = self._pauses()
        if rest != self._resting:
            self._resting = rest
            self._ready.value = int(not rest)


@dataclass(frozen=True, slots=True)
class Results:
    """A layer's results in natural order."""

    acc: IntArray  # [R, N]
    codes: IntArray  # [R, N]


class Checker:
    """Puts results in natural order and holds them against what was expected."""

    def __init__(self, rows: int, columns: int, *, acc_bits: int, v_bits: int) -> None:
        self._shape = (rows, columns)
        self._acc_bits, self._v_bits = acc_bits, v_bits

    def arrange(self, monitor: Monitor, code_bits: int, code_signed: bool, logits: bool) -> Results:
        """Natural order; every (row, column) must have come exactly once, and last at the end."""
        rows, columns = self._shape
        taken = np.array(monitor.results, dtype=np.int64).reshape(-1, len(Monitor.FIELDS))
        row, column, acc, v, code = taken.T
        inside = (row < rows) & (column < columns)
        assert inside.all(), f"a result names row {row[~inside][:5]}, column {column[~inside][:5]}"
        count = np.zeros(self._shape, dtype=np.int64)
        np.add.at(count, (row, column), 1)
        wrong = [(int(r), int(c), int(count[r, c])) for r, c in np.argwhere(count != 1)[:5]]
        assert not wrong, f"every (row, column) must come once; (row, column, times): {wrong}"
        assert monitor.lasts == [len(taken) - 1], f"last must mark result {len(taken) - 1} alone"
        out = Results(np.empty(self._shape, np.int64), np.empty(self._shape, np.int64))
        out.acc[row, column] = signed(acc, self._acc_bits)
        out.codes[row, column] = (
            signed(v, self._v_bits) if logits else signed(code, code_bits) if code_signed else code
        )
        return out

    def mismatches(self, got: Results, expected: Results) -> list[str]:
        """One line for each integer that differs: row, column, what, expected, got."""
        lines = []
        for row, column in np.argwhere((got.acc != expected.acc) | (got.codes != expected.codes)):
            for what, a, b in (
                ("acc", expected.acc, got.acc),
                ("code", expected.codes, got.codes),
            ):
                if a[row, column] != b[row, column]:
                    lines.append(
                        f"row {row}, column {column}: {what} must be {a[row, column]}, "
                        f"not {b[row, column]}"
                    )
        return lines


def signed(values: IntArray, bits: int) -> IntArray:
    """Bits read as two's complement."""
    sign = 1 << (bits - 1)
    return (values ^ sign) - sign
