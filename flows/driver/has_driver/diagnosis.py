"""Test vectors of `hascodesign diagnose vectors`, played on the array in its place.

The core's test mode runs one dense layer of given steps and passes on the words that lie in the
weight banks, and answers with the accumulator of every PE. What it answers is what `hascodesign
diagnose infer` makes the chip's fault profile of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import codes as coding
from .contents import Words
from .description import Description
from .errors import UNREADABLE, DriverError, InputError
from .memories import WEIGHTS, Memories
from .registers import ENABLE
from .runner import Runner

TESTS, VECTORS = "tests.json", "vectors.npz"
VERSION = 1  # of tests.json
TEST, SIGNED, ADVANCE = 1, 2, 4  # of the register TEST
Acc = NDArray[np.int32]


@dataclass(frozen=True)
class Block:
    """Vectors that lie in the weight banks together."""

    signed: bool
    paired: bool  # pass v runs column v alone; else every pass every column
    base: int  # first word in every bank
    words: NDArray[np.int64]  # [V, T, S], the same for every PE
    codes: NDArray[np.int64]  # [C, T, S]

    @property
    def steps(self) -> int:
        """T of every pass."""
        return int(self.words.shape[1])

    @property
    def end(self) -> int:
        """The word after its last."""
        return self.base + len(self.words) * self.steps

    @property
    def answers(self) -> int:
        """Accumulators that each PE gives."""
        return len(self.words) * (1 if self.paired else len(self.codes))

    def parts(self, passes: int) -> Iterator[Block]:
        """Itself, cut where it has more passes than run in one go."""
        if self.paired or len(self.words) <= passes:
            yield self
            return
        for start in range(0, len(self.words), passes):
            words = self.words[start : start + passes]
            yield replace(self, words=words, base=self.base + start * self.steps)


@dataclass(frozen=True)
class Tests:
    """What a folder of `diagnose vectors` holds."""

    blocks: tuple[Block, ...]
    digest: NDArray[np.uint8]  # the answers carry it


@dataclass(frozen=True)
class Answers:
    """What the array answered."""

    acc: Acc  # [runs, PEs, answers]
    digest: NDArray[np.uint8]

    def save(self, path: Path) -> None:
        """Write the .npz file that `hascodesign diagnose infer` reads."""
        if path.suffix != ".npz":
            raise InputError(f"answers must go to an .npz file, not {path.name}")
        try:
            np.savez_compressed(path, acc=self.acc, digest=self.digest)
        except OSError as error:
            raise DriverError(f"{path} must be written: {error.strerror}") from None


class NotRestored(DriverError):
    """The vectors were played, and the schedule's words do not read back."""

    def __init__(self, words: str, answers: Answers) -> None:
        super().__init__(words)
        self.answers = answers


def read(folder: Path, built: Description) -> Tests:
    """The vectors of a folder, which must be of the build's array.

    Raises
    ------
    InputError
        They are of another, or not whole.
    """
    try:
        document = json.loads((folder / TESTS).read_text("utf-8"))
        if document["version"] != VERSION:
            raise InputError(f"{folder / TESTS} must be of version {VERSION}")
        _check_array(folder, document["array"], built)
        with np.load(folder / VECTORS, allow_pickle=False) as file:
            blocks = tuple(
                Block(
                    signed=bool(one["signed"]),
                    paired=bool(one["paired"]),
                    base=int(one["base"]),
                    words=file[f"words_{number}"].astype(np.int64),
                    codes=file[f"codes_{number}"].astype(np.int64),
                )
                for number, one in enumerate(document["blocks"])
            )
            digest = file["digest"]
        check_blocks(blocks, built)
        return Tests(blocks, digest)
    except UNREADABLE as error:
        raise InputError(
            f"{folder} must hold what `hascodesign diagnose vectors` writes: {error!r}"
        ) from None


def _check_array(folder: Path, array: dict[str, Any], built: Description) -> None:
    for name in ("pe", "simd", "weight_bits", "act_bits", "acc_bits", "dataflow"):
        mine = getattr(built.array, name)
        if array[name] != mine:
            raise InputError(
                f"{folder}: the vectors must be of the build's array, {name} {mine}, not"
                f" {array[name]}"
            )


