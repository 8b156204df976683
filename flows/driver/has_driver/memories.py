"""The memories through the registers: words written, words read back and compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .contents import Contents, Words
from .description import Description
from .errors import DriverError
from .places import differing, place, wmem_place
from .registers import ILLEGAL, Registers

WEIGHTS = 0  # number of the memory
TOGETHER = 64  # words that are written or read in one


@dataclass(frozen=True)
class Difference:
    """One bit that is not as it was written."""

    place: str
    wanted: int
    lane: int  # copy of the memory, one for each lane; 0 of weights and preloads

    def __str__(self) -> str:
        copy = f" in the copy of lane {self.lane}" if self.lane else ""
        return f"{self.place}{copy} must be {self.wanted}, not {1 - self.wanted}"


class Memories:
    """The memories of one core. It must be stopped: ENABLE 0 and not busy."""

    def __init__(self, registers: Registers, built: Description) -> None:
        self._registers, self._built = registers, built
        self.lanes = registers.read("LANES")
        self._broken = {tuple(one) for one in built.wmem_faults}

    def write(self, contents: Contents, held: Contents | None = None) -> int:
        """Write the words that are not those that the memories hold.

        Parameters
        ----------
        contents : what they must hold.
        held : what they hold; every word is written where None.

        Returns
        -------
        Words written.

        Raises
        ------
        DriverError
            The core has refused a word.
        """
        count = 0
        for number, words in enumerate(contents.words):
            before = () if held is None else held.words[number]
            for start, run in _changed(before, words):
                self.write_words(number, run, start)
                count += len(run)
        return count

    def write_words(self, number: int, words: Words, start: int = 0) -> None:
        """Write words of one memory, from an address on."""
        registers, memory = self._registers, self._built.memories[number]
        held: list[int | None] = [None] * -(-memory.width // 32)
        accesses = _at(number, start)
        for first in range(0, len(words), TOGETHER):
            for word in words[first : first + TOGETHER]:
                for part, before in enumerate(held):
                    value = word >> (32 * part) & 0xFFFF_FFFF
                    if value != before:  # else it stands there from the word before
                        accesses.append(("VALUE", part, value))
                        held[part] = value
                accesses.append(("COMMIT", 0, 0))
            registers.transact(accesses)
            accesses = []
        self._check(f"the words of {memory.name}", "written")

    def differences(self, contents: Contents) -> Iterator[Difference]:
        """Read every word of every copy back; the bits that are not as they were written.

        Bits of weights that are faulty by the profile are passed over.
        """
        for number, words in enumerate(contents.words):
            for lane in range(self._copies(number)):
                yield from self._compare(contents, number, words, lane)

    def bits(self, contents: Contents) -> int:
        """Bits that ``differences`` reads."""
        return sum(
            len(words) * memory.width * self._copies(number)
            for number, (words, memory) in enumerate(
                zip(contents.words, self._built.memories, strict=True)
            )
        )

    def _copies(self, number: int) -> int:
        whole = self._built.memories[number].content in ("weights", "preload")
        return 1 if whole else self.lanes

    def _compare(
        self, contents: Contents, number: int, words: Words, lane: int
    ) -> Iterator[Difference]:
        registers, memory = self._registers, self._built.memories[number]
        parts = range(-(-memory.width // 32))
        one = [("FETCH", 0, lane), *(("VALUE", part, None) for part in parts)]
        for first in range(0, len(words), TOGETHER):
            some = words[first : first + TOGETHER]
            begin = [] if first else _at(number, 0)
            read = iter(registers.transact(begin + one * len(some)))
            for address, wanted in enumerate(some, start=first):
                got = sum(next(read) << (32 * part) for part in parts)
                for bit in differing(wanted, got):
                    if memory.content == "weights" and self._known(address, bit):
                        continue
                    where = place(self._built, contents, number, address, bit)
                    yield Difference(where, wanted >> bit & 1, lane)
        self._check(f"the words of {memory.name}", "read back")

    def _known(self, address: int, bit: int) -> bool:
        return wmem_place(self._built, address, bit) in self._broken

    def _check(self, what: str, done: str) -> None:
        registers = self._registers
        if registers.read("STATUS") & ILLEGAL:
            raise DriverError(
                f"{what} must be {done}, and the core has refused an access: {registers.words()}"
            )


def _at(number: int, address: int) -> list[tuple[str, int, int | None]]:
    """Accesses by which the next word written or read is that of a memory."""
    return [("SELECT", 0, number), ("ADDRESS", 0, address)]


def _changed(before: Words, words: Words) -> Iterator[tuple[int, Words]]:
    """Runs of words that are not as before, each with its first address."""
    same = [old == new for old, new in zip(before, words, strict=False)]
    same += [False] * (len(words) - len(same))
    start = 0
    for stop in [at for at, one in enumerate(same) if one] + [len(words)]:
        if start < stop:
            yield start, words[start:stop]
        start = stop + 1
