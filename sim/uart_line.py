"""A serial line in simulation, 8N1, bit by bit; and the frames of docs/serial.md, made and read."""

from __future__ import annotations

import binascii
from typing import Any

import cocotb
from cocotb.triggers import Event, FallingEdge, Timer

END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD
DONE, MALFORMED, BUS, BROKEN, OVERRUN, SEQUENCE, LENGTH = range(7)
WRITE, READ, IMAGE, WEIGHT, RESULT, DROP = range(1, 7)


class Line:
    """The host's end of a line."""

    def __init__(self, to_design: Any, from_design: Any, bit_ns: float) -> None:
        self._to, self._from, self._bit_ns = to_design, from_design, bit_ns
        self.received = bytearray()
        self.came = Event()  # a byte has come
        to_design.value = 1
        cocotb.start_soon(self._receive())

    async def send(self, data: bytes, stop: int = 1) -> None:
        """Put bytes on the line; ``stop`` 0 breaks them."""
        for byte in data:
            for bit in (0, *(byte >> place & 1 for place in range(8)), stop):
                self._to.value = bit
                await Timer(self._bit_ns, unit="ns", round_mode="round")
            self._to.value = 1
            if not stop:
                await Timer(self._bit_ns, unit="ns", round_mode="round")

    async def _receive(self) -> None:
        while True:
            if int(self._from.value):
                await FallingEdge(self._from)
            byte = 0
            await Timer(1.5 * self._bit_ns, unit="ns", round_mode="round")
            for place in range(8):
                byte |= int(self._from.value) << place
                await Timer(self._bit_ns, unit="ns", round_mode="round")
            assert int(self._from.value), "a byte from the design must have a stop bit"
            self.received.append(byte)
            self.came.set()


def crc(content: bytes) -> int:
    """Of a frame's contents, as it is sent: every bit turned round."""
    return binascii.crc_hqx(content, 0xFFFF) ^ 0xFFFF


def framed(content: bytes) -> bytes:
    """The frame of some bytes."""
    whole = content + crc(content).to_bytes(2, "big")
    escapes = {END: bytes((ESC, ESC_END)), ESC: bytes((ESC, ESC_ESC))}
    body = b"".join(escapes.get(byte, bytes((byte,))) for byte in whole)
    return bytes((END,)) + body + bytes((END,))


def contents(received: bytes) -> list[bytes]:
    """What the whole frames among some bytes hold; what is broken is left out."""
    found = []
    for part in received.split(bytes((END,)))[1:-1]:
        body = part.replace(bytes((ESC, ESC_END)), bytes((END,)))
        body = body.replace(bytes((ESC, ESC_ESC)), bytes((ESC,)))
        if len(body) > 2 and crc(body[:-2]) == int.from_bytes(body[-2:], "big"):
            found.append(body[:-2])
    return found


def command(kind: int, at: int, count: int, content: bytes = b"") -> bytes:
    """One command; ``at`` an address, or 1 where tlast stands at the last beat."""
    return bytes((at & 0xFF, kind << 4 | at >> 8, count - 1)) + content
