"""has_conv_walk alone: the runs of random geometries, also larger than a network here has."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cocotb
from module_bench import begin, drive, edge, size, value

LONGEST = 1500  # runs of one geometry


@dataclass(frozen=True, slots=True)
class Walk:
    """The constants of a stage."""

    passes_less_1: int
    out_width_less_1: int
    out_height_less_1: int
    kernel_height_less_1: int
    map_height: int
    y_first: int
    y_step: int
    map_row: int
    kernel_row: int
    x_first: int
    x_step: int
    base_first: int
    base_step: int

    def columns(self) -> Iterator[tuple[int, int, int]]:
        """First map row, place in it, element at the start of that row: of each output."""
        for _ in range(self.passes_less_1 + 1):
            for y in range(self.out_height_less_1 + 1):
                for x in range(self.out_width_less_1 + 1):
                    yield (
                        self.y_first + y * self.y_step,
                        self.x_first + x * self.x_step,
                        self.base_first + y * self.base_step,
                    )

    def steps(self, simd: int) -> list[list[tuple[int, int, int, int]]]:
        """Of one column: steps of runs (kernel row, place in it, first lane, end of lanes)."""
        steps: list[list[tuple[int, int, int, int]]] = [[]]
        lane = 0
        for row in range(self.kernel_height_less_1 + 1):
            place = 0
            while place < self.kernel_row:
                if lane == simd:
                    steps, lane = [*steps, []], 0
                end = min(simd, lane + self.kernel_row - place)
                steps[-1].append((row, place, lane, end))
                place, lane = place + end - lane, end
        return steps


def draw(rng: random.Random, dut: Any, long: str) -> Walk:
    """Random constants, small ones; or one that counts far, and the others hardly."""
    side, element = size(dut, "SIDE_BITS"), size(dut, "ELEMENT_BITS")
    few = {
        "passes_less_1": rng.randrange(2),
        "out_width_less_1": rng.randrange(2 if long else 3),
        "out_height_less_1": rng.randrange(2 if long else 3),
        "kernel_height_less_1": 0 if long else rng.randrange(3),
        "kernel_row": rng.randrange(1, size(dut, "SIMD") * (1 if long else 3) + 1),
    }
    if long:
        bits = {"passes_less_1": size(dut, "PASS_BITS"), "kernel_row": element - 1}.get(long, side)
        few[long] = rng.randrange(1 << (bits - 1), 1 << bits)
    words = {
        name: rng.getrandbits(element)
        for name in ("map_row", "x_first", "x_step", "base_first", "base_step")
    }
    sides = {name: rng.getrandbits(side) for name in ("y_first", "y_step")}
    return Walk(**few, **words, **sides, map_height=rng.getrandbits(side - 1))


def expected(dut: Any, walk: Walk) -> list[dict[str, int]]:
    """What each moving cycle gives."""
    element, side = (1 << size(dut, name) for name in ("ELEMENT_BITS", "SIDE_BITS"))
    two, found = size(dut, "RUNS") == 2, []
    steps = walk.steps(size(dut, "SIMD"))
    for y_first, x_first, base in walk.columns():
        for step in steps:
            pairs = grouped(step) if two else [[run] for run in step]
            for number, pair in enumerate(pairs):
                shown: dict[str, int] = {}
                for tail, (row, place, lane, end) in zip(("", "_b"), pair, strict=False):
                    x, y = x_first + place - lane, (y_first + row) % side
                    shown[f"x_place{tail}"] = x % element
                    shown[f"element{tail}"] = (base + row * walk.map_row + x) % element
                    shown[f"y_inside{tail}"] = int(y < side // 2 and y < walk.map_height)
                    shown[f"lane_first{tail}"], shown[f"lane_end{tail}"] = lane, end
                if len(pair) == 1:
                    shown["lane_first_b"] = shown["lane_end_b"] = pair[0][3]
                found.append(shown | {"first": number == 0, "last": number == len(pairs) - 1})
    return found


def grouped(step: list[tuple[int, int, int, int]]) -> list[list[tuple[int, int, int, int]]]:
    """Runs of a step in twos."""
    return [step[place : place + 2] for place in range(0, len(step), 2)]


@cocotb.test()
async def runs_in_order(dut: Any) -> None:
    """Every run of every geometry, held while nothing moves; then no more."""
    rng = random.Random(1)
    await begin(dut, rst=1, start=0, move=0)
    drive(dut, rst=0)
    longs = ("", "", "passes_less_1", "out_width_less_1", "out_height_less_1",
             "kernel_height_less_1", "kernel_row")  # fmt: skip
    for turn in range(9 * len(longs)):
        walk = draw(rng, dut, longs[turn % len(longs)])
        runs = expected(dut, walk)
        if len(runs) > LONGEST:
            continue
        drive(dut, **{name: getattr(walk, name) for name in Walk.__slots__})
        drive(dut, start=1, move=int(rng.random() < 0.5))
        await edge(dut)
        drive(dut, start=0)
        whole = turn % 5 != 4
        await follow(dut, rng, runs if whole else runs[: len(runs) // 2])
        if whole:
            drive(dut, move=1)
            for _ in range(4):
                await edge(dut)
                assert not value(dut, "valid"), "no run after the last"
        else:
            drive(dut, rst=1)
            await edge(dut)
            drive(dut, rst=0, move=1)
            for _ in range(3):
                assert not value(dut, "valid"), "no run after a reset"
                await edge(dut)


async def follow(dut: Any, rng: random.Random, runs: list[dict[str, int]]) -> None:
    """The runs, one each moving cycle."""
    for number, run in enumerate(runs):
        while rng.random() < 0.2:
            drive(dut, move=0)
            await edge(dut)
            if number:
                check(dut, runs[number - 1], f"run {number - 1}, held,")
        drive(dut, move=1)
        await edge(dut)
        check(dut, run, f"run {number}")


def check(dut: Any, run: dict[str, int], what: str) -> None:
    """What is shown now."""
    assert value(dut, "valid"), what
    got = {name: value(dut, name) for name in run}
    assert got == run, f"{what} must be {run}, not {got}"
