"""Result packets of several images, and the interrupt.

Environment: HAS_VECTORS, folder with ``images.npz`` (two images or more, all weights on chip).
"""

from __future__ import annotations

from typing import Any

import cocotb
import core_registers as core
import numpy as np
from core_bench import CoreBench
from core_job import ImageJob, image_words, with_last
from core_steps import idle, job, ready, wait


async def images_sent(bench: CoreBench, images: ImageJob, count: int) -> None:
    """So many images, the job's in turn, up to the last answer."""
    before = await bench.registers.value(core.IMAGES)
    numbers = [number % len(images.codes) for number in range(count)]
    bench.images.send(images.image_beats(bench.simd, bench.act_bits, numbers))
    while await bench.registers.value(core.IMAGES) != before + count:
        await bench.edge()


def answers(bench: CoreBench, packets: list[list[tuple[int, int]]]) -> list[list[list[int]]]:
    """Logits of each answer in each packet; a packet holds whole answers."""
    classes = len(job().logits[0])
    found = []
    for packet in packets:
        assert len(packet) % classes == 0, "a packet must end where an answer ends"
        starts = range(0, len(packet), classes)
        found.append([bench.logits(packet[at : at + classes]).tolist() for at in starts])
    return found


@cocotb.test()
async def a_packet_of_several_images(dut: Any) -> None:
    """Their tlast ends every N-th answer alone, with back-pressure; 0 counts as 1."""
    bench = await ready(dut, pauses=17)
    images = job()
    for size in (1, 2, 3, 5, 0):
        bench.results.packets.clear()
        await bench.registers.set(core.PACKET, size)
        assert await bench.registers.value(core.PACKET) == size
        await images_sent(bench, images, 2 * max(size, 1) + 1)
        bench.results.abandon()  # the answer beyond the second packet
        expected = [images.logits[n % len(images.codes)].tolist() for n in range(2 * max(size, 1))]
        found = answers(bench, bench.results.packets[:2])
        assert [len(packet) for packet in found] == 2 * [max(size, 1)]
        assert found[0] + found[1] == expected
        assert len(bench.results.packets) == 2 + (size < 2)


@cocotb.test()
async def a_packet_of_classes(dut: Any) -> None:
    """With CLASS_ONLY a beat for each image."""
    bench = await ready(dut)
    images = job()
    await bench.registers.set(core.CONTROL, core.ENABLE | core.CLASS_ONLY)
    await bench.registers.set(core.PACKET, 4)
    await images_sent(bench, images, 8)
    labels = [int(np.argmax(images.logits[n % len(images.codes)])) for n in range(8)]
    beats = [(label, label) for label in labels]
    assert bench.results.packets == [beats[:4], beats[4:]]


@cocotb.test()
async def the_count_begins_anew(dut: Any) -> None:
    """After a restart, a reset and a write of PACKET; an answer under way keeps its tlast."""
    bench = await ready(dut)
    images = job()
    classes = len(images.logits[0])
    for how in ("restart", "packet", "reset"):
        await idle(bench)
        await bench.registers.set(core.PACKET, 3)
        bench.results.packets.clear()
        bench.results.abandon()
        await images_sent(bench, images, 1)
        if how == "reset":
            await bench.reset()
            await bench.registers.set(core.PACKET, 3)
        elif how == "restart":
            await bench.registers.set(core.CONTROL, core.ENABLE | core.RESTART)
        else:
            await bench.registers.set(core.PACKET, 3)
        bench.results.abandon()
        await images_sent(bench, images, 3)
        assert [len(packet) for packet in bench.results.packets] == [3 * classes], how
    for size, held in ((1, 2), (2, 1)):  # an answer waits that is its packet's last, or is not
        await bench.registers.set(core.PACKET, size)
        bench.results.packets.clear()
        bench.results.hold = True
        bench.images.send(images.image_beats(bench.simd, bench.act_bits, [0]))
        while not int(dut.m_axis_result_tvalid.value):
            await bench.edge()
        await wait(bench, 4)
        await bench.registers.set(core.PACKET, held)
        bench.results.hold = False
        await idle(bench)
        sizes = [len(packet) for packet in bench.results.packets]
        assert sizes == ([classes] if size == 1 else []), (size, held)
        await images_sent(bench, images, held)
        # the packet after begins with the answer after it
        total = (held + (size == 2)) * classes
        assert sum(len(packet) for packet in bench.results.packets[len(sizes) :]) == total
        assert len(bench.results.packets) == len(sizes) + 1


@cocotb.test()
async def the_interrupt(dut: Any) -> None:
    """Of a packet that left, and of an error; only where it is enabled, until it is cleared."""
    bench = await ready(dut)
    images = job()
    read, write = bench.registers.value, bench.registers.set
    assert await read(core.IRQ) == await read(core.IRQ_ENABLE) == 0
    await write(core.PACKET, 2)
    await images_sent(bench, images, 1)
    assert await read(core.IRQ) == 0, "half a packet raises nothing"
    await images_sent(bench, images, 1)
    assert await read(core.IRQ) == core.PACKET_LEFT
    assert int(dut.interrupt.value) == 0
    await write(core.IRQ_ENABLE, core.PACKET_LEFT)
    await wait(bench, 2)
    assert int(dut.interrupt.value) == 1
    await write(core.IRQ, core.ERROR_SET)  # not this bit
    assert await read(core.IRQ) == core.PACKET_LEFT and int(dut.interrupt.value) == 1
    await write(core.IRQ, core.PACKET_LEFT)
    await wait(bench, 2)
    assert await read(core.IRQ) == 0 and int(dut.interrupt.value) == 0
    words = image_words(images.codes[0], bench.simd, bench.act_bits)
    for error in (core.SHORT, core.BAD_ACCESS):
        await write(core.IRQ_ENABLE, core.ERROR_SET)
        if error == core.SHORT:
            bench.images.send(with_last(words[:-1]))
            await wait(bench, 200)
        else:
            await bench.registers.read(0x3C)
        await wait(bench, 2)
        assert int(dut.interrupt.value) == 1
        assert await read(core.IRQ) == core.ERROR_SET
        assert await read(core.STATUS) == error
        await write(core.STATUS, error)
        await write(core.IRQ, core.ERROR_SET)
        await wait(bench, 2)
        assert int(dut.interrupt.value) == 0 and await read(core.STATUS) == 0
