"""has_steps alone: the beats of random layers, also longer than a network here has."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import cocotb
from module_bench import begin, drive, edge, settle, size, value

LONGEST = 700  # beats of a layer


def draw(rng: random.Random, dut: Any, long: str) -> dict[str, int]:
    """Random sizes, small ones but for one that counts far."""
    sizes = {name: rng.randrange(3) for name in ("steps_less_1", "passes_less_1", "columns_less_1")}
    bits = {"steps_less_1": "STEP_BITS", "passes_less_1": "PASS_BITS"}
    if long == "columns_less_1":
        sizes[long] = rng.randrange(130, 300) & ((1 << size(dut, "COLUMN_BITS")) - 1)
    elif long:
        width = min(8, size(dut, bits[long]))
        sizes[long] = rng.randrange(1 << width - 1, 1 << width)
    return {name: n & ((1 << size(dut, bits.get(name, "COLUMN_BITS"))) - 1)
            for name, n in sizes.items()} | {"external": rng.getrandbits(1)}  # fmt: skip


def beats(dut: Any, sizes: dict[str, int], base: int) -> Iterator[dict[str, int]]:
    """Every beat of a layer, with what is told beside it."""
    steps, passes, columns = (
        sizes[name] + 1 for name in ("steps_less_1", "passes_less_1", "columns_less_1")
    )
    words = 1 << size(dut, "WMEM_BITS")
    for number in range(passes):
        first = base if sizes["external"] else base + number * steps
        if sizes["external"]:
            for step in range(steps):
                yield {"weight": 1, "address": (first + step) % words, "pass": number,
                       "column": 0, "step": step}  # fmt: skip
        for column, step in itertools.product(range(columns), range(steps)):
            yield {"weight": 0, "address": (first + step) % words, "pass": number,
                   "column": column, "step": step}  # fmt: skip


@cocotb.test()
async def beats_in_order(dut: Any) -> None:
    """With idle streams and stalls; a reset ends a layer, and none begins by itself."""
    rng = random.Random(1)
    await begin(dut, rst=1, start=0, ready=0, act_valid=0, weight_valid=0)
    drive(dut, rst=0)
    longs = ("", "", "steps_less_1", "passes_less_1", "columns_less_1")
    for turn in range(8 * len(longs)):
        sizes = draw(rng, dut, longs[turn % len(longs)])
        base = rng.getrandbits(size(dut, "WMEM_BITS"))
        wanted = list(itertools.islice(beats(dut, sizes, base), LONGEST + 1))
        whole = turn % 7 != 6 and len(wanted) <= LONGEST
        drive(dut, **sizes, wmem_base=base, start=1, act_valid=0, weight_valid=0)
        await edge(dut)
        drive(dut, start=0)
        for beat in wanted if whole else wanted[: len(wanted) // 2]:
            await follow(dut, rng, sizes, beat)
        drive(dut, rst=int(not whole), act_valid=0, weight_valid=0)
        await edge(dut)
        drive(dut, rst=0, act_valid=1, weight_valid=1, ready=1)
        for _ in range(3):
            await settle()
            assert not value(dut, "act_ready") and not value(dut, "weight_ready")
            assert not value(dut, "act_beat") and not value(dut, "weight_beat")
            await edge(dut)


async def follow(dut: Any, rng: random.Random, sizes: dict[str, int], beat: dict[str, int]) -> None:
    """Cycles up to the one that takes a beat."""
    held = size(dut, "HOLD_WEIGHTS")
    while True:
        ready, act, weight = (int(rng.random() < 0.8) for _ in range(3))
        drive(dut, ready=ready, act_valid=act, weight_valid=weight)
        await settle()
        weights = beat["weight"] and (ready or not held)
        acts = not beat["weight"] and ready
        shown = {name: value(dut, f"{name}_ready") for name in ("act", "weight")}
        assert shown == {"act": int(acts), "weight": int(weights)}, beat
        taken = {name: value(dut, f"{name}_beat") for name in ("act", "weight")}
        assert taken == {"act": int(acts and act), "weight": int(weights and weight)}, beat
        got = {name: value(dut, name) for name in ("address", "pass", "column", "step")}
        assert got == {name: beat[name] for name in got}, beat
        assert value(dut, "first") == int(beat["step"] == 0), beat
        assert value(dut, "last") == int(beat["step"] == sizes["steps_less_1"]), beat
        await edge(dut)
        if any(taken.values()):
            return
