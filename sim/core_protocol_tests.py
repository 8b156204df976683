"""What has_core does when its surroundings misbehave, and what its registers do.

Environment: HAS_VECTORS, folder with ``images.npz`` (two images or more, all weights on chip).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cocotb
import core_registers as core
import numpy as np
from cocotb.triggers import RisingEdge
from core_bench import CoreBench
from core_job import Beat, ImageJob, image_words, with_last
from core_steps import check, idle, job, ready, wait


@cocotb.test()
async def registers_tell_what_the_core_is(dut: Any) -> None:
    """Constants, power-up values and what can be written."""
    bench = await ready(dut)
    await idle(bench)  # the map is being checked
    shape = bench.pe | bench.simd << 8 | bench.weight_bits << 16 | bench.act_bits << 24
    for address, value in (
        (core.CONTROL, core.ENABLE),
        (core.STATUS, 0),
        (core.IMAGES, 0),
        (core.SHAPE, shape),
        (core.VERSION, 2),
        (core.ILLEGAL, 0),
        (core.PACKET, 1),
        (core.IRQ_ENABLE, 0),
        (core.IRQ, 0),
        (core.LANES, int(dut.LANES.value)),
    ):
        assert await bench.registers.value(address) == value, hex(address)
    ones = [(core.IMAGES, 0xDEADBEEF), (core.IMAGES, 0x21524110)]  # each bit once
    ones += [
        (core.PACKET, 0xBEEF),
        (core.PACKET, 0x4110),
        (core.IRQ_ENABLE, 1),
        (core.IRQ_ENABLE, 2),
    ]
    for address, value in (*ones, (core.SELECT, 3), (core.ADDRESS, 77)):
        await bench.registers.set(address, value)
        assert await bench.registers.value(address) == value, hex(address)


async def refused(bench: CoreBench, strict: bool, address: int, write: bool, **how: int) -> None:
    """One illegal access: its answer, and what is noted of it."""
    answer = core.SLVERR if strict else core.OKAY
    await bench.registers.set(core.STATUS, core.BAD_ACCESS)
    if write:
        assert await bench.registers.write(address, **{"value": 0, **how}) == answer, hex(address)
    else:
        assert await bench.registers.read(address) == (0, answer), hex(address)
    assert await bench.registers.value(core.STATUS) & core.BAD_ACCESS
    noted = write << 31 | address
    assert await bench.registers.value(core.ILLEGAL) == noted, hex(address)
    await bench.registers.read(0x3FC)  # illegal too, but not the first
    assert await bench.registers.value(core.ILLEGAL) == noted, hex(address)


@cocotb.test()
async def illegal_accesses_are_told(dut: Any) -> None:
    """Unknown or unaligned addresses, read-only registers, narrow writes: noted, no effect.

    They answer OKAY, or SLVERR where that was asked for.
    """
    bench = await ready(dut)
    stages = len(job().acc) + len(job().pools)
    for strict in (False, True):
        mode = core.STRICT * strict
        await bench.registers.set(core.CONTROL, core.ENABLE | mode)
        for address in (0x3C, 0xFC, 0x01, 0x100, 0x3FC, core.STAGE_CYCLES + 4 * stages):
            await refused(bench, strict, address, write=False)
        for address in (core.COMMIT, core.FETCH):  # write-only
            await refused(bench, strict, address, write=False)
        read_only = (core.CYCLES, core.SHAPE, core.VERSION, core.ILLEGAL, core.LANES)
        for address in (*read_only, core.STAGE_CYCLES, 0x3C, 0x22, 0xFFC):
            await refused(bench, strict, address, write=True)
        await refused(bench, strict, core.CONTROL, write=True, strobe=0x1)
        assert await bench.registers.value(core.CONTROL) == core.ENABLE | mode
        await bench.registers.set(core.SELECT, 1)
        await refused(bench, strict, core.COMMIT, write=True)  # still enabled
        await idle(bench)
        await bench.registers.set(core.CONTROL, mode)
        await bench.registers.set(core.SELECT, 99)
        await refused(bench, strict, core.COMMIT, write=True)  # no such memory
        await bench.registers.set(core.SELECT, 1)
        await bench.registers.set(core.ADDRESS, 1 << 20)
        await refused(bench, strict, core.COMMIT, write=True)  # no such word
        await bench.registers.set(core.CONTROL, core.ENABLE | mode)
        await bench.registers.set(core.STATUS, core.BAD_ACCESS)
        await check(bench, job())
        assert await bench.registers.value(core.STATUS) == 0


@cocotb.test()
async def images_back_to_back_with_idle_cycles(dut: Any) -> None:
    """Pauses on every stream change nothing."""
    bench = await ready(dut, pauses=11)
    await check(bench, job())
    assert await bench.registers.value(core.IMAGES) == len(job().codes)
    assert await bench.registers.value(core.STATUS) == 0


async def count(dut: Any, counted: dict[str, int]) -> None:
    """Cycles of the last image and of each stage in it, by name of the register."""
    now, began, image_began = 0, 0, 0
    resting = True
    while True:
        await RisingEdge(dut.clk)
        now += 1
        if int(dut.image_done.value):
            counted["image"], resting = now - image_began, True
        if int(dut.image_beat.value) and resting:
            image_began, resting = now, False
        if int(dut.start.value):
            began = now
        if int(dut.stage_end.value):
            counted[f"stage {int(dut.stage.value)}"] = now - began


@cocotb.test()
async def the_cycle_counters_count_cycles(dut: Any) -> None:
    """Of the last image, and they stand still after it."""
    bench = await ready(dut)
    counted: dict[str, int] = {}
    counter = cocotb.start_soon(count(dut, counted))
    await check(bench, job())
    stages = len(job().acc) + len(job().pools)
    for _ in range(2):
        found = {
            f"stage {i}": await bench.registers.value(core.STAGE_CYCLES + 4 * i)
            for i in range(stages)
        }
        found["image"] = await bench.registers.value(core.CYCLES)
        assert found == counted
        await wait(bench, 29)
    counter.cancel()


@cocotb.test()
async def a_reset_in_mid_image_leaves_nothing_behind(dut: Any) -> None:
    """At several moments of an image; the next image is whole."""
    bench = await ready(dut)
    images = job()
    await check(bench, images)
    cycles = await bench.registers.value(core.CYCLES)
    for moment in (2, cycles // 5, cycles // 2, cycles - 6):
        bench.images.send(images.image_beats(bench.simd, bench.act_bits, [0]))
        packets = len(bench.results.packets)
        await wait(bench, moment)
        bench.results.abandon()
        await bench.reset()
        await wait(bench, 20)
        assert len(bench.results.packets) == packets
        await check(bench, images)


@cocotb.test()
async def a_restart_forgets_the_image(dut: Any) -> None:
    """The control register's restart: as reset, but settings and counters stay."""
    bench = await ready(dut)
    images = job()
    await idle(bench)
    bench.images.send(images.image_beats(bench.simd, bench.act_bits, [0]))
    await wait(bench, 60)
    bench.images.send(())
    assert await bench.registers.value(core.STATUS) & core.BUSY
    await bench.registers.set(core.IMAGES, 40)
    await bench.registers.set(core.CONTROL, core.ENABLE | core.RESTART)
    await wait(bench, 3)
    await idle(bench)
    assert await bench.registers.value(core.STATUS) == 0
    await check(bench, images)
    assert await bench.registers.value(core.IMAGES) == 40 + len(images.codes)


