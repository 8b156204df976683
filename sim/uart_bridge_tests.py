"""has_uart_bridge: what frames ask for is done once and in order, and what is broken never is."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, Timer, with_timeout
from module_bench import size
from uart_line import (
    BROKEN,
    BUS,
    DONE,
    DROP,
    END,
    ESC,
    IMAGE,
    LENGTH,
    MALFORMED,
    OVERRUN,
    READ,
    RESULT,
    SEQUENCE,
    WEIGHT,
    WRITE,
    Line,
    command,
    contents,
    framed,
)  # fmt: skip

CLOCK_NS = 10
REFUSED = 0xBAD  # an address that answers SLVERR


class Core:
    """What the bridge drives: registers, sinks of images and weights, a source of answers."""

    def __init__(self, dut: Any, rng: random.Random) -> None:
        self.dut, self.rng = dut, rng
        self.registers: dict[int, int] = {}
        self.writes: list[tuple[int, int]] = []
        self.beats: list[tuple[str, int, int]] = []  # stream, data, tlast
        self.answers: list[tuple[int, int]] = []  # to come: data, tlast
        self.ready = True  # for a test: whether images are taken
        self.pause = 0  # for a test: cycles that a handshake waits for
        for name in ("awready", "wready", "bvalid", "bresp", "arready", "rvalid", "rresp", "rdata"):
            getattr(dut, f"m_axil_{name}").value = 0
        dut.m_axis_image_tready.value = 0
        dut.m_axis_weight_tready.value = 0
        dut.s_axis_result_tvalid.value = 0
        for part in (self._write(), self._read(), self._sink("image"), self._sink("weight"),
                     self._source()):  # fmt: skip
            cocotb.start_soon(part)

    async def _rest(self) -> None:
        for _ in range(self.pause or self.rng.choice((0, 0, 1, 3))):
            await RisingEdge(self.dut.clk)

    async def _take(self, valid: Any, ready: Any, *fields: Any) -> list[int]:
        """One handshake of a channel that the bridge drives."""
        await self._rest()
        ready.value = 1
        while True:
            await RisingEdge(self.dut.clk)
            if int(valid.value) and int(ready.value):
                got = [int(field.value) for field in fields]
                ready.value = 0
                return got

    async def _give(self, valid: Any, ready: Any, **fields: int) -> None:
        """One of a channel that it takes."""
        await self._rest()
        for name, content in fields.items():
            getattr(self.dut, name).value = content
        valid.value = 1
        while True:
            await RisingEdge(self.dut.clk)
            if int(ready.value):
                valid.value = 0
                return

    async def _write(self) -> None:
        dut = self.dut
        while True:
            (address,) = await self._take(dut.m_axil_awvalid, dut.m_axil_awready, dut.m_axil_awaddr)
            data, strobe = await self._take(
                dut.m_axil_wvalid, dut.m_axil_wready, dut.m_axil_wdata, dut.m_axil_wstrb
            )
            assert strobe == 15
            self.writes.append((address, data))
            self.registers[address] = data
            answer = 2 if address == REFUSED else 0
            await self._give(dut.m_axil_bvalid, dut.m_axil_bready, m_axil_bresp=answer)

    async def _read(self) -> None:
        dut = self.dut
        while True:
            (address,) = await self._take(dut.m_axil_arvalid, dut.m_axil_arready, dut.m_axil_araddr)
            data = self.registers.get(address, 0)
            answer = 2 if address == REFUSED else 0
            await self._give(
                dut.m_axil_rvalid, dut.m_axil_rready, m_axil_rdata=data, m_axil_rresp=answer
            )

    async def _sink(self, name: str) -> None:
        dut = self.dut
        valid, ready, last, data = (
            getattr(dut, f"m_axis_{name}_{part}") for part in ("tvalid", "tready", "tlast", "tdata")
        )
        while True:
            await RisingEdge(dut.clk)
            if int(valid.value) and int(ready.value):
                self.beats.append((name, int(data.value), int(last.value)))
            ready.value = int(self.ready and self.rng.random() < 0.5)

    async def _source(self) -> None:
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            if self.answers:
                data, last = self.answers[0]
                await self._give(
                    dut.s_axis_result_tvalid, dut.s_axis_result_tready,
                    s_axis_result_tdata=data, s_axis_result_tlast=last,
                )  # fmt: skip
                self.answers.pop(0)


class Host:
    """The other end of the line."""

    def __init__(self, dut: Any, share: float = 1.0) -> None:
        self.bit_ns = size(dut, "DIVISOR") * CLOCK_NS * share
        self.line = Line(dut.line_in, dut.line_out, self.bit_ns)
        self.tag = 0

    def frame(self, *commands: bytes) -> bytes:
        """The next frame."""
        self.tag = (self.tag + 1) % 256
        return framed(bytes((self.tag,)) + b"".join(commands))

    async def reply(self) -> bytes:
        """The next reply."""
        while not contents(bytes(self.line.received)):
            self.line.came.clear()
            await with_timeout(self.line.came.wait(), round(3000 * self.bit_ns), "ns")
        found = contents(bytes(self.line.received))
        self.line.received.clear()
        assert len(found) == 1, [one.hex() for one in found]
        return found[0]

    async def ask(self, *commands: bytes, before: int = 0) -> bytes:
        """Send a frame; what was read, of a reply that says all is done.

        ``before``: replies to frames of before that come first, and say the same.
        """
        await self.line.send(self.frame(*commands))
        while len(contents(bytes(self.line.received))) <= before:
            self.line.came.clear()
            await with_timeout(self.line.came.wait(), round(3000 * self.bit_ns), "ns")
        found = contents(bytes(self.line.received))
        assert [(one[0], one[-1]) for one in found[:-1]] == [
            ((self.tag - back) % 256, DONE) for back in range(before, 0, -1)
        ]
        self.line.received.clear()
        got = found[-1]
        assert (got[0], got[-1]) == (self.tag, DONE), got.hex()
        return got[1:-1]

    async def open(self, tag: int = 77) -> None:
        """Send the empty frame; what is on its way is thrown away."""
        self.tag = tag - 1
        await self.line.send(self.frame())
        while contents(bytes(self.line.received))[-1:] != [bytes((tag, DONE))]:
            self.line.came.clear()
            await with_timeout(self.line.came.wait(), round(3000 * self.bit_ns), "ns")
        self.line.received.clear()

    async def refusal(self, data: bytes) -> int:
        """Why something that is sent is refused."""
        await self.line.send(data)
        return (await self.reply())[-1]


async def begin(dut: Any, seed: int = 1, share: float = 1.0) -> tuple[Core, Host, random.Random]:
    """All out of reset, and the line open; a host's bit lasts so many of the design's."""
    rng = random.Random(seed)
    dut.rst.value = 1
    Clock(dut.clk, CLOCK_NS, unit="ns").start()
    dut.line_in.value = 1
    for _ in range(5):
        await RisingEdge(dut.clk)
    core, host = Core(dut, rng), Host(dut, share)
    dut.rst.value = 0
    await host.open()
    return core, host, rng


def words(values: list[int], count: int = 4) -> bytes:
    """Words as they go on the line."""
    return b"".join(value.to_bytes(count, "little") for value in values)


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
