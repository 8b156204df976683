"""A PYNQ board around a simulated core: what the driver imports as ``pynq``, made of AXI masters.

The core's registers are reached by an AXI4-Lite master; two AXI DMAs in simple mode are modelled by
their registers (PG021), their streams are AXI stream sources and a sink. Buffers have a cached and
a physical side, so that a flush or an invalidate that is forgotten shows. Blocking code calls all
of this from a thread (``cocotb.task.bridge``); each access lets the simulation go on.
"""

from __future__ import annotations

import logging
import sys
import warnings
from abc import ABC, abstractmethod
from types import ModuleType
from typing import Any

import cocotb
import numpy as np
from cocotb.simtime import get_sim_time
from cocotb.task import resume
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)
from numpy.typing import NDArray

# cocotbext-axi calls what cocotb 2 has renamed
warnings.filterwarnings("ignore", category=DeprecationWarning, module="cocotbext")

CORE, DMA, WEIGHT_DMA = 0x4000_0000, 0x4040_0000, 0x4041_0000
SIZE = 0x1_0000
MEMORY = 0x1000_0000  # physical address of the first buffer
POLL = 20  # cycles that an access to a DMA's registers takes
DMACR, DMASR, ADDRESS, ADDRESS_HIGH, LENGTH = 0x00, 0x04, 0x18, 0x1C, 0x28
S2MM = 0x30
RUN, RESET, HALTED, IDLE, INTERNAL_ERROR = 1, 4, 1, 2, 0x10


class BusError(Exception):
    """A slave error, which would kill a program on the board."""


class Buffer(np.ndarray[Any, Any]):
    """What ``allocate`` gives: the processor's view of a piece of memory."""

    memory: Memory
    physical_address: int

    def flush(self) -> None:
        """Write the cache to memory."""
        content = np.asarray(self).reshape(-1).view(np.uint8)
        self.memory.put(self.physical_address, content)

    def invalidate(self) -> None:
        """Read the cache anew from memory."""
        content = self.memory.get(self.physical_address, self.nbytes)
        np.asarray(self).reshape(-1).view(np.uint8)[:] = content