async def answering(bench: CoreBench, images: ImageJob, image: int = 0) -> None:
    """One image, up to its first result, which waits."""
    bench.results.hold = True
    bench.images.send(images.image_beats(bench.simd, bench.act_bits, [image]))
    while not int(bench.dut.m_axis_result_tvalid.value):
        await bench.edge()


@cocotb.test()
async def a_restart_lets_an_answer_finish(dut: Any) -> None:
    """At each beat of it: the packet is whole, and counted; only then the core begins anew."""
    bench = await ready(dut)
    images = job()
    await idle(bench)
    for beats in range(len(images.logits[0])):
        packets, counted = len(bench.results.packets), await bench.registers.value(core.IMAGES)
        await answering(bench, images)
        bench.results.hold = False
        await wait(bench, beats)
        bench.results.hold = True
        await bench.registers.set(core.CONTROL, core.ENABLE | core.RESTART)
        await wait(bench, 20)
        assert await bench.registers.value(core.STATUS) == core.BUSY
        assert len(bench.results.packets) == packets
        bench.results.hold = False
        await bench.until(packets + 1)
        assert bench.logits(bench.results.packets[-1]).tolist() == images.logits[0].tolist()
        assert await bench.registers.value(core.STATUS) == core.BUSY  # the map is checked anew
        await idle(bench)
        assert await bench.registers.value(core.IMAGES) == counted + 1
        await check(bench, images)


