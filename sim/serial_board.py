"""A board on a serial line around a simulated core: what the driver imports as ``serial``.

``Serial`` is as pyserial has it, as far as the driver asks; each byte goes over the design's own
pins, bit by bit. Blocking code calls it from a thread (``cocotb.task.bridge``); a read lets the
simulation go on until a byte has come, or its time is over.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.task import resume
from cocotb.triggers import ClockCycles, Event, RisingEdge, SimTimeoutError, with_timeout
from uart_line import Line

PORT = "/dev/ttyUSB7"
CLOCK_NS = 20


class Board:
    """``has_uart_core`` under power, and the module that stands for ``serial``."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.deaf = False  # for a test: what the host sends is lost
        self.spoil = -1  # for a test: bytes till one is sent with a bit turned round
        self.gone = False  # for a test: the plug has been pulled

    async def begin(self) -> None:
        """Clock, reset, and a line at rest."""
        self.dut.line_in.value = 1
        Clock(self.dut.clk, CLOCK_NS, unit="ns").start()
        await self.reset()

    def install(self) -> None:
        """Have ``import serial`` find this board."""
        module: Any = ModuleType("serial")
        module.Serial = lambda port, baudrate, *, timeout, write_timeout: Serial(
            self, port, baudrate, timeout, write_timeout
        )
        sys.modules["serial"] = module

    @staticmethod
    def uninstall() -> None:
        """Have it find nothing."""
        modules: dict[str, Any] = sys.modules
        modules["serial"] = None

    async def reset(self, cycles: int = 3) -> None:
        """Hold reset."""
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, cycles)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)

    def seconds(self) -> float:
        """Simulated time: the driver's clock, so that its waits end at the same cycle each time."""
        return get_sim_time("ns") * 1e-9


class Serial:
    """``serial.Serial``."""

    def __init__(
        self, board: Board, port: str, baudrate: int, timeout: float, write_timeout: float
    ) -> None:
        if port != PORT:
            raise OSError(2, f"could not open port {port}")
        if baudrate <= 0:
            raise ValueError(f"Not a valid baudrate: {baudrate!r}")
        assert timeout > 0 and write_timeout > 0
        self._board, self._timeout = board, timeout
        self._queue = bytearray()
        self._filled = Event()
        self._read = resume(self._received)
        self._bit_ns = 1e9 / baudrate
        resume(self._connect)()

    async def _connect(self) -> None:
        dut = self._board.dut
        self._line = Line(dut.line_in, dut.line_out, self._bit_ns)
        cocotb.start_soon(self._transmit())

    async def _transmit(self) -> None:
        board = self._board
        while True:
            while self._queue:
                byte = self._queue.pop(0)
                board.spoil -= board.spoil >= 0
                if board.spoil == 0:
                    byte ^= 4
                if not board.deaf:
                    await self._line.send(bytes((byte,)))
            self._filled.clear()
            await self._filled.wait()

    def write(self, data: bytes) -> int:
        """Put bytes on the way."""
        assert isinstance(data, bytes)
        if self._board.gone:
            raise OSError(5, "write failed")
        self._queue += data
        self._filled.set()
        return len(data)

    @property
    def in_waiting(self) -> int:
        """Bytes that have come."""
        if self._board.gone:
            raise OSError(5, "device disconnected")
        return len(self._line.received)

    def read(self, size: int = 1) -> bytes:
        """As many bytes as are asked for, or those that have come when the time is over."""
        return self._read(size)

    async def _received(self, size: int) -> bytes:
        line = self._line
        end = get_sim_time("ns") + self._timeout * 1e9
        while len(line.received) < size and get_sim_time("ns") < end:
            line.came.clear()
            left = max(1, round(end - get_sim_time("ns")))
            try:
                await with_timeout(line.came.wait(), left, "ns")
            except SimTimeoutError:
                break
        found = bytes(line.received[:size])
        del line.received[:size]
        return found
