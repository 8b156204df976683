"""The registers of has_core, by name, and who reads and writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from axil import Lite

from hascodesign.contract.registers import REGISTERS

OKAY, SLVERR = 0, 2
AT = {one.name: one.address for one in REGISTERS}
CONTROL, STATUS, CYCLES, IMAGES = (AT[name] for name in ("CONTROL", "STATUS", "CYCLES", "IMAGES"))
SHAPE, VERSION, STAGE_CYCLES = (AT[name] for name in ("SHAPE", "VERSION", "STAGE_CYCLES"))
SELECT, ADDRESS, COMMIT, VALUES = (AT[name] for name in ("SELECT", "ADDRESS", "COMMIT", "VALUE"))
FETCH, LANES, ILLEGAL = (AT[name] for name in ("FETCH", "LANES", "ILLEGAL"))
PACKET, IRQ_ENABLE, IRQ = (AT[name] for name in ("PACKET", "IRQ_ENABLE", "IRQ"))
BATCH = AT["BATCH"]
BUSY, HALTED = 1, 2
SHORT, LONG, WEIGHTS, ROW_MAP, BAD_ACCESS = (1 << bit for bit in range(8, 13))
ENABLE, CLASS_ONLY, RESTART, STRICT = 1, 2, 4, 8
PACKET_LEFT, ERROR_SET = 1, 2


class Registers:
    """The AXI4-Lite side, one access at a time; ``port`` takes several at once."""

    def __init__(self, dut: Any, edge: Callable[[], Any], pauses: int | None = None) -> None:
        self._edge = edge
        self.port = Lite(dut, "s_axil", pauses)

    async def settle(self) -> None:
        """Let time pass until all that was asked has been answered."""
        while not self.port.settled:
            await self._edge()

    async def write(self, address: int, value: int, strobe: int = 0xF) -> int:
        """Response of one write."""
        self.port.write(address, value, strobe)
        await self.settle()
        return self.port.b.taken[-1][0]

    async def read(self, address: int) -> tuple[int, int]:
        """(value, response) of one read."""
        self.port.read(address)
        await self.settle()
        value, response = self.port.r.taken[-1]
        return value, response

    async def value(self, address: int) -> int:
        """Value of a register that is there."""
        value, response = await self.read(address)
        assert response == OKAY, f"register {address:#x} must answer OKAY, not {response}"
        return value

    async def set(self, address: int, value: int) -> None:
        """Write that must be taken."""
        response = await self.write(address, value)
        assert response == OKAY, f"register {address:#x} must answer OKAY, not {response}"

    async def write_memory(
        self, memory: int, words: Iterable[int], width: int, at: int = 0
    ) -> None:
        """Words into one memory, from word ``at`` on."""
        await self.set(SELECT, memory)
        await self.set(ADDRESS, at)
        for word in words:
            for place in range(-(-width // 32)):
                await self.set(VALUES + 4 * place, (word >> (32 * place)) & 0xFFFFFFFF)
            await self.set(COMMIT, 0)

    async def read_memory(
        self, memory: int, count: int, width: int, at: int = 0, lane: int = 0
    ) -> list[int]:
        """Words of one memory, from word ``at`` on, of a lane's copy; nothing above their width."""
        await self.set(SELECT, memory)
        await self.set(ADDRESS, at)
        words = []
        for _ in range(count):
            await self.set(FETCH, lane)
            parts = [await self.value(VALUES + 4 * place) for place in range(-(-width // 32))]
            words.append(sum(part << (32 * place) for place, part in enumerate(parts)))
        return words
