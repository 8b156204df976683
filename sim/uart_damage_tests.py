"""has_uart_bridge: what comes broken over the line is never done, and the line opens again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge, Timer
from module_bench import size
from uart_bridge_bench import CLOCK_NS, begin, words
from uart_line import BROKEN, END, ESC, READ, SEQUENCE, WRITE, command


def turned(frame: bytes, rng: random.Random) -> bytes:
    """A bit turned round; never one that makes a byte of the frame an END, or the END another."""
    place = rng.randrange(1, len(frame) - 1)
    return frame[:place] + bytes((frame[place] ^ 1 << rng.randrange(5),)) + frame[place + 1 :]


def lost(frame: bytes, rng: random.Random) -> bytes:
    """A byte less."""
    place = rng.randrange(1, len(frame) - 1)
    return frame[:place] + frame[place + 1 :]


def cut_short(frame: bytes, rng: random.Random) -> bytes:
    """Its end is missing; another begins."""
    return frame[: rng.randrange(2, len(frame) - 2)] + frame[:1]


def joined(frame: bytes, _rng: random.Random) -> bytes:
    """No END between two."""
    return frame[:-1] + frame[1:]


@cocotb.test()
async def a_broken_frame_does_nothing(dut: Any) -> None:
    """Nor does any behind it, until the empty frame; then all is as before."""
    core, host, rng = await begin(dut, 3)
    ways: tuple[Callable[[bytes, random.Random], bytes], ...] = (turned, lost, cut_short, joined)
    for number in range(8):
        way = ways[number % len(ways)]
        value = rng.getrandbits(24)
        frame = host.frame(command(WRITE, 0x20, 2, words([value, value + 1])))
        why = await host.refusal(way(frame, rng))
        assert why == BROKEN, (way.__name__, why)
        # the next is whole, and refused: it may rest on the one that was lost, whatever its tag
        host.tag -= number % 2
        why = await host.refusal(host.frame(command(WRITE, 0x24, 1, words([1]))))
        assert why == SEQUENCE and int(dut.closed.value) and not core.writes
        await host.open(rng.randrange(256))
        await host.ask(command(WRITE, 0x28, 1, words([number])))
        assert core.writes.pop() == (0x28, number)


@cocotb.test()
async def no_byte_is_lost_or_added_anywhere_unseen(dut: Any) -> None:
    """At every place of a frame: one less, one twice, a zero more; none of it acts."""
    core, host, rng = await begin(dut, 9)
    broken = 0
    for place in range(1, 12):
        host.tag, frame = 76, b""
        while len(frame) != 12:  # none of its bytes is escaped
            host.tag = 77
            frame = host.frame(command(WRITE, 0x20, 1, words([rng.getrandbits(32)])))
        before, here, rest = frame[:place], frame[place : place + 1], frame[place + 1 :]
        ways = [before + b"\0" + here + rest]
        if place < 11:  # not the END: its frame is whole without
            ways += [before + rest, before + here + here + rest]
        for sent in ways:
            why = await host.refusal(sent)
            assert why == BROKEN and not core.writes, (place, sent.hex(), why, core.writes)
            broken += 1
            await host.open()
    frame = host.frame(command(WRITE, 0x20, 1, words([0xDB00_0000])))
    place = frame.index(ESC)
    assert await host.refusal(frame[:place] + frame[place : place + 1] + frame[place:]) == BROKEN
    assert broken == 31 and not core.writes


async def off(dut: Any, share: float) -> None:
    """Frames in a row without a pause, and their replies."""
    core, host, rng = await begin(dut, 10, share)
    for _ in range(3):
        core.writes.clear()
        values = [rng.choice((0, 0xFFFF_FFFF, rng.getrandbits(32))) for _ in range(4)]
        sent = [command(WRITE, 4 * at, 1, words([value])) for at, value in enumerate(values)]
        await host.line.send(b"".join(host.frame(one) for one in sent))
        assert await host.ask(command(READ, 0, 4), before=4) == words(values)
        assert core.writes == [(4 * at, value) for at, value in enumerate(values)]


@cocotb.test()
async def a_host_may_be_two_in_a_hundred_fast(dut: Any) -> None:
    """As docs/serial.md has it."""
    await off(dut, 0.98)


@cocotb.test()
async def a_host_may_be_two_in_a_hundred_slow(dut: Any) -> None:
    """As docs/serial.md has it."""
    await off(dut, 1.02)


@cocotb.test()
async def bytes_without_a_stop_bit_break_a_frame(dut: Any) -> None:
    """As a break does, and another baud."""
    core, host, _ = await begin(dut, 4)
    await host.line.send(bytes((END,)))
    await host.line.send(b"\x55", stop=0)
    frame = host.frame(command(WRITE, 0, 1, words([5])))
    assert await host.refusal(frame[1:]) == BROKEN
    await host.open()
    await host.line.send(host.frame(command(WRITE, 0, 1, words([5])))[:-1])
    await host.line.send(bytes((END,)), stop=0)  # it ends nothing
    await Timer(40 * host.bit_ns, unit="ns")
    assert not core.writes and not host.line.received
    assert await host.refusal(bytes((END,))) == BROKEN
    await host.open()
    dut.line_in.value = 0  # a break
    await Timer(40 * host.bit_ns, unit="ns")
    dut.line_in.value = 1
    await Timer(2 * host.bit_ns, unit="ns")
    await host.open()
    assert not core.writes
    await host.ask(command(WRITE, 0, 1, words([6])))


@cocotb.test()
async def a_spike_is_no_byte(dut: Any) -> None:
    """A line that is 0 for less than half a bit."""
    core, host, _ = await begin(dut, 14)
    for place in range(3):
        dut.line_in.value = 0
        await Timer(CLOCK_NS * (size(dut, "DIVISOR") // 4), unit="ns")
        dut.line_in.value = 1
        await Timer(20 * host.bit_ns, unit="ns")
        await host.ask(command(WRITE, 0, 1, words([place])))
    assert core.writes == [(0, 0), (0, 1), (0, 2)]


@cocotb.test()
async def noise_never_hangs_it(dut: Any) -> None:
    """Any bytes, ENDs and pieces of frames; then the empty frame, and all is as before."""
    core, host, rng = await begin(dut, 8)
    for number in range(6):
        piece = host.frame(command(READ, 0x10, 3))
        noise = bytes(
            rng.choice((END, ESC, rng.randrange(256), *piece)) for _ in range(rng.randint(1, 60))
        )
        await host.line.send(noise)
        await host.open(rng.randrange(256))
        core.writes.clear()
        await host.ask(command(WRITE, 0x40, 1, words([number])))
        assert core.writes == [(0x40, number)]


@cocotb.test()
async def a_reset_forgets_all(dut: Any) -> None:
    """In the middle of a frame and of a reply: the line is closed until it is opened."""
    _, host, rng = await begin(dut, 9)
    for _ in range(3):
        cocotb.start_soon(host.line.send(host.frame(command(READ, 0, 8))))
        await Timer(rng.randrange(20, 400) * host.bit_ns, unit="ns")
        dut.rst.value = 1
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        await RisingEdge(dut.clk)
        await Timer(1, unit="ns")
        assert int(dut.closed.value) and int(dut.line_out.value)
        await Timer(200 * host.bit_ns, unit="ns")  # the rest of the frame
        host.line.received.clear()
        await host.open()
        assert await host.ask(command(READ, 0, 1)) == bytes(4)
