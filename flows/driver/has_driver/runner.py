"""The core as it runs: images through it, started, stopped and found out of step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from . import codes as coding
from .codes import Codes
from .description import Description
from .errors import DriverError, InputError
from .link import Link
from .registers import ALL_ERRORS, CLASS_ONLY, ENABLE, RESTART, Registers

HALF_WRITTEN = "a schedule was not loaded to its end, ENABLE is 0 until one is"


class Runner:
    """One core behind its link.

    Parameters
    ----------
    link : the way to it.
    built : what runs on it; another where another schedule has been loaded.
    batch : images of one exchange, at most.
    timeout : seconds that any wait takes at most.
    clock : seconds, rising.

    Raises
    ------
    InputError
        The bitstream is of another build.
    """

    def __init__(
        self,
        link: Link,
        built: Description,
        batch: int,
        timeout: float,
        clock: Callable[[], float],
    ) -> None:
        self.link, self.built, self.batch, self.timeout = link, built, batch, timeout
        self.registers = Registers(link, built, clock)
        self.half_written = False  # a schedule was not loaded to its end
        self.watch: Sequence[tuple[str, int]] = ()  # registers by which the core checks its array
        self._unsettled = False  # an error has left something under way
        self._check_build()

    def _check_build(self) -> None:
        array, read = self.built.array, self.registers.read
        sizes = (array.pe & 255, array.simd & 255, array.weight_bits, array.act_bits)
        pairs = (
            ("VERSION", self.built.map_version, read("VERSION")),
            ("SHAPE", int.from_bytes(bytes(sizes), "little"), read("SHAPE")),
        )
        for name, wanted, got in pairs:
            if wanted != got:
                raise InputError(
                    f"the bitstream must be of the build in {self.built.folder}: {name} must be"
                    f" {wanted:#x}, not {got:#x}"
                )

    def run(self, codes: Codes, *, classes: bool) -> Codes:
        """Answers [n, 1] or [n, classes] of checked input codes: classes, or logits."""
        if self._unsettled:
            self.restart()
        values = 1 if classes else self.built.classes
        if not len(codes):
            return np.zeros((0, values), np.int64)
        self.check_ready()
        size = self.built.result_bits // 8
        control = ENABLE | (CLASS_ONLY if classes else 0)
        self.registers.write("CONTROL", control)
        answers = [np.zeros((0, values), np.int64)]
        for part in self.parts(codes):
            self.registers.write("PACKET", len(part))
            if self.built.batch > 1:
                self.registers.write("BATCH", min(len(part), self.built.batch))
            with self._settled():
                packed = coding.pack(part, self.built)
                got = self.link.exchange(packed, len(part) * values * size, self.wait)
                self.registers.check()
            answers.append(got.view(f"<i{size}").reshape(len(part), values).astype(np.int64))
        return np.concatenate(answers)

    def parts(self, codes: Codes) -> Iterator[Codes]:
        """Images of each exchange: whole batches of the core, or a last one that is not full."""
        size = self.built.batch
        most = self.batch // size * size or self.batch
        start = 0
        while start < len(codes):
            left = min(len(codes) - start, most)
            end = start + (left // size * size or left)
            yield codes[start:end]
            start = end

    def check_ready(self) -> None:
        """Refuse images where a schedule is half written or the core tells of an error."""
        if self.half_written:
            raise DriverError(f"no images are taken: {HALF_WRITTEN}")
        self.registers.check()

    @contextmanager
    def _settled(self) -> Iterator[None]:
        self._unsettled = True
        yield
        self._unsettled = False

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        """Wait for something, as long as any wait may take."""
        self.registers.wait(ready, what, self.timeout)

    def restart(self) -> None:
        """Forget the images under way and every error; the memories stay as they were written."""
        self.stop()
        if self.half_written:
            raise DriverError(f"the accelerator must not run: {HALF_WRITTEN}")
        self.enable()

    def enable(self) -> None:
        """Let images begin."""
        for name, value in self.watch:  # its check comes before the first
            self.registers.write(name, value)
        self.registers.write("CONTROL", ENABLE)
        self.registers.wait_idle(self.timeout)  # the core checks the row map, and may halt
        self._unsettled = False

    def stop(self) -> None:
        """Forget what is under way; ENABLE stays 0."""
        self._unsettled = True
        registers = self.registers
        registers.write("CONTROL", 0)
        self.link.abandon(self.wait)  # before RESTART, or the rest of an image is taken for one
        registers.write("STATUS", ALL_ERRORS)
        registers.write("CONTROL", RESTART)
        self.link.swallow()  # an answer that has begun is finished
        registers.wait_idle(self.timeout)
        self.link.abandon(self.wait)
        if registers.read("TEST"):
            registers.write("TEST", 0)
        if self.built.watches:
            registers.write("WATCH", 0)
