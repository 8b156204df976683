"""The surroundings of has_uart_bridge: the core that it drives, and the host on the line."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, with_timeout
from module_bench import size
from uart_line import DONE, Line, contents, framed

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