@cocotb.test()
async def a_restart_loses_no_image_at_the_door(dut: Any) -> None:
    """One that waits while an answer leaves is not cut at its front."""
    bench = await ready(dut)
    images = job()
    await answering(bench, images)
    bench.images.send(images.image_beats(bench.simd, bench.act_bits, [1]))
    await bench.registers.set(core.CONTROL, core.ENABLE | core.RESTART)
    bench.results.hold = False
    await bench.until(2)
    seen = [bench.logits(packet).tolist() for packet in bench.results.packets]
    assert seen == images.logits[:2].tolist()
    assert await bench.registers.value(core.STATUS) & ~core.BUSY == 0


@cocotb.test()
async def a_restart_at_any_moment_cuts_no_packet(dut: Any) -> None:
    """Around the end of an image: an answer comes whole or not at all, the next image is right."""
    bench = await ready(dut, pauses=29)
    images = job()
    await check(bench, images)
    cycles = await bench.registers.value(core.CYCLES)
    answers, moments = 0, range(cycles - 16, cycles + 2)
    for moment in moments:
        packets = len(bench.results.packets)
        bench.images.send(images.image_beats(bench.simd, bench.act_bits, [0]))
        await wait(bench, moment)
        await bench.registers.set(core.CONTROL, core.ENABLE | core.RESTART)
        bench.images.send(())
        await idle(bench)
        for packet in bench.results.packets[packets:]:
            assert bench.logits(packet).tolist() == images.logits[0].tolist()
            answers += 1
        packets = len(bench.results.packets)
        bench.images.send(images.image_beats(bench.simd, bench.act_bits, [1]))
        await bench.until(packets + 1)
        assert bench.logits(bench.results.packets[-1]).tolist() == images.logits[1].tolist()
        await idle(bench)
        assert await bench.registers.value(core.STATUS) == 0
    assert 0 < answers < len(moments), "a restart must come before the answer, another within it"


@cocotb.test()
async def accesses_in_any_order(dut: Any) -> None:
    """Address first, data first, answers taken late; one answer each, and only the legal act."""
    bench = await ready(dut)
    await idle(bench)
    port = bench.registers.port
    for first, then in ((port.aw, port.w), (port.w, port.aw)):
        for late in (0, 9):
            select = await bench.registers.value(core.SELECT)
            port.b.hold = late > 0
            then.hold = True
            answers = len(port.b.taken)
            port.write(core.SELECT, select + 1)
            await wait(bench, 9)
            assert bench.lite.count["aw" if first is port.aw else "w"] == answers + 1
            assert len(port.b.taken) == answers
            then.hold = False
            await wait(bench, late)
            port.b.hold = False
            await bench.registers.settle()
            assert port.b.taken[-1] == (core.OKAY,)
            assert await bench.registers.value(core.SELECT) == select + 1