def check_blocks(blocks: tuple[Block, ...], built: Description) -> None:
    """Raise ValueError where the array cannot play them as they stand."""
    array = built.array
    if not blocks:
        raise ValueError("there are no vectors")
    for number, block in enumerate(blocks):
        words, codes = block.words, block.codes
        shapes = words.ndim == codes.ndim == 3 and words.shape[1:] == codes.shape[1:]
        if not shapes or words.shape[2] != array.simd or not words.size or not codes.size:
            raise ValueError(f"block {number} is of shapes {words.shape} and {codes.shape}")
        if block.base < 0 or (block.paired and len(words) != len(codes)):
            raise ValueError(f"block {number} has no column for each pass, or no place")
        low = -(1 << (array.act_bits - 1)) if block.signed else 0
        half = 1 << (array.weight_bits - 1)
        for values, least, bits in (
            (words, -half, array.weight_bits),
            (codes, low, array.act_bits),
        ):
            if not least <= values.min() <= values.max() < least + (1 << bits):
                raise ValueError(f"block {number} has a value of more than {bits} bits")


class Player:
    """Plays vectors on a core; the memories of ``spoilt`` do not hold the schedule's words then."""

    def __init__(self, runner: Runner) -> None:
        self._link, self._registers, self._built = runner.link, runner.registers, runner.built
        self._wait, self._timeout = runner.wait, runner.timeout
        self._memories = Memories(self._registers, self._built)
        limits = self._registers.read("TEST_LIMITS")
        self._most_steps, self._most_passes = limits & 0xFFFF, limits >> 16
        self._words = self._registers.read("TEST_WORDS")
        if not self._most_steps:
            raise DriverError("the build must have a test mode, and TEST_LIMITS is 0")

    def check(self, blocks: Sequence[Block]) -> None:
        """Refuse vectors that the build has no room for."""
        words = max(block.end for block in blocks)
        steps = max(block.steps for block in blocks)
        if words > self._words:
            raise InputError(
                f"the vectors must fit the {self._words} words of each weight bank, not take"
                f" {words}: write them with --wmem-depth {self._words}"
            )
        if steps > self._most_steps:
            raise InputError(f"a vector must have at most {self._most_steps} steps, not {steps}")

    @property
    def spoilt(self) -> tuple[int, ...]:
        """Numbers of the memories that the vectors take: weights, and preloads where there are."""
        preloads = [n for n, one in enumerate(self._built.memories) if one.content == "preload"]
        return (WEIGHTS, *preloads)

    def play(self, tests: Tests) -> Acc:
        """Answers [PEs, answers] of one run."""
        answers = []
        self._stop()
        for number in self.spoilt[1:]:  # accumulators start from the first words of it
            self._memories.write_words(number, (0,) * self._built.memories[number].depth)
        for block in tests.blocks:
            self._stop()
            self._memories.write_words(WEIGHTS, self._bank(block), block.base)
            answers += [self.play_block(part) for part in block.parts(self._most_passes)]
        return np.concatenate(answers, axis=1)

    def leave(self) -> None:
        """Leave the test mode; ENABLE stays 0."""
        self._stop()
        self._registers.write("TEST", 0)

    def _stop(self) -> None:
        self._registers.write("CONTROL", 0)
        self._registers.wait_idle(self._timeout)

    def _bank(self, block: Block) -> Words:
        """Words of memory 0: the same for every PE."""
        array = self._built.array
        width = array.simd * array.weight_bits
        everywhere = sum(1 << (width * pe) for pe in range(array.pe))
        mask = (1 << array.weight_bits) - 1
        flat = block.words.reshape(-1, array.simd).tolist()
        return tuple(
            everywhere
            * sum((word & mask) << (array.weight_bits * s) for s, word in enumerate(words))
            for words in flat
        )

    def play_block(self, block: Block) -> Acc:
        """Answers [PEs, answers] of one block, whose words lie in the banks."""
        array, passes = self._built.array, 1 if block.paired else len(block.words)
        mode = TEST | SIGNED * block.signed | ADVANCE * block.paired
        self._stop()
        self._registers.write("TEST", mode)
        self._registers.write("TEST_SHAPE", (block.steps - 1) | (passes - 1) << 16)
        self._registers.write("TEST_BASE", block.base)
        self._registers.write("CONTROL", ENABLE)
        self._registers.check()
        size = self._built.result_bits // 8
        each = passes * array.pe * size
        packed = coding.pack_steps(block.codes, self._built)
        most = min(self._link.most_images, self._link.most_answer // each)
        if not most:
            raise InputError(f"an answer of {each} bytes must fit a batch; give a larger batch")
        got = []
        for start in range(0, len(packed), most):
            part = packed[start : start + most]
            self._registers.write("PACKET", len(part))
            answer = self._link.exchange(part, len(part) * each, self._wait, weights=False)
            got.append(answer.view(f"<i{size}").reshape(len(part), passes, array.pe))
        self._registers.check()
        columns = np.concatenate(got)  # [C, passes, PEs]
        return columns.transpose(2, 1, 0).reshape(array.pe, -1).astype(np.int32)
