"""Cells of has_core's memories changed behind its back, and read back through the array's own ways.

Apart from ``core_fetch_tests`` since it takes the hierarchy, which no netlist keeps. Environment:
as there.
"""

from __future__ import annotations

from typing import Any

import cocotb
import core_registers as core
from core_fetch_tests import ROW_MAP, WEIGHTS, at_rest
from core_map_tests import memories, write
from core_steps import check, job, ready, wait


@cocotb.test()
async def it_is_the_memory_that_the_array_reads(dut: Any) -> None:
    """A bit flipped in the cell itself shows, in the lane and PE where it is and nowhere else."""
    bench = await ready(dut)
    await write(bench, memories())
    await at_rest(bench)
    lanes = int(dut.LANES.value)
    ((key, words),) = (item for item in memories().items() if item[0][0] == ROW_MAP)
    for lane in range(lanes):
        cell = dut.layers.g_lane[lane].lane.row_map.rom.words[2]
        cell.value = words[2] ^ 1
        await wait(bench, 1)
        for other in range(lanes):
            found = await bench.registers.read_memory(ROW_MAP, 1, key[1], 2, other)
            assert found == [words[2] ^ (other == lane)], (lane, other)
        cell.value = words[2]
    ((key, words),) = (item for item in memories().items() if item[0][0] == WEIGHTS)
    bits = key[1] // bench.pe
    for pe in range(bench.pe):
        cell = dut.layers.array.g_pe[pe].bank.words[1]
        before = int(cell.value)
        cell.value = before ^ 1 << bits - 1
        await wait(bench, 1)
        found = await bench.registers.read_memory(WEIGHTS, 2, key[1])
        assert found == [words[0], words[1] ^ 1 << bits * (pe + 1) - 1], pe
        cell.value = before
    await wait(bench, 1)
    await bench.registers.set(core.CONTROL, core.ENABLE)
    await check(bench, job("other"))
