"""has_pool_walk alone: the codes of random poolings, also larger than a network here has."""

from __future__ import annotations

import itertools
import random
from typing import Any

import cocotb
from module_bench import begin, drive, edge, size, value

SIDES = (
    "out_height_less_1", "out_width_less_1", "kernel_height_less_1", "kernel_width_less_1",
)  # fmt: skip
LONGEST = 1500


def draw(rng: random.Random, dut: Any, long: str) -> dict[str, int]:
    """Random constants, small ones; or one that counts far, and the others hardly."""
    side, element = size(dut, "SIDE_BITS"), size(dut, "ELEMENT_BITS")
    found = {name: rng.randrange(2 if long else 3) for name in SIDES}
    found["channels"] = rng.randrange(1, size(dut, "SIMD") * (1 if long else 3) + 1)
    if long:
        bits = element if long == "channels" else side
        found[long] = rng.randrange(1 << (bits - 1), 1 << bits)
    steps = {name: rng.getrandbits(element) for name in ("map_row", "x_step", "base_step")}
    return found | steps


def expected(dut: Any, walk: dict[str, int]) -> list[dict[str, int]]:
    """What each moving cycle gives."""
    simd, element = size(dut, "SIMD"), 1 << size(dut, "ELEMENT_BITS")
    height, width, rows, columns = (walk[name] + 1 for name in SIDES)
    channels, found = walk["channels"], []
    for y, x in itertools.product(range(height), range(width)):
        for channel in range(0, channels, simd):
            for row, column in itertools.product(range(rows), range(columns)):
                place = y * walk["base_step"] + x * walk["x_step"] + row * walk["map_row"]
                found.append({
                    "element": (place + column * channels + channel) % element,
                    "lane_end": min(simd, channels - channel),
                    "first": row == 0 and column == 0,
                    "last": row == rows - 1 and column == columns - 1,
                    "ending": 0,
                })  # fmt: skip
    found[-1]["ending"] = 1
    return found


@cocotb.test()
async def codes_in_order(dut: Any) -> None:
    """Every code of every pooling, held while nothing moves; then no more."""
    rng = random.Random(1)
    await begin(dut, rst=1, start=0, move=0)
    drive(dut, rst=0)
    longs = ("", "", "channels", *SIDES)
    for turn in range(9 * len(longs)):
        walk = draw(rng, dut, longs[turn % len(longs)])
        runs = expected(dut, walk)[:LONGEST]
        drive(dut, **walk)
        drive(dut, start=1, move=int(rng.random() < 0.5))
        await edge(dut)
        drive(dut, start=0)
        whole = runs[-1]["ending"] and turn % 5 != 4
        for number, run in enumerate(runs if whole else runs[: 1 + len(runs) // 2]):
            while rng.random() < 0.2:
                drive(dut, move=0)
                await edge(dut)
                if number:
                    check(dut, runs[number - 1], f"code {number - 1}, held,")
            drive(dut, move=1)
            await edge(dut)
            check(dut, run, f"code {number}")
        drive(dut, rst=int(not whole))
        await edge(dut)
        drive(dut, rst=0)
        for _ in range(4):
            assert not value(dut, "valid"), "nothing after the end or a reset"
            await edge(dut)


def check(dut: Any, run: dict[str, int], what: str) -> None:
    """What is shown now."""
    assert value(dut, "valid"), what
    got = {name: value(dut, name) for name in run}
    assert got == run, f"{what} must be {run}, not {got}"
