"""The test vectors of an array: weights and activations whose sums tell its faults apart.

A vector is one pass over one column: T words of every weight bank, T activations of every
multiplier, and for answer the accumulator of every PE. All PEs are given the same words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from hascodesign.common import records
from hascodesign.contract.array import generator
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, IntArray, frozen
from hascodesign.diagnose import operands
from hascodesign.faults.profile import MAX_SEED, check_array, range_problem

OPEN_WORDS = 64  # words of a bank that are used where its depth is not given
MOST_SIMD = 64
MOST_ANSWERS = 1 << 26  # of all PEs in one run
RAMP = 4  # steps of the longest vector
LOGIC_PLAYS = 16  # with a part for transients: what most answers are is what the PE does
MEMORY_PLAYS = 4
EXPOSED = 16  # steps of a vector that exposes transients, of the same words and codes
WORD_SETTINGS, CODE_SETTINGS = 4, 8  # operands of those vectors, each with each
MOST_EXPOSED = 64  # passes of one block of them
LEAST_P = 1e-4


@dataclass(frozen=True, slots=True)
class Block:
    """Vectors that lie in the weight banks together: one dense layer of as many passes."""

    signed: bool  # how activations are read
    base: int  # first word in every bank; pass v takes words base + v*T on
    words: IntArray  # [V, T, S] weight codes of each pass
    codes: IntArray  # [C, T, S] activation codes of each column
    paired: bool  # pass v runs column v alone; else every pass runs every column

    @property
    def steps(self) -> int:
        """T of every pass."""
        return int(self.words.shape[1])

    @property
    def answers(self) -> int:
        """Accumulators that each PE gives: pass by pass, column by column."""
        return len(self.words) * (1 if self.paired else len(self.codes))


@dataclass(frozen=True, slots=True)
class TestSet:
    """All vectors of one array, in the order in which they are played."""

    __test__ = False  # no class of tests, whatever pytest makes of its name

    array: ArraySpec
    seed: int
    logic: tuple[Block, ...]
    memory: tuple[Block, ...]  # every word 0, then every word -1; none where the depth is open
    transients: float | None = None  # the least p that is to be known; None: no part for transients
    exposures: tuple[Block, ...] = ()  # vectors of that part, beside logic and memory again

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Everything, in order."""
        again = self.logic * (self.logic_plays - 1) + self.memory * (self.memory_plays - 1)
        return self.logic + self.memory + again + self.exposures

    @property
    def logic_plays(self) -> int:
        """Times that the logic's vectors are played in one run."""
        return 1 if self.transients is None else LOGIC_PLAYS

    @property
    def memory_plays(self) -> int:
        """Times that the memory's are."""
        return 1 if self.transients is None else MEMORY_PLAYS

    @property
    def uses(self) -> int:
        """Steps that the exposing vectors take in one run: uses of every wire of the logic."""
        return sum(block.answers * block.steps for block in self.exposures)

    def unseen(self, runs: int) -> float | None:
        """Below which p a transient fault may fire in no run, at 95 %; None: any p may."""
        return -math.log(0.05) / (runs * self.uses) if self.uses else None

    @property
    def memory_answers(self) -> int:
        """Accumulators that each PE gives to the memory's vectors, played once."""
        return sum(block.answers for block in self.memory)

    @property
    def answers(self) -> int:
        """Accumulators that each PE gives in one run."""
        return sum(block.answers for block in self.blocks)

    @property
    def march_shape(self) -> tuple[int, int, int]:
        """Words 0 and -1, addresses, columns of the memory's answers."""
        columns = len(self.memory[0].codes) if self.memory else 0
        return len(self.memory), self.array.wmem_depth, columns

    @property
    def logic_answers(self) -> int:
        """Those of them that the logic takes."""
        return sum(block.answers for block in self.logic)

    @property
    def digest(self) -> str:
        """sha256 of everything that is played."""
        parts = [(b.signed, b.base, b.words, b.codes, b.paired) for b in self.blocks]
        return records.digest(self.array, tuple(parts))


@dataclass(frozen=True, slots=True)
class Group:
    """The vectors of the logic that have one number of steps and one signedness."""

    signed: bool
    words: IntArray  # [V, T, S]
    codes: IntArray  # [V, T, S]
    first: IntArray  # [V] address of step 0
    zeros: int  # so many vectors at the start are 0 throughout
    alone: int  # vectors of each multiplier alone, multiplier by multiplier, after those
    answers: IntArray  # [V] places among a PE's answers

    @property
    def steps(self) -> int:
        """T."""
        return int(self.words.shape[1])

    def of_lane(self, lane: int) -> slice:
        """Places of the vectors that drive one multiplier alone."""
        start = self.zeros + lane * self.alone
        return slice(start, start + self.alone)


