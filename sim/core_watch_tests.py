"""has_core watches its array: checks between images, and what it tells where one comes out wrong.

Environment: HAS_VECTORS, folder with ``images.npz`` and ``watch.npz``: ``shape`` (base, steps,
passes), ``signature`` of the self-test and, where ``masks/`` is there with faults for
tb_fault_masks, ``faulty``, that of ``one.npz``.
"""

from __future__ import annotations

from typing import Any

import cocotb
import core_registers as core
import numpy as np
import pytest
from cocotb.triggers import RisingEdge
from core_bench import CoreBench
from core_steps import FOLDER, check, idle, job, ready, wait
from fault_switch import switch

MASKS = FOLDER / "masks"
WATCH, EXPECTED, SIGNATURE = (core.AT[name] for name in ("WATCH", "EXPECTED", "SIGNATURE"))
CHANGED = 1 << 13  # STATUS


def held() -> dict[str, Any]:
    """What the folder says."""
    with np.load(FOLDER / "watch.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


class Checks:
    """Counts the checks that have begun, the cycles that they took, and the alarms."""

    def __init__(self, dut: Any) -> None:
        self.count = self.cycles = self.alarms = 0
        self._dut = dut
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        before = 0
        while True:
            await RisingEdge(self._dut.clk)
            now = int(self._dut.watching.value)
            self.count += now & ~before
            self.cycles += now
            self.alarms += int(self._dut.changed.value)
            before = now


async def arm(bench: CoreBench, images: int) -> None:
    """The self-test's shape and signature; a check comes before the next image."""
    base, steps, passes = (int(value) for value in held()["shape"])
    await bench.registers.set(core.CONTROL, 0)
    await idle(bench)
    await bench.registers.set(core.AT["TEST_SHAPE"], steps - 1 | (passes - 1) << 16)
    await bench.registers.set(core.AT["TEST_BASE"], base)
    await bench.registers.set(EXPECTED, int(held()["signature"]))
    await bench.registers.set(WATCH, images)
    await bench.registers.set(core.IMAGES, 0)  # of which transient faults ask
    await bench.registers.set(core.CONTROL, core.ENABLE)
    await idle(bench)


async def status(bench: CoreBench) -> tuple[int, int, int]:
    """STATUS, IRQ, the interrupt, once a check that is due has ended."""
    await wait(bench, 8)
    await idle(bench)
    read = bench.registers.value
    return await read(core.STATUS), await read(core.IRQ), int(bench.dut.interrupt.value)


@cocotb.test()
@cocotb.parametrize(images=[1, 2])
async def a_healthy_array_raises_no_alarm(dut: Any, images: int) -> None:
    """A check before the first image and after every so many; images as without; known faults."""
    bench = await ready(dut, 5 if images == 2 else None)
    checks, wanted = Checks(dut), int(held()["signature"])
    assert await bench.registers.value(WATCH) == 0
    await check(bench, job())
    assert checks.count == 0
    await arm(bench, images)
    assert checks.count == 1 and await bench.registers.value(SIGNATURE) == wanted
    await bench.registers.set(core.IRQ_ENABLE, core.ERROR_SET)
    runs = 2
    for _ in range(runs):
        await bench.registers.set(core.IMAGES, 0)
        await check(bench, job())
    told, _, interrupt = await status(bench)
    each = max(images, job().batch)  # none within a batch
    assert checks.count == 1 + runs * len(job().codes) // each, checks.count
    assert told == 0 and interrupt == 0
    assert await bench.registers.value(SIGNATURE) == wanted
    assert await bench.registers.value(EXPECTED) == wanted
    dut._log.info(f"{checks.count} checks of {checks.cycles // checks.count} cycles each")
    await bench.registers.set(WATCH, 0)
    await bench.registers.set(core.IMAGES, 0)
    await check(bench, job())
    assert checks.count == 1 + runs * len(job().codes) // each


@cocotb.test()
async def another_signature_is_told_and_stays(dut: Any) -> None:
    """Of a wrong EXPECTED: STATUS, IRQ and the interrupt, until they are cleared."""
    bench = await ready(dut)
    await arm(bench, 1)
    await bench.registers.set(core.IRQ_ENABLE, core.ERROR_SET)
    assert await status(bench) == (0, 0, 0)
    await bench.registers.set(EXPECTED, int(held()["signature"]) ^ 1 << 31)
    await bench.registers.set(WATCH, 200)
    await wait(bench, 3)
    assert await status(bench) == (CHANGED, core.ERROR_SET, 1)
    await bench.registers.set(EXPECTED, int(held()["signature"]))
    await bench.registers.set(WATCH, 200)
    await wait(bench, 3)
    assert await status(bench) == (CHANGED, core.ERROR_SET, 1)
    await bench.registers.set(core.STATUS, CHANGED)
    await bench.registers.set(core.IRQ, core.ERROR_SET)
    assert await status(bench) == (0, 0, 0)


@cocotb.test()
async def a_restart_begins_the_check_anew(dut: Any) -> None:
    """At any moment of it; what it comes to is right."""
    bench = await ready(dut)
    checks, wanted = Checks(dut), int(held()["signature"])
    await arm(bench, 50)
    cycles = checks.cycles
    for moment in range(0, cycles, max(1, cycles // 4)):
        await bench.registers.set(WATCH, 50)
        await wait(bench, moment)
        await bench.registers.set(core.CONTROL, core.ENABLE | core.RESTART)
        assert await status(bench) == (0, 0, 0)
        assert await bench.registers.value(SIGNATURE) == wanted
    assert checks.count > 1 + 4
    await bench.registers.set(core.IMAGES, 0)
    await check(bench, job())


@cocotb.test(skip=not MASKS.exists())
async def a_fault_that_comes_raises_the_interrupt(dut: Any) -> None:
    """Between two images: the next check tells; the fault goes, and the alarm can be cleared."""
    bench = await ready(dut)
    await arm(bench, 1)
    await bench.registers.set(core.IRQ_ENABLE, core.ERROR_SET)
    await check(bench, job())
    assert (await status(bench))[0::2] == (0, 0)
    switch(dut, MASKS / "one.npz")
    with pytest.raises(AssertionError, match="integers differ"):
        await check(bench, job())
    told, irq, interrupt = await status(bench)
    assert told == CHANGED and irq & core.ERROR_SET and interrupt
    assert await bench.registers.value(SIGNATURE) == int(held()["faulty"])
    switch(dut, MASKS / "none.npz")
    await bench.registers.set(WATCH, 1)
    await idle(bench)
    await bench.registers.set(core.STATUS, CHANGED)
    await bench.registers.set(core.IRQ, 3)
    await check(bench, job())
    assert (await status(bench))[0::2] == (0, 0)