class Memory:
    """Physical memory behind the DMAs."""

    def __init__(self) -> None:
        self._bytes = np.full(0, 0xA5, np.uint8)
        self.allocated = 0  # calls

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> Buffer:
        """A buffer of its own, of any contents."""
        self.allocated += 1
        found = np.full(shape, 0x5A, dtype).view(Buffer)
        size = -(-found.nbytes // 4096) * 4096
        found.memory, found.physical_address = self, MEMORY + len(self._bytes)
        self._bytes = np.append(self._bytes, np.full(size, 0xA5, np.uint8))
        return found

    def put(self, address: int, content: NDArray[np.uint8]) -> None:
        """Write bytes."""
        start = self._place(address, len(content))
        self._bytes[start : start + len(content)] = content

    def get(self, address: int, size: int) -> NDArray[np.uint8]:
        """Read bytes."""
        start = self._place(address, size)
        return self._bytes[start : start + size].copy()

    def _place(self, address: int, size: int) -> int:
        assert address >= MEMORY and address + size <= MEMORY + len(self._bytes), hex(address)
        return address - MEMORY


class Channel(ABC):
    """What the two directions of a DMA have in common: their registers."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.registers: dict[int, int] = {}
        self._moving: Any = None  # the packet under way
        self.stop()

    def stop(self) -> None:
        """As after a reset."""
        if self._moving is not None:
            self._moving.cancel()
            self._moving = None
        self.registers = {DMACR: 0, DMASR: HALTED, ADDRESS: 0, ADDRESS_HIGH: 0, LENGTH: 0}

    def write(self, register: int, value: int) -> None:
        """A register of the channel."""
        if register == DMACR:
            self.registers[DMACR] = value & RUN
            self.registers[DMASR] &= ~HALTED
            self.registers[DMASR] |= 0 if value & RUN else HALTED
        elif register == LENGTH:
            assert not self.registers[DMASR] & HALTED, "a DMA that is halted does not move"
            assert value, "a DMA moves at least a byte"
            self.registers[LENGTH] = value
            self.registers[DMASR] &= ~IDLE
            self.begin(self.registers[ADDRESS] | self.registers[ADDRESS_HIGH] << 32, value)
        else:
            self.registers[register] = value

    @abstractmethod
    def begin(self, address: int, size: int) -> None:
        """Move a packet."""


class ToStream(Channel):
    """Memory to stream."""

    def __init__(self, dut: Any, prefix: str, memory: Memory) -> None:
        bus = AxiStreamBus.from_prefix(dut, prefix)
        self.source = AxiStreamSource(bus, dut.clk, dut.rst, byte_lanes=1)
        self.taken = 0  # beats of the packet that halts
        self._bits = len(bus.tdata)
        self._beat = 1 << max(0, (-(-self._bits // 8) - 1).bit_length())
        super().__init__(memory)

    def stop(self) -> None:
        """As after a reset: the packet under way ends where it is."""
        self.source.pause = False
        self.source.clear()
        self.source.assert_reset()
        super().stop()

    def begin(self, address: int, size: int) -> None:
        """Show a packet on the stream."""
        assert address % self._beat == 0 and size % self._beat == 0, (hex(address), size)
        content = self.memory.get(address, size).reshape(-1, self._beat)
        words = [int.from_bytes(row.tobytes(), "little") for row in content]
        assert all(word >> self._bits == 0 for word in words), "bits beyond the stream's"
        self.source.send_nowait(AxiStreamFrame(words))
        self._moving = cocotb.start_soon(self._finish())

    def halt_after(self, beats: int) -> None:
        """For a test: the memory gives no more after so many beats, until a reset."""
        cocotb.start_soon(self._halt(beats))

    async def _halt(self, beats: int) -> None:
        bus = self.source.bus
        self.taken = 0
        while self.taken < beats:
            await RisingEdge(self.source.clock)
            self.taken += int(bus.tvalid.value) & int(bus.tready.value)
        self.source.pause = True  # one more may be shown already

    async def _finish(self) -> None:
        await self.source.wait()
        self.registers[DMASR] |= IDLE


class FromStream(Channel):
    """Stream to memory; the stream is stopped where no transfer waits for it."""

    def __init__(self, dut: Any, prefix: str, memory: Memory) -> None:
        bus = AxiStreamBus.from_prefix(dut, prefix)
        self.sink = AxiStreamSink(bus, dut.clk, dut.rst, byte_lanes=1)
        self._beat = len(bus.tdata) // 8
        self.stuck = False  # for a test: the memory takes nothing
        super().__init__(memory)

    def stop(self) -> None:
        """As after a reset: what has come of a packet is lost."""
        self.sink.pause = True
        self.sink.clear()
        self.sink.assert_reset()
        super().stop()

    def begin(self, address: int, size: int) -> None:
        """Wait for a packet."""
        self.sink.pause = self.stuck
        self._moving = cocotb.start_soon(self._finish(address, size))

    async def _finish(self, address: int, size: int) -> None:
        frame = await self.sink.recv()
        self.sink.pause = True
        content = b"".join(int(word).to_bytes(self._beat, "little") for word in frame.tdata)
        if len(content) > size:
            self.registers[DMASR] |= INTERNAL_ERROR | HALTED
            return
        self.memory.put(address, np.frombuffer(content, np.uint8))
        self.registers[LENGTH] = len(content)
        self.registers[DMASR] |= IDLE


class Board:
    """The core, its DMAs, and the module that stands for ``pynq``."""

    def __init__(self, dut: Any, *, weights: bool = False) -> None:
        for name in ("s_axil", "s_axis_image", "s_axis_weight", "m_axis_result"):
            logging.getLogger(f"cocotb.has_core.{name}").setLevel(logging.ERROR)  # not every beat
        self.dut = dut
        self.memory = Memory()
        self.lite = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        self.images = ToStream(dut, "s_axis_image", self.memory)
        self.results = FromStream(dut, "m_axis_result", self.memory)
        self.weights = ToStream(dut, "s_axis_weight", self.memory) if weights else None
        if not weights:
            dut.s_axis_weight_tvalid.value = 0
        self.overlays: list[tuple[str, bool]] = []  # opened; whether they were loaded
        self.accesses = 0  # to the core's registers
        self.answers: dict[int, int] = {}  # for a test: what a read gives, whatever is there
        self.writes = 0  # to the core's registers
        self.spoil: dict[int, int] = {}  # for a test: bits turned round in the next write
        self.broken = ""  # for a test: why no overlay can be opened
        self.blocks = {"has_core_0": CORE, "axi_dma_0": DMA}
        self._channels = {DMA: self.images, DMA + S2MM: self.results}
        if self.weights is not None:
            self._channels[WEIGHT_DMA] = self.weights
            self.blocks["axi_dma_1"] = WEIGHT_DMA

    def install(self) -> None:
        """Have ``import pynq`` find this board."""
        module: Any = ModuleType("pynq")
        module.MMIO = lambda base, length: Mmio(self, base, length)
        module.allocate = self.memory.allocate
        module.Overlay = lambda path, download: Overlay(self, path, download)
        sys.modules["pynq"] = module

    @staticmethod
    def uninstall() -> None:
        """Have it find nothing."""
        modules: dict[str, Any] = sys.modules
        modules["pynq"] = None

    async def reset(self, cycles: int = 3) -> None:
        """Hold reset."""
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, cycles)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)

    def seconds(self) -> float:
        """Simulated time: the driver's clock, so that its waits end at the same cycle each time."""
        return get_sim_time("ns") * 1e-9

    async def read(self, address: int) -> int:
        """A register of the core or of a DMA."""
        if address in self.answers:
            await ClockCycles(self.dut.clk, POLL)
            return self.answers[address]
        if CORE <= address < CORE + SIZE:
            self.accesses += 1
            got = await self.lite.read(address - CORE, 4)
            if got is None:
                raise BusError(f"the read of {address:#x} was withdrawn by a reset")
            self._check(address, got.resp)
            return int.from_bytes(got.data, "little")
        await ClockCycles(self.dut.clk, POLL)
        channel, register = self._channel(address)
        return channel.registers[register]

    async def write(self, address: int, value: int) -> None:
        """Write a register of the core or of a DMA."""
        if CORE <= address < CORE + SIZE:
            self.accesses += 1
            self.writes += 1
            value ^= self.spoil.pop(address, 0)
            got = await self.lite.write(address - CORE, value.to_bytes(4, "little"))
            if got is None:
                raise BusError(f"the write of {address:#x} was withdrawn by a reset")
            self._check(address, got.resp)
            return
        await ClockCycles(self.dut.clk, POLL)
        channel, register = self._channel(address)
        if register == DMACR and value & RESET:  # resets both channels of the DMA
            for one in (self.images, self.results) if channel is not self.weights else (channel,):
                one.stop()
            return
        channel.write(register, value)

    def _channel(self, address: int) -> tuple[Channel, int]:
        base = max(start for start in self._channels if start <= address)
        return self._channels[base], address - base

    @staticmethod
    def _check(address: int, response: AxiResp) -> None:
        if response != AxiResp.OKAY:
            raise BusError(f"the access to {address:#x} was answered with {response}")


class Mmio:
    """``pynq.MMIO``: as strict as that is about offsets and types."""

    def __init__(self, board: Board, base: int, length: int) -> None:
        self._base, self._length = base, length
        self._read, self._write = resume(board.read), resume(board.write)

    def _at(self, offset: int) -> int:
        if offset < 0 or offset % 4 or offset >= self._length:
            raise MemoryError(f"offset {offset} must be a word of the range")
        return self._base + offset

    def read(self, offset: int = 0) -> int:
        """Read 32 bits."""
        return self._read(self._at(offset))

    def write(self, offset: int, data: int) -> None:
        """Write 32 bits."""
        if type(data) is not int or data >> 32:
            raise ValueError("Data type must be int or bytes.")
        self._write(self._at(offset), data)


class Overlay:
    """``pynq.Overlay``: where the blocks are; loading it resets the core."""

    def __init__(self, board: Board, path: str, download: bool) -> None:
        if board.broken:
            raise RuntimeError(board.broken)  # what pynq's loader raises
        board.overlays.append((path, download))
        if download:
            resume(board.reset)()
        self.ip_dict = {
            name: {"phys_addr": place, "addr_range": SIZE} for name, place in board.blocks.items()
        }
