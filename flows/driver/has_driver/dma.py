"""One channel of an AXI DMA in simple mode, by its registers (PG021).

The waits are the caller's, so that each has an end.
"""

from __future__ import annotations

from typing import Any

from .errors import DriverError
from .link import Wait

SEND, RECEIVE = 0x00, 0x30  # first register of the channel to, and from, the stream
CONTROL, STATUS, ADDRESS, ADDRESS_HIGH, LENGTH = 0x00, 0x04, 0x18, 0x1C, 0x28
RUN, RESET = 1, 4  # CONTROL
HALTED, IDLE, FAILED = 1, 2, 0x70  # STATUS; FAILED: internal, slave or decode error


class DmaChannel:
    """Moves packets between memory and one stream."""

    def __init__(self, mmio: Any, channel: int, name: str) -> None:
        self._mmio, self._channel, self.name = mmio, channel, name

    def _read(self, register: int) -> int:
        return int(self._mmio.read(self._channel + register))

    def _write(self, register: int, value: int) -> None:
        self._mmio.write(self._channel + register, value)

    def reset(self, wait: Wait) -> None:
        """Forget what is under way: resets the other channel of the same DMA, too."""
        self._write(CONTROL, RESET)
        wait(lambda: not self._read(CONTROL) & RESET, f"the reset of the {self.name} DMA")

    def start(self, wait: Wait) -> None:
        """Let it run, after a reset."""
        self._write(CONTROL, RUN)
        wait(lambda: not self._read(STATUS) & HALTED, f"the start of the {self.name} DMA")

    def begin(self, address: int, size: int) -> None:
        """Move ``size`` bytes to or from a physical address; the last send of one ends a packet."""
        self._write(ADDRESS, address & 0xFFFF_FFFF)
        self._write(ADDRESS_HIGH, address >> 32)
        self._write(LENGTH, size)

    def done(self) -> bool:
        """Whether the packet has gone, or come.

        Raises
        ------
        DriverError
            The DMA has failed.
        """
        status = self._read(STATUS)
        if status & FAILED:
            raise DriverError(f"the {self.name} DMA must not fail: its DMASR is {status:#x}")
        return bool(status & IDLE)

    def moved(self) -> int:
        """Bytes of the packet that has come."""
        return self._read(LENGTH)

    def words(self) -> str:
        """Its state for a message."""
        return f"{self.name} DMASR {self._read(STATUS):#x}"
