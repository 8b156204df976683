"""The core's registers by name, and what their bits say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .description import Description
from .errors import DriverError, WaitError
from .link import Link

ENABLE, CLASS_ONLY, RESTART, STRICT = 1, 2, 4, 8  # CONTROL
BUSY, HALTED = 1, 2  # STATUS
ERRORS = {
    1 << 8: "image too short",
    1 << 9: "image too long",
    1 << 10: "weight stream of wrong length",
    1 << 11: "row map that is not one",
    1 << 12: "illegal access",
    1 << 13: "array that has changed",
}
ROW_MAP, ILLEGAL = 1 << 11, 1 << 12
ALL_ERRORS = sum(ERRORS)
SHOWN = ("CONTROL", "STATUS", "IMAGES", "CYCLES")  # in the message of a wait that did not end


@dataclass(frozen=True)
class Status:
    """What the registers say at one time."""

    enabled: bool  # images may begin
    busy: bool
    halted: bool
    errors: tuple[str, ...]  # noted since they were last cleared
    images: int  # answered
    cycles: int  # of the last image

    def __str__(self) -> str:
        words = [word for word in ("enabled", "busy", "halted") if getattr(self, word)]
        words += [*self.errors, f"{self.images} images answered", f"last in {self.cycles} cycles"]
        return ", ".join(words)


class Registers:
    """Reads and writes registers by name, and waits for them."""

    def __init__(self, link: Link, built: Description, clock: Callable[[], float]) -> None:
        self._link, self._at, self._clock = link, built.registers, clock

    def read(self, name: str, place: int = 0) -> int:
        """Contents of a register; of a row, of the one at ``place``."""
        return self._link.read(self._at[name] + 4 * place)

    def write(self, name: str, value: int, place: int = 0) -> None:
        """Write a register of 32 bits."""
        self._link.write(self._at[name] + 4 * place, value)

    def transact(self, accesses: Iterable[tuple[str, int, int | None]]) -> list[int]:
        """Many accesses in their order: name, place in a row, value or None to read; what was read.

        A line with a long way there and back takes them in one.
        """
        at = self._at
        return self._link.transact([(at[name] + 4 * i, value) for name, i, value in accesses])

    def status(self) -> Status:
        """STATUS and what belongs to it."""
        control, status = self.read("CONTROL"), self.read("STATUS")
        return Status(
            enabled=bool(control & ENABLE),
            busy=bool(status & BUSY),
            halted=bool(status & HALTED),
            errors=tuple(words for bit, words in ERRORS.items() if status & bit),
            images=self.read("IMAGES"),
            cycles=self.read("CYCLES"),
        )

    def words(self) -> str:
        """The registers and the link for a message, on one line."""
        shown = [f"{name} {self.read(name):#x}" for name in SHOWN]
        if self.read("STATUS") & ILLEGAL:
            shown.append(f"ILLEGAL {self.read('ILLEGAL'):#x}")
        return f"{', '.join(shown)} ({self.status()}); {self._link.words()}"

    def wait(self, ready: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait until ``ready`` says so.

        Raises
        ------
        WaitError
            It did not within so many seconds of the clock; the registers are in the message.
        """
        end = self._clock() + seconds
        while not ready():
            if self._clock() >= end:
                if ready():  # the clock may have run on while this program did not
                    return
                raise WaitError(f"{what} must end within {seconds:g} s: {self.words()}")

    def wait_idle(self, seconds: float) -> None:
        """Wait until nothing is under way, or the core has halted."""

        def idle() -> bool:
            status = self.read("STATUS")
            return not status & BUSY or bool(status & HALTED)

        self.wait(idle, "what is under way", seconds)

    def check(self) -> None:
        """Refuse errors that the core has noted.

        Raises
        ------
        DriverError
            It has, or it has halted.
        """
        if self.read("STATUS") & (ALL_ERRORS | HALTED):
            raise DriverError(f"the accelerator must be without an error: {self.words()}")
