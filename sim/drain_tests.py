"""has_drain alone: the slots of random layers, also longer than a network here has."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from module_bench import begin, drive, edge, settle, size, value


@cocotb.test()
async def slots_in_order(dut: Any) -> None:
    """Slot, column and end of every accumulator; what may be captured, and when."""
    rng = random.Random(1)
    count, others = size(dut, "PE"), size(dut, "OTHERS")
    slots = 1 << size(dut, "SLOT_BITS")
    await begin(dut, rst=1, start=0, capture=0, enable=0, whole=0)
    drive(dut, rst=0)
    for turn in range(24):
        passes = rng.randrange(1, 1 + min(4, 1 << size(dut, "PASS_BITS")))
        columns = rng.randrange(1, 4)
        if turn % 3 == 1:
            columns, passes = rng.randrange(60, 150), 1
        elif turn % 3 == 2:
            passes = 1 << min(7, size(dut, "PASS_BITS"))
        base = rng.randrange(slots)
        whole = turn % 5 == 4  # all lanes' accumulators by the first
        drive(dut, passes_less_1=passes - 1, columns_less_1=columns - 1, map_base=base)
        drive(dut, start=1, whole=int(whole))
        await edge(dut)
        drive(dut, start=0)
        order = [(number, column) for number in range(passes) for column in range(columns)]
        stop = turn % 8 == 7
        for number, column in order[: len(order) // 2] if stop else order:
            first = base + number * (count + others)
            ends = number == passes - 1 and column == columns - 1
            await drain(dut, rng, -1 if whole else first % slots, column, columns, ends)
        if stop:  # a reset forgets what was captured
            drive(dut, capture=1, enable=0)
            await edge(dut)
            drive(dut, capture=0, rst=1)
            await edge(dut)
            drive(dut, rst=0)
        drive(dut, enable=1)
        await settle()
        assert not value(dut, "take") and value(dut, "free")
        drive(dut, enable=0)


async def drain(
    dut: Any, rng: random.Random, first: int, column: int, columns: int, ends: bool
) -> None:
    """Capture one column, and follow it out; first < 0, whole: slots mean nothing."""
    count, slots = size(dut, "PE"), 1 << size(dut, "SLOT_BITS")
    count += size(dut, "OTHERS") * (first < 0)
    chained = size(dut, "PE") == 1 and size(dut, "OTHERS") != 0 and first >= 0
    for _ in range(rng.randrange(3)):
        drive(dut, enable=1)
        await settle()
        assert value(dut, "free") and not value(dut, "take")
        await edge(dut)
    drive(dut, capture=1, enable=rng.getrandbits(1))
    await settle()
    assert value(dut, "free") and not value(dut, "take")
    await edge(dut)
    drive(dut, capture=0)
    for pe in range(count):
        while True:
            enable = int(rng.random() < 0.7)
            drive(dut, enable=enable)
            await settle()
            assert value(dut, "take") == enable
            assert value(dut, "free") == int(chained and enable)
            assert first < 0 or value(dut, "slot") == (first + pe) % slots
            assert value(dut, "column") == column
            assert value(dut, "column_end") == int(column == columns - 1)
            assert value(dut, "ending") == int(ends and pe == count - 1)
            await edge(dut)
            if enable:
                break
