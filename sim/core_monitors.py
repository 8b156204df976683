"""What is seen inside has_core: what layers give, what poolings write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class CodeMonitor:
    """Watches what the layers give and what the poolings write, inside the core."""

    def __init__(self, dut: Any) -> None:
        array = dut.layers
        self._valid, self._lanes = dut.taken, array.m_axis_result_lanes
        self._layer, self._column = dut.layer, array.m_axis_result_column
        lanes = len(self._lanes)
        self._fields = [getattr(array, f"m_axis_result_{n}") for n in ("row", "acc", "v", "code")]
        self._bits = [len(field) // lanes for field in self._fields]
        self._put_valid, self._pooling = dut.codes_valid, dut.pooling
        self._put = [dut.stage, dut.pool_element_out, dut.codes_lanes, dut.codes]
        self._base = base_of(dut)
        self._merge = MergeMonitor(dut) if int(dut.MERGE.value) else None
        self.results: list[tuple[int, ...]] = []  # layer, column, row, acc, v, code
        self.puts: list[tuple[int, ...]] = []  # stage, element, lanes, codes

    def edge(self) -> None:
        """Note the results of this cycle."""
        if int(self._valid.value):
            shared = int(self._layer.value), int(self._column.value)
            words = [str(field.value) for field in self._fields]  # idle lanes hold unknown bits
            for lane, used in enumerate(reversed(str(self._lanes.value))):
                if used == "1":
                    parts = zip(words, self._bits, strict=True)
                    values = (int(lane_of(word, lane, bits), 2) for word, bits in parts)
                    self.results.append((*shared, *values))
        if int(self._pooling.value) and int(self._put_valid.value):
            stage, element, *rest = (int(field.value) for field in self._put)
            self.puts.append((stage, element - self._base(), *rest))
        if self._merge is not None:
            self.puts += self._merge.edge()


class MergeMonitor:
    """Watches the maxima that a convolution keeps: what stands in its map when it has ended."""

    def __init__(self, dut: Any) -> None:
        self._begin, self._skipped, self._stage = dut.begin_stage, dut.skipped, dut.stage
        merge = dut.merge
        self._enable = merge.write_enable
        self._address, self._data = merge.write_address, merge.write_data
        self._banks = len(self._enable)
        self._base = base_of(dut)
        self._held: dict[int, int] = {}  # element -> code

    def edge(self) -> list[tuple[int, ...]]:
        """(stage, element, 1, code) of every element, when the stage of the pooling comes."""
        found: list[tuple[int, ...]] = []
        if int(self._begin.value):
            if int(self._skipped.value):
                stage = int(self._stage.value)
                found = [(stage, element, 1, code) for element, code in sorted(self._held.items())]
            self._held.clear()
        enable = int(self._enable.value)
        if enable:
            words, codes = str(self._address.value), str(self._data.value)
            for bank in range(self._banks):
                if enable >> bank & 1:
                    word = int(lane_of(words, bank, len(words) // self._banks), 2)
                    code = int(lane_of(codes, bank, len(codes) // self._banks), 2)
                    self._held[word * self._banks + bank - self._base()] = code
        return found


def base_of(dut: Any) -> Callable[[], int]:
    """Where an image's part of the map begins that is written: elsewhere than at 0 in a batch."""
    base = getattr(dut, "write_base", None)
    return (lambda: 0) if base is None else (lambda: int(base.value))


def lane_of(word: str, lane: int, bits: int) -> str:
    """Bits of one lane, lane 0 at the right."""
    end = len(word) - lane * bits
    return word[end - bits : end]


class Unwatched:
    """Stands for ``CodeMonitor`` where nothing inside the core is looked at."""

    def __init__(self) -> None:
        self.results: list[tuple[int, ...]] = []
        self.puts: list[tuple[int, ...]] = []