@cocotb.test()
async def many_accesses_with_random_stalls(dut: Any) -> None:
    """Reads beside writes, back to back, legal and not; every channel rests as it likes."""
    bench = await ready(dut, pauses=41)
    await idle(bench)
    await bench.registers.set(core.CONTROL, core.ENABLE | core.STRICT)
    draw = np.random.default_rng(43)
    port = bench.registers.port
    shape = await bench.registers.value(core.SHAPE)
    reads = {core.SHAPE: (shape, core.OKAY), 0x3C: (0, core.SLVERR), core.VERSION: (2, core.OKAY)}
    last = {core.SELECT: 0, core.ADDRESS: 0, core.IMAGES: 0}
    port.b.taken.clear()
    port.r.taken.clear()
    port.abandon()
    answers, values = [], []
    for _ in range(400):
        address = int(draw.choice([*last, core.CYCLES, 0x3C, 0x21, 0x3FC]))
        value, whole = int(draw.integers(1 << 32)), bool(draw.random() < 0.8)
        legal = address in last and whole
        port.write(address, value, 0xF if whole else int(draw.integers(15)))
        last |= {address: value} if legal else {}
        answers.append((core.OKAY if legal else core.SLVERR,))
        asked = int(draw.choice(list(reads)))
        port.read(asked)
        values.append(reads[asked])
    await bench.registers.settle()
    assert port.b.taken == answers
    assert port.r.taken == values
    for address, value in last.items():
        assert await bench.registers.value(address) == value, hex(address)
    await wait(bench, 1)
    count = bench.lite.count
    assert count["aw"] == count["w"] == count["b"] == 1 + len(answers)  # CONTROL's too
    assert count["ar"] == count["r"] >= len(values)


@cocotb.test()
async def a_class_alone(dut: Any) -> None:
    """With class_only, one beat per image."""
    bench = await ready(dut, pauses=5)
    images = job()
    await bench.registers.set(core.CONTROL, core.ENABLE | core.CLASS_ONLY)
    await bench.classify(images)
    classes = np.argmax(images.logits, axis=1).tolist()
    assert bench.results.packets == [[(label, label)] for label in classes]


@cocotb.test()
async def disabled_it_takes_no_image(dut: Any) -> None:
    """The enable bit holds images at the door, not in the middle."""
    bench = await ready(dut)
    images = job()
    await idle(bench)
    await bench.registers.set(core.CONTROL, 0)
    bench.images.send(images.image_beats(bench.simd, bench.act_bits))
    await wait(bench, 50)
    assert bench.images.sent == 0
    await bench.registers.set(core.CONTROL, core.ENABLE)
    while bench.images.sent == 0:
        await bench.edge()
    await bench.registers.set(core.CONTROL, 0)
    await bench.until(1)
    await wait(bench, 50)
    assert len(bench.results.packets) == 1
    assert await bench.registers.value(core.STATUS) == 0


def cut_or_stretched(bench: CoreBench, images: ImageJob, change: int) -> Iterator[Beat]:
    """One image of a wrong length."""
    words = image_words(images.codes[0], bench.simd, bench.act_bits)
    return with_last(words[:change] if change < 0 else words + words[:change])


@cocotb.test()
async def images_of_a_wrong_length_are_flagged(dut: Any) -> None:
    """Dropped and told in the status, never computed; the next image is whole."""
    bench = await ready(dut)
    images = job()
    await idle(bench)
    for change, flag in ((-1, core.SHORT), (1, core.LONG), (5, core.LONG)):
        packets, sent = len(bench.results.packets), bench.images.sent
        beats = list(cut_or_stretched(bench, images, change))
        bench.images.send(iter(beats))
        await wait(bench, 200)
        assert bench.images.sent == sent + len(beats)
        assert len(bench.results.packets) == packets
        assert await bench.registers.value(core.STATUS) == flag
        await check(bench, images)
        assert await bench.registers.value(core.STATUS) == flag
        await bench.registers.set(core.STATUS, flag)
        assert await bench.registers.value(core.STATUS) == 0
