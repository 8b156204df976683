"""has_gather alone: words of runs, padding between, and maxima of windows."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import cocotb
from module_bench import (
    any_bits,
    as_signed,
    begin,
    drive,
    edge,
    join,
    settle,
    size,
    split,
    value,
)

Run = dict[str, int]


class Case:
    """A module with banks of random codes beside it."""

    def __init__(self, dut: Any, rng: random.Random) -> None:
        self.dut, self.rng = dut, rng
        self.simd, self.banks, self.bits, self.element_bits, self.word_bits, self.runs = (
            size(dut, name)
            for name in ("SIMD", "BANKS", "CODE_BITS", "ELEMENT_BITS", "WORD_BITS", "RUNS")
        )
        words = 1 << self.word_bits
        self.codes = [[any_bits(rng, self.bits) for _ in range(words)] for _ in range(self.banks)]

    def code(self, element: int) -> int:
        """The code of an element."""
        word = element // self.banks & ((1 << self.word_bits) - 1)
        return self.codes[element % self.banks][word]

    def read(self, address: str) -> int:
        """What the banks give for an address port."""
        words = split(value(self.dut, address), self.word_bits, self.banks)
        return join([bank[word] for bank, word in zip(self.codes, words, strict=True)], self.bits)

    def step(self, map_row: int) -> tuple[list[list[Run]], list[int]]:
        """Runs of one step by cycle, and its word."""
        rng, word = self.rng, [0] * self.simd
        runs: list[Run] = []
        cycles: list[list[Run]] = []
        end = 0
        while end < self.simd and (not runs or rng.random() < 0.7):
            lane, end = end, rng.randrange(end + 1, self.simd + 1)
            element = rng.getrandbits(self.element_bits)
            border = rng.choice((0, map_row))
            place = border + rng.randrange(-self.simd, 2)
            y_inside = int(rng.random() < 0.85)
            runs.append({
                "element": element, "x_place": place % (1 << self.element_bits),
                "y_inside": y_inside, "lane_first": lane, "lane_end": end,
            })  # fmt: skip
            for at in range(lane, end):
                x = as_signed(place + at, self.element_bits)
                if y_inside and 0 <= x < map_row:
                    word[at] = self.code((element + at) % (1 << self.element_bits))
        while runs:
            take = rng.randrange(1, self.runs + 1)
            cycles.append(runs[:take])
            runs = runs[take:]
        return cycles, word

    def window(self, signed: int) -> tuple[list[list[Run]], list[int]]:
        """Codes of one window by cycle, and their maxima in the lanes that count."""
        rng, lanes = self.rng, self.rng.randrange(1, self.simd + 1)
        elements = [rng.getrandbits(self.element_bits) for _ in range(rng.randrange(1, 6))]
        far = {"x_place": rng.getrandbits(self.element_bits), "y_inside": rng.getrandbits(1)}
        cycles = [[{"element": e, "lane_first": 0, "lane_end": lanes, **far}] for e in elements]

        def key(code: int) -> int:
            return as_signed(code, self.bits) if signed else code

        span = 1 << self.element_bits
        found = [[self.code((e + lane) % span) for e in elements] for lane in range(lanes)]
        return cycles, [max(codes, key=key) for codes in found]


@cocotb.test()
async def words_and_maxima(dut: Any) -> None:
    """Steps of a layer and windows of a pooling, with idle cycles and held ones."""
    rng = random.Random(1)
    case = Case(dut, rng)
    await begin(dut, rst=1, move=1, run_valid=0, pooling=0, code_signed=0, map_row=1)
    drive(dut, rst=0)
    for stage in range(24):
        pooling, signed = stage & 1, stage >> 1 & 1
        map_row = rng.randrange(1, 1 << (case.element_bits - 1))
        drive(dut, pooling=pooling, code_signed=signed, map_row=map_row)
        count = 25
        parts = [case.window(signed) if pooling else case.step(map_row) for _ in range(count)]
        await stream(case, parts, pooling)


async def stream(case: Case, parts: list[tuple[list[list[Run]], list[int]]], pooling: int) -> None:
    """Runs in, words out, in order."""
    dut, rng = case.dut, case.rng
    left = deque(
        (cycle, place == 0, place == len(cycles) - 1, number == len(parts) - 1)
        for number, (cycles, _) in enumerate(parts)
        for place, cycle in enumerate(cycles)
    )
    words = deque(word for _, word in parts)
    for _ in range(40 * len(parts)):
        move = rng.random() < 0.75
        valid = bool(left) and rng.random() < 0.8
        if valid:
            runs, first, last, ending = left[0]
            drive(dut, run_first=first, run_last=last, run_ending=ending and last)
            show(case, runs)
        else:
            drive(dut, run_first=rng.getrandbits(1), run_last=rng.getrandbits(1), run_ending=0)
            show(case, [{"element": 0, "x_place": 0, "y_inside": 1, "lane_first": 0,
                         "lane_end": case.simd}])  # fmt: skip
        drive(dut, move=int(move), run_valid=int(valid))
        before = shown(dut)
        await edge_before(case, move)
        if not move:
            assert shown(dut) == before, "a word stands while nothing moves"
        if move and valid:
            left.popleft()
        if move and value(dut, "out_valid"):
            word = words.popleft()
            got = split(value(dut, "out_codes"), case.bits, case.simd)[: len(word)]
            assert got == word, f"word must be {word}, not {got}"
            if pooling:
                assert value(dut, "out_lanes") == len(word)
                assert value(dut, "out_ending") == int(not words)
        if not words:
            break
    assert not words and not left, "every step gives a word"
    drive(dut, run_valid=0, move=1)
    for _ in range(4):
        await edge_before(case, True)
        assert not value(dut, "out_valid"), "no word without a step"


def shown(dut: Any) -> list[str]:
    """The word and what stands beside it, bits that nothing has set yet among them."""
    names = ("out_valid", "out_codes", "out_lanes", "out_ending")
    return [str(getattr(dut, name).value) for name in names]


def show(case: Case, runs: list[Run]) -> None:
    """Runs on the ports; a second one that is not there has no lanes."""
    for name, field in runs[0].items():
        drive(case.dut, **{f"run_{name}": field})
    nothing = {**runs[0], "lane_first": runs[0]["lane_end"]}
    for name, field in (runs[1] if len(runs) > 1 else nothing).items():
        drive(case.dut, **{f"run_{name}_b": field})


async def edge_before(case: Case, move: bool) -> None:
    """One cycle, in which the banks give the words that were asked for."""
    await settle()
    asked = [case.read("read_address"), case.read("read_address_b") if case.runs == 2 else 0]
    await edge(case.dut)
    if move:
        drive(case.dut, read_data=asked[0], read_data_b=asked[1])
