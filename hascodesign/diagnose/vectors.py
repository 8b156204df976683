"""The test vectors of an array: weights and activations whose sums tell its faults apart.

A vector is one pass over one column: T words of every weight bank, T activations of every
multiplier, and for answer the accumulator of every PE. All PEs are given the same words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hascodesign.common import records
from hascodesign.contract.array import generator
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, Dataflow, IntArray, frozen
from hascodesign.faults.profile import MAX_SEED, check_array, range_problem

OPEN_WORDS = 64  # words of a bank that are used where its depth is not given
MOST_SIMD = 64
MOST_ANSWERS = 1 << 26  # of all PEs in one run
ZEROS = 4  # vectors of one step that are 0 throughout: one at least is to meet clean words
RAMP = 4  # steps of the longest vector
#: Vectors that drive all multipliers, any words and codes: steps, unsigned, signed.
MIXED: Mapping[Dataflow, Sequence[tuple[int, int, int]]] = {
    "os": ((1, 67, 33), (2, 27, 13), (4, 27, 13)),
    "ws": ((1, 67, 33), (2, 14, 7), (4, 14, 7)),
}
LARGE = (276, 138)  # of one step that take the sums of `ws` far: unsigned, signed
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
    alone = {signed: len(_alone(test_set.array, signed)) for signed in (False, True)}
    return tuple(
        Group(
            signed=signed,
            words=np.concatenate([b.words for b, _ in held]),
            codes=np.concatenate([b.codes for b, _ in held]),
            first=np.concatenate([b.base + steps * np.arange(b.answers) for b, _ in held]),
            zeros=_zeros(steps, signed),
            alone=alone[signed] if steps == 1 else 0,
            answers=np.concatenate([start + np.arange(b.answers) for b, start in held]),
        )
        for (steps, signed), held in found.items()
    )


def _logic(array: ArraySpec, rng: np.random.Generator) -> Sequence[Block]:
    mixed = {steps: {False: plain, True: signed} for steps, plain, signed in MIXED[array.dataflow]}
    blocks: list[Block] = []
    for steps in range(1, RAMP + 1):
        for signed in (False, True):
            words, codes = [], []
            zeros = np.zeros((_zeros(steps, signed), steps, array.simd), dtype=np.int64)
            words.append(zeros)
            codes.append(zeros)
            if steps == 1:
                pairs = _each_lane(array, np.array(_alone(array, signed)))
                words.append(pairs[0])
                codes.append(pairs[1])
            if count := mixed.get(steps, {}).get(signed, 0):
                driven = _driven(array, count)
                words.append(driven * _any_words(array, rng, (count, steps, array.simd)))
                codes.append(driven * _any_codes(array, rng, (count, steps, array.simd), signed))
            if steps == 1 and array.dataflow == "ws":
                pairs = _large(array, rng, LARGE[signed], signed)
                words.append(pairs[0])
                codes.append(pairs[1])
            if sum(map(len, words)):
                blocks += _laid(array, np.concatenate(words), np.concatenate(codes), signed, blocks)
    return blocks


def _zeros(steps: int, signed: bool) -> int:
    """Vectors that are 0 throughout, at the start of their group."""
    return ZEROS if steps == 1 else int(not signed)


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


def _alone(array: ArraySpec, signed: bool) -> list[tuple[int, int]]:
    """Word and code of each vector that drives one multiplier alone."""
    low, high = -1 << (array.weight_bits - 1), (1 << (array.weight_bits - 1)) - 1
    bits = array.act_bits
    if signed:
        full = 1 << bits
        codes = {-1, -full >> 1, full // 3 * 2 - full if bits > 1 else -1}  # 1010..10
        words = {low, -1, min(1, high), high}
    else:
        codes = {0, (1 << bits) - 1, (1 << bits) // 3, ((1 << bits) - 1) // 3 * 2}
        codes |= {1 << bit for bit in range(bits)}
        words = {0, low, -1, high} | {1 << bit for bit in range(array.weight_bits - 1)}
    pairs = [(w, a) for w in sorted(words) for a in sorted(codes) if (w, a) != (0, 0)]
    if array.dataflow == "os":
        return pairs
    single = set() if signed else {1 << bit for bit in range(bits)}
    return [(w, a) for w, a in pairs if w and a and (w in {low, 1, high} or a not in single)]


def _each_lane(array: ArraySpec, pairs: IntArray) -> tuple[IntArray, IntArray]:
    """The pairs at each multiplier in turn, 0 at all others: [S*n, 1, S] words and codes."""
    words = np.zeros((array.simd, len(pairs), array.simd), dtype=np.int64)
    codes = np.zeros_like(words)
    lanes = np.arange(array.simd)
    words[lanes, :, lanes] = pairs[:, 0]
    codes[lanes, :, lanes] = pairs[:, 1]
    return words.reshape(-1, 1, array.simd), codes.reshape(-1, 1, array.simd)


def _any_words(array: ArraySpec, rng: np.random.Generator, shape: tuple[int, ...]) -> IntArray:
    half = 1 << (array.weight_bits - 1)
    return rng.integers(-half, half, shape)


def _any_codes(
    array: ArraySpec, rng: np.random.Generator, shape: tuple[int, ...], signed: bool
) -> IntArray:
    """Any codes in every other vector, powers of two in the rest."""
    codes = rng.integers(0, 1 << array.act_bits, shape)
    powers = 1 << rng.integers(0, array.act_bits, shape)
    codes[1::2] = powers[1::2]
    half = 1 << (array.act_bits - 1)
    return (codes ^ half) - half if signed else codes


def _driven(array: ArraySpec, count: int) -> IntArray:
    """[count, 1, S] 1 where a vector drives a multiplier together with others, else 0.

    In `os` that is all of them. In `ws` the second half of the vectors leaves the first ones of
    the chain at 0, as many as it comes to in turn: what the others do shows without those.
    """
    first = np.zeros(count, dtype=np.int64)
    if array.dataflow == "ws" and array.simd > 1:
        half = count // 2
        first[half:] = array.simd - 1 - np.arange(count - half) % (array.simd - 1)
    return np.asarray(np.arange(array.simd) >= first[:, None], dtype=np.int64)[:, None]


def _large(
    array: ArraySpec, rng: np.random.Generator, count: int, signed: bool
) -> tuple[IntArray, IntArray]:
    """[count, 1, S] words and codes that take the sums far up and down the chain.

    In turn: products near the greatest and the least one that change sign once, and such of any
    signs; and twice products by which every sum is on another side than the one before of 0 or of
    a power of two, where they reach it. The first multipliers are left at 0, as many as it comes
    to in turn.
    """
    reach = 1 << (array.weight_bits - 1 + array.act_bits - signed)
    rows = np.arange(count)
    kind, first = rows % 4, rows // 4 % array.simd
    turn, up = rng.integers(first, array.simd), rng.choice((-1, 1), count)
    powers = [side << (reach.bit_length() + more) for side in (-1, 1) for more in (-1, 0, 1, 2)]
    level = rng.choice((0, 0, *powers), count)
    sums, words, codes = np.zeros(count, dtype=np.int64), [], []
    for lane in range(array.simd):
        far = reach * rng.integers(8, 17, count) // 16
        near = level + up * (-1) ** lane * rng.integers(1, 1 + reach // 2, count) - sums
        wanted = np.choose(
            kind,
            [np.where(lane < turn, up, -up) * far, rng.choice((-1, 1), count) * far, near, near],
        )
        made = _product(array, rng, np.where(lane < first, 0, wanted), signed)
        words.append(made[0])
        codes.append(made[1])
        sums += made[0] * made[1]
    return np.stack(words, axis=-1)[:, None], np.stack(codes, axis=-1)[:, None]


def _product(
    array: ArraySpec, rng: np.random.Generator, wanted: IntArray, signed: bool
) -> tuple[IntArray, IntArray]:
    """Words [n] of the greatest size and codes [n] whose products are near ``wanted`` [n]."""
    negative = wanted < 0
    below = (rng.integers(0, 2, wanted.shape) > 0) & signed
    half, most = 1 << (array.weight_bits - 1), (1 << (array.act_bits - signed)) - 1
    words = np.where(negative ^ below, -half, half - 1)
    codes = (np.abs(wanted) // np.maximum(np.abs(words), 1)).clip(0, most + below)
    return np.where(wanted == 0, 0, words), np.where(below, -codes, codes)


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
        [np.zeros((1, 1, array.simd), dtype=np.int64), _each_lane(array, pairs)[1]]
    )


def _march(array: ArraySpec) -> Sequence[Block]:
    shape = (array.wmem_depth, 1, array.simd)
    codes = frozen(_march_codes(array))
    return [
        Block(False, 0, frozen(np.full(shape, value)), codes, False)
        for value in (0, -1)
        if array.wmem_depth
    ]
