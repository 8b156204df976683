"""The link over a serial line: register accesses, images and answers as frames (docs/serial.md).

A frame is a tag and commands; it has one reply: the tag, what was read, and how it went. The empty
frame, a tag alone, has the board forget all that is under way.
"""

from __future__ import annotations

import binascii
import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from . import codes
from .description import Description
from .errors import DriverError, InputError, MissingError, WaitError
from .link import Access, Bytes, Wait

END, ESC = b"\xc0", b"\xdb"
ESC_END, ESC_ESC = b"\xdb\xdc", b"\xdb\xdd"
WRITE, READ, IMAGE, WEIGHT, RESULT, DROP = range(1, 7)  # commands
LAST = 1  # tlast stands at the last beat
DONE = 0
FAILED = {
    1: "a command that is none, or not whole",
    2: "an error of the bus",
    3: "a frame that was not whole",
    4: "more bytes than the board has room for",
    5: "a frame out of turn",
    6: "an answer of another length than was asked for",
}
FRAME = 500  # bytes of a frame's commands, at most
ROOM = 2000  # bytes that may be on their way, at most; the board keeps 2047
MOST = 256  # words or beats of a command
TRIES = 3  # to open the line
EMPTY = 24  # bytes of the empty frame and its reply, were each escaped
POLL = 0.01  # seconds that a read of the port takes, at most


class _Frame:
    """What one frame asks for."""

    def __init__(self, what: str) -> None:
        self.commands = bytearray()
        self.answer = 0  # bytes that its reply brings
        self.what = what  # it is about


