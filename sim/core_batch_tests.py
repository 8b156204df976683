"""Batches of images in has_core: their size, what interrupts them, what a host sees of them.

Environment: HAS_VECTORS, folder with ``images.npz`` (two full batches; a layer is streamed).
"""

from __future__ import annotations

from typing import Any

import cocotb
import core_registers as core
from core_bench import CoreBench
from core_job import ImageJob, image_words
from core_protocol_tests import cut_or_stretched, refused
from core_steps import check, idle, job, ready, wait


def send(bench: CoreBench, images: ImageJob, count: int, batches: int) -> None:
    """The first images of a job, and weights for so many batches."""
    bench.images.send(images.image_beats(bench.simd, bench.act_bits, range(count)))
    bench.weights.send(
        beat for _ in range(batches) for beat in images.weight_beats(bench.weight_bits)
    )


def first_answers(bench: CoreBench, images: ImageJob, count: int) -> None:
    """The last ``count`` packets are the first images' answers."""
    for packet, logits in zip(bench.results.packets[-count:], images.logits, strict=False):
        assert bench.logits(packet).tolist() == logits.tolist()


@cocotb.test()
async def a_batch_has_1_to_the_most_images(dut: Any) -> None:
    """The most after reset; what is beyond is refused; each size gives every answer."""
    bench = await ready(dut)
    images = job()
    most = images.batch
    assert len(images.codes) == 2 * most
    await idle(bench)
    assert await bench.registers.value(core.BATCH) == most << 16 | most
    for size in (0, most + 1, 1 << 16):
        await refused(bench, False, core.BATCH, write=True, value=size)
        assert await bench.registers.value(core.BATCH) == most << 16 | most
    await bench.registers.set(core.STATUS, core.BAD_ACCESS)
    weights = len(list(images.weight_beats(bench.weight_bits)))
    beyond = set()  # cycles of the registers, less those from the first beat to the last answer
    for size in range(1, most + 1):
        await bench.registers.set(core.BATCH, size)
        assert await bench.registers.value(core.BATCH) == most << 16 | size
        packets, sent = len(bench.results.packets), bench.weights.sent
        answered = await bench.registers.value(core.IMAGES)
        send(bench, images, size, 5)
        beats = bench.images.sent
        while bench.images.sent == beats:
            await bench.edge()
        begun = bench.cycles
        await bench.until(packets + size)
        took = bench.cycles - begun
        await idle(bench)
        beyond.add(await bench.registers.value(core.CYCLES) - took)
        first_answers(bench, images, size)
        assert bench.weights.sent == sent + weights, "weights must be taken once for a batch"
        assert await bench.registers.value(core.IMAGES) == answered + size
    bench.weights.send(())
    assert len(beyond) == 1, "the cycles must be those of a whole batch"
    assert await bench.registers.value(core.STATUS) == 0


@cocotb.test()
async def a_batch_that_has_begun_is_finished(dut: Any) -> None:
    """With ENABLE 0, and with another size, which the next one has; no memory is written in it."""
    bench = await ready(dut)
    images = job()
    most = images.batch
    await idle(bench)
    beats = len(image_words(images.codes[0], bench.simd, bench.act_bits))
    send(bench, images, 1, 3)
    while bench.images.sent < beats:
        await bench.edge()
    await bench.registers.set(core.CONTROL, 0)
    await bench.registers.set(core.BATCH, 1)
    await wait(bench, 500)  # its own stages end; then the second image is waited for
    assert await bench.registers.value(core.STATUS) == core.BUSY
    await refused(bench, False, core.COMMIT, write=True)
    await bench.registers.set(core.STATUS, core.BAD_ACCESS)
    rest = images.image_beats(bench.simd, bench.act_bits, range(1, 2 * most))
    bench.images.send(rest)
    await bench.until(most)
    await idle(bench)
    await wait(bench, 50)
    assert len(bench.results.packets) == most
    first_answers(bench, images, most)
    assert bench.images.sent == most * beats
    weights = bench.weights.sent
    await bench.registers.set(core.CONTROL, core.ENABLE)
    await bench.until(most + 1)
    assert bench.logits(bench.results.packets[-1]).tolist() == images.logits[most].tolist()
    assert bench.weights.sent == 2 * weights
    bench.images.send(())
    bench.weights.send(())
    await bench.registers.set(core.CONTROL, core.ENABLE | core.RESTART)
    await idle(bench)


@cocotb.test()
async def an_image_of_a_wrong_length_is_none_of_the_batch(dut: Any) -> None:
    """Dropped and told; another takes its place."""
    bench = await ready(dut)
    images = job()
    most = images.batch
    for change, flag in ((-1, core.SHORT), (2, core.LONG)):
        for before in range(most):
            packets = len(bench.results.packets)
            good = [list(images.image_beats(bench.simd, bench.act_bits, [i])) for i in range(most)]
            bad = list(cut_or_stretched(bench, images, change))
            beats = [*good[:before], bad, *good[before:]]
            bench.images.send(beat for image in beats for beat in image)
            bench.weights.send(images.weight_beats(bench.weight_bits))
            await bench.until(packets + most)
            await idle(bench)
            first_answers(bench, images, most)
            assert await bench.registers.value(core.STATUS) == flag
            await bench.registers.set(core.STATUS, flag)


@cocotb.test()
async def a_restart_forgets_the_batch(dut: Any) -> None:
    """At any time: whole answers leave, the next beat is the first of a batch, and all is right."""
    bench = await ready(dut, pauses=3)
    images = job()
    most = images.batch
    await idle(bench)
    start = bench.cycles
    await check(bench, images)
    whole = (bench.cycles - start) // 2  # cycles of a batch, or more
    for place in range(12):
        bench.results.packets.clear()
        send(bench, images, most, 1)
        await wait(bench, 7 + place * whole // 11)
        bench.images.send(())
        bench.weights.send(())
        await bench.registers.set(core.CONTROL, core.ENABLE | core.RESTART)
        await idle(bench)
        assert not bench.results.taken(), "an answer that has begun must be finished"
        count = len(bench.results.packets)
        first_answers(bench, images, count)
        await check(bench, images)
    assert await bench.registers.value(core.STATUS) == 0


@cocotb.test()
async def packets_and_batches_are_each_their_own(dut: Any) -> None:
    """PACKET counts answers, whatever batch they are of."""
    bench = await ready(dut)
    images = job()
    count = len(images.codes)
    classes = images.logits.shape[1]
    await idle(bench)
    await bench.registers.set(core.PACKET, count - 1)
    send(bench, images, count, 2)
    await bench.until(1)
    (packet,) = bench.results.packets
    assert len(packet) == (count - 1) * classes
    for place in range(count - 1):
        answer = packet[place * classes : (place + 1) * classes]
        assert bench.logits(answer).tolist() == images.logits[place].tolist()
    while len(bench.results.taken()) < classes:
        await bench.edge()
    await bench.registers.set(core.PACKET, 1)
    bench.results.abandon()
    await idle(bench)
