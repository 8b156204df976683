"""Memories of has_core read back: what was written, in every lane, and what a fault made of it.

Environment: HAS_VECTORS, folder with ``images.npz`` (all weights on chip), ``other.npz`` (the same
images under another row map and other weights) and ``memories.npz`` (the memory words of that).
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import core_registers as core
from core_bench import CoreBench
from core_map_tests import memories, write
from core_steps import check, idle, job, ready

WEIGHTS, ROW_MAP = 0, 1


async def at_rest(bench: CoreBench) -> None:
    """Nothing under way, and none to come."""
    await idle(bench)
    await bench.registers.set(core.CONTROL, 0)


@cocotb.test()
async def every_word_reads_back_as_written(dut: Any) -> None:
    """All memories, all words, all lanes; images are right before, between and after."""
    bench = await ready(dut, pauses=23)
    await check(bench, job())
    words = memories()
    await write(bench, words)
    lanes = await bench.registers.value(core.LANES)
    assert lanes == int(dut.LANES.value)
    compared = 0
    await at_rest(bench)
    for (memory, width), expected in words.items():
        for lane in range(lanes):
            found = await bench.registers.read_memory(memory, len(expected), width, lane=lane)
            assert found == expected, f"memory {memory}, lane {lane}"
            compared += len(found)
        assert await bench.registers.value(core.ADDRESS) == len(expected)
    assert compared == lanes * sum(map(len, words.values()))
    await bench.registers.set(core.CONTROL, core.ENABLE)
    await check(bench, job("other"))
    assert await bench.registers.value(core.STATUS) == 0


@cocotb.test()
async def any_word_in_any_order(dut: Any) -> None:
    """Random words, written and read between one another; nothing else changes."""
    bench = await ready(dut)
    rng = random.Random(3)
    words = memories()
    await write(bench, words)
    await at_rest(bench)
    held = {key: list(values) for key, values in words.items()}
    lanes = int(dut.LANES.value)
    for _ in range(150):
        memory, width = key = rng.choice(list(held))
        at = rng.randrange(len(held[key]))
        if rng.random() < 0.4:
            held[key][at] = rng.getrandbits(width)
            await bench.registers.write_memory(memory, [held[key][at]], width, at)
        else:
            count = min(2, len(held[key]) - at)
            lane = rng.randrange(lanes)
            found = await bench.registers.read_memory(memory, count, width, at, lane)
            assert found == held[key][at : at + count], (key, at, lane)
    await write(bench, words)
    await check(bench, job("other"))


@cocotb.test()
async def out_of_turn_nothing_is_read(dut: Any) -> None:
    """While enabled or busy, beyond the depth, of a lane that is not: illegal, ADDRESS stays."""
    bench = await ready(dut)
    await idle(bench)
    lanes = await bench.registers.value(core.LANES)
    depth = len(next(words for key, words in memories().items() if key[0] == ROW_MAP))
    await bench.registers.set(core.SELECT, ROW_MAP)
    for control, address, lane in (
        (core.STRICT | core.ENABLE, 0, 0),
        (core.STRICT, depth, 0),
        (core.STRICT, 0, lanes),
    ):
        await bench.registers.set(core.CONTROL, control)
        await bench.registers.set(core.ADDRESS, address)
        assert await bench.registers.write(core.FETCH, lane) == core.SLVERR
        assert await bench.registers.value(core.ADDRESS) == address
        assert await bench.registers.value(core.ILLEGAL) == 1 << 31 | core.FETCH
    await bench.registers.set(core.CONTROL, core.STRICT | core.ENABLE)
    bench.images.send(job("other").image_beats(bench.simd, bench.act_bits, [0]))
    while bench.images.sent == 0:
        await bench.edge()
    await bench.registers.set(core.CONTROL, core.STRICT)
    assert await bench.registers.write(core.FETCH, 0) == core.SLVERR
    await bench.until(1)
    await bench.registers.set(core.CONTROL, core.ENABLE)
    await write(bench, memories())
    await check(bench, job("other"))