def vectors(array: ArraySpec, seed: int = 0, transients: float | None = None) -> TestSet:
    """Vectors that tell the permanent faults of an array apart, and on demand transient ones.

    Parameters
    ----------
    array : the array; with its ``wmem_depth`` the weight memory is tested, too.
    seed : draws the vectors that drive all multipliers together.
    transients : the least probability that is to be known to 10 % (one standard error), 0.0001 to
        0.5; None: vectors for permanent faults only.

    Raises
    ------
    ConfigError
        An array that is too large; such a probability, or one for dataflow `ws`.
    """
    check_array(array)
    problem = range_problem("seed", seed, 0, MAX_SEED)
    if problem is not None:
        raise ConfigError(problem)
    if array.dataflow != "os" and transients is not None:
        raise ConfigError(
            f"transients must be left out for dataflow {array.dataflow}: only in os are transient "
            "faults diagnosed"
        )
    if array.simd > MOST_SIMD:
        raise ConfigError(f"an array to diagnose has at most simd {MOST_SIMD}, not {array.simd}")
    if 0 < array.wmem_depth < RAMP:
        raise ConfigError(
            f"wmem_depth must be {RAMP} words or more, as the longest vector takes, or 0, not "
            f"{array.wmem_depth}"
        )
    memory_answers = 2 * array.wmem_depth * len(_march_codes(array))
    if array.pe * memory_answers > MOST_ANSWERS:
        raise ConfigError(
            f"the memory's answers must be at most {MOST_ANSWERS}, not {array.pe * memory_answers}"
            ": give a smaller --wmem-depth, or 0 to test the logic alone"
        )
    if transients is not None and not LEAST_P <= transients <= 0.5:  # NaN is not
        raise ConfigError(f"transients must be a probability {LEAST_P:g}..0.5, not {transients}")
    rng = generator(seed, "diagnose")
    found = TestSet(array, seed, tuple(_logic(array, rng)), tuple(_march(array)))
    if transients is not None:
        found = replace(found, transients=transients, exposures=_exposures(array, seed, transients))
    if array.pe * found.answers > MOST_ANSWERS:
        raise ConfigError(
            f"the answers must be at most {MOST_ANSWERS}, not {array.pe * found.answers}: the "
            "array is too large"
        )
    return found


def groups(test_set: TestSet) -> tuple[Group, ...]:
    """The logic's vectors by steps and signedness, however they lie in the banks."""
    found: dict[tuple[int, bool], list[tuple[Block, int]]] = {}
    at = 0
    for block in test_set.logic:
        found.setdefault((block.steps, block.signed), []).append((block, at))
        at += block.answers
    alone = {signed: len(operands.alone(test_set.array, signed)) for signed in (False, True)}
    return tuple(
        Group(
            signed=signed,
            words=np.concatenate([b.words for b, _ in held]),
            codes=np.concatenate([b.codes for b, _ in held]),
            first=np.concatenate([b.base + steps * np.arange(b.answers) for b, _ in held]),
            zeros=operands.zeros(steps, signed),
            alone=alone[signed] if steps == 1 else 0,
            answers=np.concatenate([start + np.arange(b.answers) for b, start in held]),
        )
        for (steps, signed), held in found.items()
    )


def _logic(array: ArraySpec, rng: np.random.Generator) -> Sequence[Block]:
    blocks: list[Block] = []
    for steps, signed in product(range(1, RAMP + 1), (False, True)):
        words, codes = operands.of_group(array, rng, steps, signed)
        if len(words):
            blocks += _laid(array, words, codes, signed, blocks)
    return blocks


def _laid(
    array: ArraySpec, words: IntArray, codes: IntArray, signed: bool, before: Sequence[Block]
) -> Sequence[Block]:
    """Vectors in blocks that fit the banks, from where the last block ends."""
    depth, steps = array.wmem_depth or OPEN_WORDS, words.shape[1]
    base = before[-1].base + len(before[-1].words) * before[-1].steps if before else 0
    blocks, at = [], 0
    while at < len(words):
        if base + steps > depth:
            base = 0
        count = min(len(words) - at, (depth - base) // steps)
        part = slice(at, at + count)
        blocks.append(Block(signed, base, frozen(words[part]), frozen(codes[part]), True))
        base, at = base + count * steps, at + count
    return blocks


def _exposures(array: ArraySpec, seed: int, p: float) -> tuple[Block, ...]:
    """Vectors of many steps with the same operands, none of them 0, so that all wires show.

    Pass v has word setting v mod ``WORD_SETTINGS``, column c code setting c mod ``CODE_SETTINGS``.
    There are enough for 100 expected inversions less the variance's share, 100 (1 - p) / p uses.
    """
    rng = generator(seed, "transients")
    depth = array.wmem_depth or OPEN_WORDS
    steps = min(EXPOSED, depth)
    passes = min(depth // steps, MOST_EXPOSED)
    blocks = -(-WORD_SETTINGS // passes)
    half, full = 1 << (array.weight_bits - 1), 1 << array.act_bits
    words = rng.integers(-half, half - 1, (WORD_SETTINGS, 1, array.simd))
    words += words >= 0  # none is 0
    codes = rng.integers(1, full, (CODE_SETTINGS, 1, array.simd))
    columns = math.ceil(100 * (1 - p) / (p * steps * passes * blocks))
    columns += -columns % CODE_SETTINGS
    laid = np.resize(np.arange(WORD_SETTINGS), blocks * passes).reshape(blocks, passes)
    fed = frozen(np.tile(codes.repeat(steps, axis=1), (columns // CODE_SETTINGS, 1, 1)))
    return tuple(
        Block(False, 0, frozen(words[chosen].repeat(steps, axis=1)), fed, False) for chosen in laid
    )


def _march_codes(array: ArraySpec) -> IntArray:
    """Columns [C, 1, S] of the memory test: 0, then each multiplier alone."""
    bits = array.act_bits
    values = sorted({1, 1 << (bits // 2), (1 << bits) - 1} & set(range(1 << bits)))
    pairs = np.array([(0, value) for value in values])
    return np.concatenate(
        [np.zeros((1, 1, array.simd), dtype=np.int64), operands.each_lane(array, pairs)[1]]
    )


def _march(array: ArraySpec) -> Sequence[Block]:
    shape = (array.wmem_depth, 1, array.simd)
    codes = frozen(_march_codes(array))
    return [
        Block(False, 0, frozen(np.full(shape, value)), codes, False)
        for value in (0, -1)
        if array.wmem_depth
    ]