class SerialLink:
    """One board on one port.

    Parameters
    ----------
    port : name of the serial port, ``/dev/ttyUSB0`` or the like.
    built : the build that the board holds.
    baud : bits a second; those of the build where None.
    timeout : seconds that an access to a register takes at most, beyond its way on the line.
    batch : images of one exchange, at most.
    clock : seconds, rising.

    Raises
    ------
    InputError
        The port does not open.
    MissingError
        Pyserial is not there.
    """

    def __init__(
        self,
        port: str,
        built: Description,
        baud: int | None = None,
        *,
        timeout: float = 1.0,
        batch: int = 64,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        chosen = built.baud if baud is None else baud
        if chosen is None:
            raise InputError(
                f"{built.folder} must be of a build with a serial line, as that of ulx3s-85f, or a"
                " baud be given"
            )
        serial = _pyserial()
        self.port, self.baud = port, chosen
        self._timeout, self._batch, self._clock = timeout, batch, clock
        try:
            self._line = serial.Serial(port, chosen, timeout=POLL, write_timeout=timeout)
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise InputError(f"{port} must be a serial port that opens: {error}") from None
        self._image = codes.beat_bytes(built.array.simd * built.array.act_bits)
        array = built.array
        self._weight = codes.beat_bytes(array.pe * array.simd * array.weight_bits)
        self._result = built.result_bits // 8
        self._classes = built.classes
        self._of_batch = built.batch
        self._passes: list[Bytes] = []
        self._tag = 0
        self._under_way: list[tuple[int, _Frame]] = []  # sent and not answered
        self._received = bytearray()
        self._open()

    # ---------------------------------------------------------------------------- registers

    def read(self, address: int) -> int:
        """A register of the core."""
        return self.transact([(address, None)])[0]

    def write(self, address: int, value: int) -> None:
        """Write a register of the core."""
        self.transact([(address, int(value))])

    def transact(self, accesses: Sequence[Access]) -> list[int]:
        """Many accesses in their order; what was read."""
        frames = [_Frame("register accesses")]
        for kind, address, values in _rows(accesses):
            content = b"".join(value.to_bytes(4, "little") for value in values)
            read = 4 * len(values) if kind == READ else 0
            payload = content if kind == WRITE else b""
            if len(frames[-1].commands) + 3 + len(payload) > FRAME:
                frames.append(_Frame("register accesses"))
            frames[-1].commands += _command(kind, address, len(values), payload)
            frames[-1].answer += read
        got = self._play(frames, self._own_wait)
        return [int(word) for word in np.frombuffer(got, "<u4")]

    # ------------------------------------------------------------------------------- images

    @property
    def most_images(self) -> int:
        """Images of one exchange, at most."""
        return self._batch

    @property
    def most_answer(self) -> int:
        """Bytes of an answer, at most."""
        return self._batch * MOST * self._result

    def stream(self, passes: Sequence[Bytes]) -> None:
        """Keep the packets of streamed weights."""
        self._passes = list(passes)

    def exchange(self, images: Bytes, answer: int, wait: Wait, *, weights: bool = True) -> Bytes:
        """Send images, each batch with the streamed weights; the bytes of one answer packet."""
        count = len(images)
        each, left = divmod(answer, count * self._result)
        if left:
            raise DriverError(f"an answer to {count} images cannot be {answer} bytes")
        frames: list[_Frame] = []
        size = self._of_batch if weights else 1
        for start in range(0, count, size):
            batch = range(start, min(start + size, count))
            what = f"answering image {batch[-1] + 1} of {count}"
            commands: list[bytes] = []
            for place in batch:
                commands += _packet(IMAGE, images[place], self._image)
            for packet in self._passes if weights else ():
                commands += _packet(WEIGHT, packet, self._weight)
            for place in batch:
                commands += _beats(RESULT, each, last=place == count - 1)
            for command in commands:
                if not frames or len(frames[-1].commands) + len(command) > FRAME:
                    frames.append(_Frame(what))
                frames[-1].commands += command
                frames[-1].what = what
                if command[1] >> 4 == RESULT:
                    frames[-1].answer += (command[2] + 1) * self._result
        return np.frombuffer(self._play(frames, wait), np.uint8)

    def abandon(self, wait: Wait) -> None:
        """Have the board forget what is under way."""
        del wait  # a board that answers does so at once
        self._open()

    def swallow(self) -> None:
        """Have the board take what answers may still come, and throw them away."""
        frame = _Frame("throwing answers away")
        frame.commands += _command(DROP, 0, 1)
        self._play([frame], self._own_wait)

    def words(self) -> str:
        """Its state for a message, on one line."""
        return f"serial line {self.port} at {self.baud} baud"

    # ------------------------------------------------------------------------------- frames

    def _open(self) -> None:
        """Send the empty frame until its reply comes; all before it is thrown away."""
        self._under_way.clear()
        for _ in range(TRIES):
            self._send(b"")
            tag = self._tag
            end = self._clock() + self._timeout / TRIES + 10 * EMPTY / self.baud
            while self._clock() < end:
                for reply in self._replies():
                    if reply == bytes((tag, DONE)):
                        return
        raise self._silence()

    def _silence(self) -> WaitError:
        return WaitError(
            f"the board on {self.port} must answer within {self._timeout:g} s at {self.baud} baud:"
            " is its bitstream loaded, and is this its port?"
        )

    def _play(self, frames: Sequence[_Frame], wait: Wait) -> bytes:
        """Send frames, as many at a time as there is room for; what their replies bring."""
        if self._under_way:  # of an exchange that was left
            self._open()
        found, to_send = bytearray(), list(frames)

        def some() -> bool:
            """Whether a reply has come since it was last asked."""
            before = len(found), len(self._under_way)
            for reply in self._replies():
                found.extend(self._answer(reply))
            return before != (len(found), len(self._under_way))

        while to_send or self._under_way:
            while to_send and self._room(to_send[0]):
                frame = to_send.pop(0)
                self._send(bytes(frame.commands))
                self._under_way.append((self._tag, frame))
            wait(some, self._under_way[0][1].what)
        return bytes(found)

    def _room(self, frame: _Frame) -> bool:
        taken = sum(len(one.commands) + 1 for _, one in self._under_way)
        return not taken or taken + len(frame.commands) + 1 <= ROOM

    def _answer(self, reply: bytes) -> bytes:
        """What the reply to the frame that waits longest brings."""
        status = reply[-1]
        if status != DONE:
            self._open()
            raise DriverError(
                f"the board must do what it is told, and found"
                f" {FAILED.get(status, f'an error {status}')}; {self.words()}"
            )
        tag, frame = self._under_way[0] if self._under_way else (-1, _Frame(""))
        if reply[0] != tag or len(reply) != frame.answer + 2:
            self._open()
            raise DriverError(f"the board must answer each frame in turn; {self.words()}")
        self._under_way.pop(0)
        return reply[1:-1]

    def _own_wait(self, ready: Callable[[], bool], what: str) -> None:
        del what  # a board that answers at all does all this at once
        frame = self._under_way[0][1]
        both = 2 * (len(frame.commands) + frame.answer) + 16  # bytes, were each escaped
        end = self._clock() + self._timeout + 10 * both / self.baud
        while not ready():
            if self._clock() >= end:
                raise self._silence()

    # --------------------------------------------------------------------------------- line

    def _send(self, commands: bytes) -> None:
        self._tag = (self._tag + 1) & 0xFF
        content = bytes((self._tag,)) + commands
        whole = content + _crc(content)
        try:
            self._line.write(END + whole.replace(ESC, ESC_ESC).replace(END, ESC_END) + END)
        except OSError as error:  # and SerialTimeoutException
            raise DriverError(f"{self.port} must take what is sent: {error}") from None

    def _replies(self) -> Iterator[bytes]:
        """Whole replies that have come; what is broken is left out."""
        try:
            self._received += self._line.read(max(1, self._line.in_waiting))
        except OSError as error:
            raise DriverError(f"{self.port} must give what has come: {error}") from None
        *parts, rest = bytes(self._received).split(END)
        self._received[:] = rest
        for part in parts:
            content = part.replace(ESC_END, END).replace(ESC_ESC, ESC)
            if len(content) > 3 and content[-2:] == _crc(content[:-2]):
                yield content[:-2]


def _crc(content: bytes) -> bytes:
    """Its bits turned round: else a zero more behind it would not be seen."""
    return (binascii.crc_hqx(content, 0xFFFF) ^ 0xFFFF).to_bytes(2, "big")


def _command(kind: int, at: int, count: int, content: bytes = b"") -> bytes:
    return bytes((at & 0xFF, kind << 4 | at >> 8, count - 1)) + content


def _rows(accesses: Sequence[Access]) -> Iterator[tuple[int, int, list[int]]]:
    """Neighbours put together: command, first address, values (of a read 0s)."""
    row: list[int] = []
    kind = start = 0
    for address, value in accesses:
        wanted = READ if value is None else WRITE
        if row and (wanted, address) == (kind, start + 4 * len(row)) and len(row) < FRAME // 5:
            row.append(value or 0)
            continue
        if row:
            yield kind, start, row
        kind, start, row = wanted, address, [value or 0]
    if row:
        yield kind, start, row


def _packet(kind: int, content: Bytes, beat: int) -> Iterator[bytes]:
    """The commands of a stream's packet, tlast at its end."""
    most = max(1, min(MOST, (FRAME - 3) // beat))
    step = most * beat
    for start in range(0, len(content), step):
        part = content[start : start + step].tobytes()
        last = LAST if start + step >= len(content) else 0
        yield _command(kind, last, len(part) // beat, part)


def _beats(kind: int, count: int, *, last: bool) -> Iterator[bytes]:
    for start in range(0, count, MOST):
        ends = LAST if last and start + MOST >= count else 0
        yield _command(kind, ends, min(MOST, count - start))


def _pyserial() -> Any:
    try:
        return importlib.import_module("serial")
    except ImportError:
        raise MissingError(
            "a board on a serial line needs pyserial: pip install pyserial"
        ) from None
