"""The serial link on pyserial itself, over a pseudo-terminal with the protocol's other side."""

from __future__ import annotations

import importlib
import os
import select
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hascodesign.common.shipped import share
from hascodesign.contract.array import identity_schedule
from hascodesign.contract.types import FaultProfile
from hascodesign.render.driver import describe
from tests import driver_cases

sys.path.insert(0, str(share("sim")))
uart_line: Any = importlib.import_module("uart_line")
sys.path.pop(0)


class Board:
    """Registers behind frames; what is left out is silence."""

    def __init__(self) -> None:
        self.registers: dict[int, int] = {}
        self.frames = 0
        self.silent = False
        self.spoil: Callable[[bytes], bytes] | None = None  # what becomes of the next reply
        self.host, board = os.openpty()
        tty.setraw(board)
        self.port = os.ttyname(board)
        self._board, self._over = board, False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over = True
        self._thread.join()
        os.close(self.host)
        os.close(self._board)

    def _run(self) -> None:
        received = b""
        while not self._over:
            if not select.select([self.host], [], [], 0.01)[0]:
                continue
            received += os.read(self.host, 4096)
            end = received.rfind(b"\xc0") + 1
            for content in uart_line.contents(b"\xc0" + received[:end]):
                self.frames += 1
                if not self.silent:
                    reply, spoil = uart_line.framed(self._done(content)), self.spoil
                    self.spoil = None
                    os.write(self.host, spoil(reply) if spoil else reply)
            received = received[end:]

    def _done(self, content: bytes) -> bytes:
        tag, place, read = content[:1], 1, b""
        while place < len(content):
            low, high, count = content[place : place + 3]
            at, place = low | (high & 15) << 8, place + 3
            for address in range(at, at + 4 * (count + 1), 4):
                if high >> 4 == uart_line.WRITE:
                    self.registers[address] = int.from_bytes(content[place : place + 4], "little")
                    place += 4
                else:
                    read += self.registers.get(address, 0).to_bytes(4, "little")
        return tag + read + b"\0"


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board()
    yield made
    made.close()


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The driver's modules by name."""
    pytest.importorskip("serial", reason="pyserial is not installed")
    monkeypatch.syspath_prepend(str(share("flows", "driver")))
    for name in [name for name in sys.modules if name.partition(".")[0] == "has_driver"]:
        monkeypatch.delitem(sys.modules, name)
    return lambda name: importlib.import_module(f"has_driver.{name}")


def built(driver: Any, baud: int | None) -> Any:
    case = driver_cases.tiny()
    schedule = identity_schedule(case.network, case.schedule.array)
    profile = FaultProfile(case.schedule.array)
    found = describe(case.network, schedule, profile, case.on_chip, 50.0, baud)
    return driver("description")._description(found, Path("here"))


def test_many_accesses_take_few_frames(driver: Any, board: Board) -> None:
    link = driver("serial_link").SerialLink(board.port, built(driver, 2_000_000))
    assert board.frames == 1 and link._line.baudrate == 2_000_000
    values = [(7919 * place * place) & 0xFFFF_FFFF for place in range(600)]
    writes = [(4 * place, value) for place, value in enumerate(values)]
    reads = [(4 * place, None) for place in range(600)]
    assert link.transact([*writes, *reads]) == values
    assert board.registers == dict(writes)
    assert 1 + 2400 // 500 < board.frames < 12
    scattered = [(8 * place, None) for place in range(300)]
    assert link.transact(scattered) == values[::2]
    link.write(0x20, 0xC0DB)
    assert link.read(0x20) == 0xC0DB


def test_a_board_that_does_not_answer_is_told(driver: Any, board: Board) -> None:
    errors, serial_link = driver("errors"), driver("serial_link")
    link = serial_link.SerialLink(board.port, built(driver, 2_000_000), timeout=0.2)
    board.silent = True
    with pytest.raises(errors.WaitError, match=f"the board on {board.port} must answer within"):
        link.read(0)
    board.silent = False
    assert link.read(0) == 0  # it is opened anew
    board.silent = True
    frames = board.frames
    with pytest.raises(errors.WaitError, match="is its bitstream loaded"):
        serial_link.SerialLink(board.port, built(driver, None), 115_200, timeout=0.1)
    assert board.frames == frames + serial_link.TRIES


VALUE = 0x01C0_DB00


WRONG = 13  # of the replies below: whole frames that say something else


def replies(whole: bytes) -> Iterator[bytes]:
    """A reply that is another, then broken in every way at every place."""
    (content,) = uart_line.contents(whole)
    tag, data, status = content[:1], content[1:-1], content[-1:]
    yield uart_line.framed(bytes((tag[0] ^ 1,)) + data + status)
    for other in (b"", tag, tag + status, tag + data[:-1] + status, tag + data + b"\0" + status):
        yield uart_line.framed(other)
    for why in (1, 2, 3, 4, 5, 6, 9):
        yield uart_line.framed(tag + data + bytes((why,)))
    for place in range(len(whole)):
        before, here, rest = whole[:place], whole[place : place + 1], whole[place + 1 :]
        yield before + rest
        yield before + here + here + rest
        yield before + b"\0" + here + rest
        for bit in range(8):
            yield before + bytes((here[0] ^ 1 << bit,)) + rest


def test_a_reply_that_is_broken_anywhere_is_never_taken(driver: Any, board: Board) -> None:
    """An error, or the register: never another value; and the next access is right."""
    errors, serial_link = driver("errors"), driver("serial_link")
    link = serial_link.SerialLink(board.port, built(driver, 2_000_000), timeout=0.03)
    board.registers[0x10] = VALUE
    failed = tried = 0
    whole = uart_line.framed(bytes(1) + VALUE.to_bytes(4, "little") + bytes(1))
    for number in range(len(list(replies(whole)))):

        def spoil(reply: bytes, number: int = number) -> bytes:
            ways = list(replies(reply))  # a byte of its CRC may be escaped
            return ways[number % len(ways)]

        tried += 1
        board.spoil = spoil
        try:
            assert link.read(0x10) == VALUE, number
            assert number >= WRONG, number
        except errors.DriverError:
            failed += 1
        board.spoil = None
        assert link.read(0x10) == VALUE, number
    assert tried > 100 and failed > 0.8 * tried, (tried, failed)


def test_what_is_no_port_is_refused(driver: Any, tmp_path: Path) -> None:
    errors, serial_link = driver("errors"), driver("serial_link")
    for port in (str(tmp_path / "none"), str(tmp_path)):
        with pytest.raises(errors.InputError, match="must be a serial port that opens"):
            serial_link.SerialLink(port, built(driver, 2_000_000))
    with pytest.raises(errors.InputError, match="must be of a build with a serial line"):
        serial_link.SerialLink("/dev/ttyUSB0", built(driver, None))
