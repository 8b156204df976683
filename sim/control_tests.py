"""has_array's control: reset in mid-layer, start while busy, time as documented."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge
from layer_tests import Bench, Job
from streams import Checker


def jobs() -> list[Job]:
    """The layers of the job folder."""
    found = [Job.read(path) for path in sorted(Path(os.environ["HAS_VECTORS"]).glob("*.npz"))]
    return sorted(found, key=lambda job: job.index)


def check(bench: Bench, job: Job) -> None:
    """The results of a run are the job's."""
    dut = bench.dut
    bits = {"acc_bits": int(dut.ACC_BITS.value), "v_bits": int(dut.V_BITS.value)}
    checker = Checker(*job.expected.acc.shape, **bits)
    flags = bool(int(dut.code_signed.value)), bool(int(dut.logits.value))
    got = checker.arrange(bench.monitor, int(dut.ACT_BITS.value), *flags)
    assert checker.mismatches(got, job.expected) == []


@cocotb.test()
async def reset_in_mid_layer(dut: Any) -> None:
    """After a reset at any moment the next layer is right."""
    bench = Bench(dut, None)
    await bench.reset()
    for job in jobs():
        for moment in (1, 2, 5, 11, 17, 40):
            task = cocotb.start_soon(bench.run(job))
            for _ in range(moment):
                await RisingEdge(dut.clk)
            task.cancel()
            dut.start.value = 0
            dut.s_axis_act_tvalid.value = 0
            dut.s_axis_weight_tvalid.value = 0
            dut.rst.value = 1
            await RisingEdge(dut.clk)
            dut.rst.value = 0
            await RisingEdge(dut.clk)
            assert not int(dut.busy.value)
            await bench.run(job)
            check(bench, job)


@cocotb.test()
async def start_while_busy(dut: Any) -> None:
    """A start while busy is not heard, whatever layer it names."""
    bench = Bench(dut, 5)
    await bench.reset()
    first, other = jobs()[:2]

    async def disturb() -> None:
        for _ in range(3):
            await RisingEdge(dut.clk)
        dut.layer.value = other.index
        dut.columns.value = 1
        dut.start.value = 1

    task = cocotb.start_soon(disturb())
    await bench.run(first)
    task.cancel()
    dut.start.value = 0
    check(bench, first)


@cocotb.test()
async def cycles(dut: Any) -> None:
    """A column takes max(steps, PE + 1) cycles; the rest is a fixed latency."""
    bench = Bench(dut, None)
    await bench.reset()
    pes, latency = int(dut.PE.value), int(dut.LATENCY.value) + 3 * int(dut.STAGES.value) + 12
    for job in jobs():
        took = await bench.run(job)
        if bench.weights.sent:
            continue  # loads hide behind the last column's results, more or less
        columns, steps = len(job.slots) * job.activations.shape[1], len(job.order)
        last_used = max(pe for pe in range(pes) if job.slots[-1][pe] >= 0)
        expected = steps + (columns - 1) * max(steps, pes + 1) + latency + last_used
        assert took == expected, f"{job.name} must take {expected} cycles, not {took}"
