"""has_uart_bridge: what frames ask for is done once and in order, and what cannot be is told."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import ClockCycles, Timer
from module_bench import size
from uart_bridge_bench import REFUSED, begin, words
from uart_line import (
    BUS,
    DROP,
    IMAGE,
    LENGTH,
    MALFORMED,
    OVERRUN,
    READ,
    RESULT,
    SEQUENCE,
    WEIGHT,
    WRITE,
    command,
    contents,
)


@cocotb.test()
async def registers_are_written_and_read_in_rows(dut: Any) -> None:
    """In the order of the commands, values with bytes that must be escaped among them."""
    core, host, rng = await begin(dut)
    for _ in range(6):
        at, count = 4 * rng.randrange(500), rng.randint(1, 6)
        values = [rng.choice((rng.getrandbits(32), 0xC0DBDCDD, 0xDBDBC0C0)) for _ in range(count)]
        before = len(core.writes)
        got = await host.ask(command(WRITE, at, count, words(values)), command(READ, at, count))
        places = [(at + 4 * place) % 4096 for place in range(count)]
        assert core.writes[before:] == list(zip(places, values, strict=True))
        assert got == words(values), (got.hex(), values)


@cocotb.test()
async def streams_carry_every_beat_once(dut: Any) -> None:
    """Images, weights and answers in one frame, whatever the core's pauses."""
    core, host, rng = await begin(dut, 2)
    image, weight = size(dut, "IMAGE_BYTES"), size(dut, "WEIGHT_BYTES")
    answer = size(dut, "RESULT_BYTES")
    bits = {"image": size(dut, "IMAGE_BITS"), "weight": size(dut, "WEIGHT_BITS")}
    for _ in range(5):
        images = [rng.getrandbits(bits["image"]) for _ in range(rng.randint(1, 3))]
        weights = [rng.getrandbits(bits["weight"]) for _ in range(2)]
        more = [rng.getrandbits(8 * answer) for _ in range(rng.randint(1, 4))]
        ends = rng.randint(0, 1)
        core.beats.clear()
        core.answers = [(value, 0) for value in more[:-1]] + [(more[-1], ends)]
        got = await host.ask(
            command(IMAGE, 0, len(images), words(images, image)),
            command(WEIGHT, 1, 2, words(weights, weight)),
            command(IMAGE, 1, 1, words(images[:1], image)),
            command(RESULT, ends, len(more)),
        )
        expected = [("image", value, 0) for value in images]
        expected += [("weight", weights[0], 0), ("weight", weights[1], 1), ("image", images[0], 1)]
        assert core.beats == expected and got == words(more, answer)


@cocotb.test()
async def frames_out_of_turn_or_room_are_refused(dut: Any) -> None:
    """A tag that is not the next, and more bytes than may wait."""
    core, host, _ = await begin(dut, 5)
    host.tag += 1  # one was lost
    assert await host.refusal(host.frame(command(WRITE, 0, 1, words([5])))) == SEQUENCE
    await host.open()
    room = 1 << size(dut, "RING_BITS")
    values = words(list(range(room // 4)))
    long = host.frame(command(WRITE, 0, room // 4, values))
    assert await host.refusal(long) == OVERRUN
    await host.open()
    assert not core.writes
    fits = (room - 8) // 4
    await host.ask(command(WRITE, 0, fits, values[: 4 * fits]))
    assert len(core.writes) == fits


@cocotb.test()
async def what_cannot_be_done_is_told(dut: Any) -> None:
    """Commands that are none or not whole, errors of the bus, answers that end elsewhere."""
    core, host, _ = await begin(dut, 6)
    none = [command(kind, 0, 1, bytes(4)) for kind in (0, 7, 15)]
    none += [b"\0", command(WRITE, 0, 2, words([1])), command(WRITE, 0, 1, b"\1\2")]
    none += [command(IMAGE, 0, 1), command(READ, 0, 1) + b"\0"]
    for one in none:
        core.writes.clear()
        assert await host.refusal(host.frame(one)) == MALFORMED, one.hex()
        assert len(core.writes) <= 1  # the words that were whole
        await host.open()
    for kind in (WRITE, READ):
        content = words([9]) if kind == WRITE else b""
        bad, good = command(kind, REFUSED, 1, content), command(WRITE, 0, 1, words([7]))
        assert await host.refusal(host.frame(bad, good)) == BUS
        assert (0, 7) not in core.writes
        await host.open()
    for ends, asked in ((0, 1), (1, 0)):
        core.answers = [(1, ends)]
        assert await host.refusal(host.frame(command(RESULT, asked, 1))) == LENGTH
        await host.open()
    core.answers = [(1, 0), (2, 1)]
    assert await host.refusal(host.frame(command(RESULT, 1, 3))) == LENGTH


@cocotb.test()
async def what_waits_behind_a_failure_never_acts(dut: Any) -> None:
    """A whole frame that has come while the one before it was under way, and then failed."""
    core, host, _ = await begin(dut, 12)
    read, bad = command(READ, 0, 20), command(WRITE, REFUSED, 1, words([9]))
    good = command(WRITE, 0, 1, words([7]))
    await host.line.send(host.frame(read, bad, good) + host.frame(good) + host.frame(good))
    assert not core.writes, "the frames behind must have come before the first one fails"
    assert (await host.reply())[-1] == BUS
    await Timer(400 * host.bit_ns, unit="ns")
    assert core.writes == [(REFUSED, 9)] and int(dut.closed.value)
    assert not contents(bytes(host.line.received))


@cocotb.test()
async def an_abort_ends_every_wait(dut: Any) -> None:
    """For an answer, for a beat to be taken, with frames behind it that never act."""
    core, host, _ = await begin(dut, 7)
    behind = command(WRITE, 0, 1, words([1]))
    beat = words([3], size(dut, "IMAGE_BYTES"))
    for wait in (command(RESULT, 0, 1), command(IMAGE, 1, 1, beat)):
        core.ready = False
        await host.line.send(host.frame(wait, behind) + host.frame(behind))
        await Timer(60 * host.bit_ns, unit="ns")
        await host.open()
        assert not int(dut.m_axis_image_tvalid.value) and not core.writes
        core.ready = True
        assert await host.ask(command(READ, 0, 1)) == bytes(4)
        assert not core.beats
    # answers that nobody waits for
    core.answers = [(place, place & 1) for place in range(5)]
    await host.ask(command(DROP, 0, 1))
    await Timer(60 * host.bit_ns, unit="ns")
    assert not core.answers
    await host.open()
    core.answers = [(6, 1)]
    await Timer(60 * host.bit_ns, unit="ns")
    assert core.answers
    assert await host.ask(command(RESULT, 1, 1)) == words([6], size(dut, "RESULT_BYTES"))


@cocotb.test()
async def an_abort_lets_a_register_access_end(dut: Any) -> None:
    """Of a core that takes its time: the bus is never left half-way."""
    core, host, _ = await begin(dut, 13)
    for number in range(2):
        core.writes.clear()
        core.pause = 150 * size(dut, "DIVISOR")
        await ClockCycles(dut.clk, 8)  # what waits for a handshake has begun with the pause
        content = words([number + 5])
        await host.ask(command(READ, 0, 1))  # so has the next
        await host.line.send(host.frame(command(WRITE, 0x30, 1, content)))
        await host.open()
        core.pause = 0
        got = await host.ask(command(WRITE, 0x34, 1, content), command(READ, 0x30, 2))
        assert got == content + content
        assert core.writes == [(0x30, number + 5), (0x34, number + 5)]
