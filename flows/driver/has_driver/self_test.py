"""The self-test of the words in use: no memory is written, and every sum of every PE is compared.

``selftest.npz`` of a schedule's folder: `passes`, `bases` [stages], `codes` [C, T, S], signed;
`acc` [stages, PEs, passes, C], what the array of the schedule's profile gives; `varies` [PEs],
where a transient fault inverts some of that; and `known` [PEs], all others that were explained.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .description import Description
from .diagnosis import Acc, Block, Player, check_blocks
from .errors import UNREADABLE, DriverError, InputError
from .runner import HALF_WRITTEN, Runner

FILE = "selftest.npz"
POLYNOMIAL, WORD = 0x04C11DB7, 0xFFFF_FFFF  # of a signature


@dataclass(frozen=True)
class SelfTest:
    """Stages that take the words as they lie in the banks."""

    blocks: tuple[Block, ...]
    acc: Acc  # [stages, PEs, passes * C]
    known: NDArray[np.bool_]  # [PEs]
    varying: tuple[int, ...]  # PEs whose sums are not the same each time


@dataclass(frozen=True)
class Check:
    """What was compared, and which PEs are not as they were."""

    sums: int  # compared
    differing: tuple[tuple[int, int], ...]  # PE and how many of its sums differ
    unknown: tuple[int, ...]  # PEs of which nothing is predicted
    played: Acc  # [stages, PEs, passes * C]

    @property
    def good(self) -> bool:
        """Some sum was compared, and none differs."""
        return bool(self.sums) and not self.differing

    def __str__(self) -> str:
        wrong = sum(count for _, count in self.differing)
        found = [f"{self.sums} sums of the words in use compared, {wrong} differ"]
        found += [f"PE {pe}: {count} sums are not as they were" for pe, count in self.differing]
        if self.unknown:
            found.append(f"not compared: PE {', '.join(map(str, self.unknown))}")
        if self.differing:
            found.append("the array or a word has changed: verify tells of words, diagnose of PEs")
        return "\n".join(found)


def read(folder: Path, built: Description) -> SelfTest:
    """The self-test of a schedule's folder.

    Raises
    ------
    InputError
        There is none, as where every layer's weights are streamed, or it is not of this array.
    """
    path = folder / FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            passes, bases = int(file["passes"]), file["bases"].tolist()
            codes, acc = file["codes"].astype(np.int64), file["acc"].astype(np.int32)
            known, varies = (file[name].astype(np.bool_) for name in ("known", "varies"))
        pes = (built.array.pe,)
        if acc.shape != (len(bases), *pes, passes, len(codes)) or not acc.size:
            raise ValueError(f"acc is of shape {acc.shape}")
        if known.shape != pes or varies.shape != pes:
            raise ValueError("known and varies are not of the array's PEs")
        words = np.zeros((passes, *codes.shape[1:]), np.int64)  # how many: they are in the banks
        blocks = tuple(Block(True, False, int(base), words, codes) for base in bases)
        check_blocks(blocks, built)
    except UNREADABLE as error:
        raise InputError(
            f"{path} must hold a self-test, as the flow renders it: {error!r}"
        ) from None
    varying = tuple(np.flatnonzero(varies).tolist())
    return SelfTest(blocks, acc.reshape(len(bases), *pes, -1), known, varying)


def play(runner: Runner, test: SelfTest) -> Check:
    """Play it in the test mode, between images, and hold the sums to what they must be.

    Raises
    ------
    DriverError
        The build has no test mode, a schedule is half written, or a wait did not end.
    """
    if runner.half_written:
        raise DriverError(f"nothing is checked: {HALF_WRITTEN}")
    player = Player(runner)
    player.check(test.blocks)
    images = runner.registers.read("IMAGES")
    runner.stop()
    played = np.stack([player.play_block(block) for block in test.blocks])
    player.leave()
    runner.registers.write("IMAGES", images)  # of which transient faults ask
    runner.enable()
    return compare(test, played)


def watch(runner: Runner, test: SelfTest, images: int) -> Check:
    """Have the core check itself after every so many images, where the array is as it was.

    Raises
    ------
    DriverError
        A PE has a transient fault, or as for `play`.
    """
    if images and test.varying:
        named = ", ".join(map(str, test.varying))
        raise DriverError(f"a PE with a transient fault cannot be watched, as PE {named} has")
    runner.watch = ()
    found = play(runner, test)
    if images and found.good:
        runner.watch = orders(test, found, images)
        runner.restart()
        runner.registers.check()
    return found


def compare(test: SelfTest, played: Acc) -> Check:
    """Hold sums [stages, PEs, passes * C] of known PEs to what they must be."""
    counts = (test.acc != played).sum(axis=(0, 2))
    known = np.flatnonzero(test.known).tolist()
    return Check(
        sums=len(known) * test.acc.shape[0] * test.acc.shape[2],
        differing=tuple((pe, int(counts[pe])) for pe in known if counts[pe]),
        unknown=tuple(np.flatnonzero(~test.known).tolist()),
        played=played,
    )


def orders(test: SelfTest, found: Check, images: int) -> tuple[tuple[str, int], ...]:
    """Registers, and what is written to them, by which a core checks itself: the first stage.

    Held to what has just been played: that of PEs of which nothing was predicted, too.
    """
    block, pes = test.blocks[0], found.played.shape[1]
    passes, columns = len(block.words), len(block.codes)
    as_they_leave = found.played[0].reshape(pes, passes, columns).transpose(1, 2, 0)
    return (
        ("TEST_SHAPE", (block.steps - 1) | (passes - 1) << 16),
        ("TEST_BASE", block.base),
        ("EXPECTED", signature(as_they_leave.ravel().tolist())),
        ("WATCH", images),
    )


def signature(sums: Iterable[int]) -> int:
    """Signature of sums in the order in which they leave the array, as the core makes it."""
    found = 0
    for one in sums:
        found = found << 1 ^ (POLYNOMIAL if found >> 31 else 0) ^ one
        found &= WORD
    return found
