"""What has_core does when its weight stream misbehaves.

Environment: HAS_VECTORS, folder with ``images.npz``: two images or more, a layer of two passes or
more whose weights are streamed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cocotb
import core_registers as core
from core_bench import CoreBench
from core_job import Beat, ImageJob
from core_steps import check, idle, job, ready, wait

HALTED = core.WEIGHTS | core.HALTED | core.BUSY


def marked(bench: CoreBench, images: ImageJob, change: int) -> Iterator[Beat]:
    """One image's weights; their first pass is short by ``change`` beats, or long if negative."""
    beats = list(images.weight_beats(bench.weight_bits))
    end = next(place for place, (_, last) in enumerate(beats) if last)
    if change > 0:
        short = beats[: end + 1 - change]
        yield from (*short[:-1], (short[-1][0], 1))
    else:
        yield from (*((data, 0) for data, _ in beats[: end + 1]), *beats[:-change])
    yield from beats[end + 1 :]


@cocotb.test()
async def a_pass_of_a_wrong_length_halts(dut: Any) -> None:
    """No result leaves, no further weight is taken; a restart begins anew."""
    bench = await ready(dut)
    images = job()
    await check(bench, images)
    cycles = await bench.registers.value(core.CYCLES)
    for change in (1, 2, -1, -2):
        packets = len(bench.results.packets)
        bench.images.send(images.image_beats(bench.simd, bench.act_bits, [0]))
        bench.weights.send(marked(bench, images, change))
        await wait(bench, 2 * cycles)
        assert await bench.registers.value(core.STATUS) == HALTED, change
        assert len(bench.results.packets) == packets
        sent = bench.weights.sent
        await wait(bench, 50)
        assert bench.weights.sent == sent, "a halted core must take no weights"
        assert await bench.registers.write(core.COMMIT, 0) == core.OKAY  # noted, not done
        assert await bench.registers.value(core.ADDRESS) == 0
        bench.images.send(())
        bench.weights.send(())
        await bench.registers.set(core.CONTROL, core.ENABLE | core.RESTART)
        await idle(bench)
        assert await bench.registers.value(core.STATUS) == core.WEIGHTS | core.BAD_ACCESS
        await bench.registers.set(core.STATUS, core.WEIGHTS | core.BAD_ACCESS)
        await check(bench, images)
        assert await bench.registers.value(core.STATUS) == 0


@cocotb.test()
async def weights_wait_for_their_layer(dut: Any) -> None:
    """Those that come early are not taken before their layer; a layer waits for late ones."""
    bench = await ready(dut, pauses=3)
    images = job()
    bench.weights.send(images.weight_beats(bench.weight_bits))
    await wait(bench, 200)
    assert bench.weights.sent == 0
    bench.weights.send(())
    bench.codes.results.clear()
    bench.images.send(images.image_beats(bench.simd, bench.act_bits, [0]))
    await wait(bench, 1000)
    assert not bench.results.packets
    assert await bench.registers.value(core.STATUS) == core.BUSY
    bench.weights.send(images.weight_beats(bench.weight_bits))
    await bench.until(1)
    assert bench.logits(bench.results.packets[0]).tolist() == images.logits[0].tolist()
    await check(bench, images)


@cocotb.test()
async def a_reset_in_mid_weights_leaves_nothing_behind(dut: Any) -> None:
    """At several beats of the weight stream; the next image begins with the first."""
    bench = await ready(dut)
    images = job()
    total = len(list(images.weight_beats(bench.weight_bits)))
    for moment in (1, total // 2, total - 1):
        bench.images.send(images.image_beats(bench.simd, bench.act_bits, [0]))
        before = bench.weights.sent
        bench.weights.send(images.weight_beats(bench.weight_bits))
        while bench.weights.sent < before + moment:
            await bench.edge()
        await bench.reset()
        await check(bench, images)
        assert await bench.registers.value(core.STATUS) == 0
