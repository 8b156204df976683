"""The cycle counters of has_core where they carry, which no short image reaches.

Environment: HAS_VECTORS, folder with ``images.npz``.
"""

from __future__ import annotations

from typing import Any

import cocotb
from core_registers import CYCLES
from core_steps import check, idle, job, ready, wait

CARRIES = [(1 << bits) - 1 for bits in range(4, 33)]


@cocotb.test()
async def counters_carry_into_every_bit(dut: Any) -> None:
    """Set before a carry into each bit, in mid-stage; the next image counts from its own start."""
    bench = await ready(dut)
    images, counters = job(), (dut.sequencer.image_cycles, dut.sequencer.stage_cycles)
    await check(bench, images)
    cycles = await bench.registers.value(CYCLES)
    for first in range(0, len(CARRIES), 6):
        await idle(bench)
        bench.images.send(images.image_beats(bench.simd, bench.act_bits, [0]))
        bench.weights.send(images.weight_beats(bench.weight_bits))
        while not int(dut.begin_stage.value):
            await bench.edge()
        for held in CARRIES[first : first + 6]:
            for counter in counters:
                counter.value = held
            await wait(bench, 2)
            for counter in counters:
                assert int(counter.value) == (held + 1) & 0xFFFFFFFF, f"after {held:#x}"
        await bench.until(1 + len(bench.results.packets))
        await wait(bench, 4)
    await check(bench, images)
    assert await bench.registers.value(CYCLES) == cycles
