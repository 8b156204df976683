"""One PE against the arithmetic of the array, wire by wire, with masks of the bench."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

ROUNDS = 60
SITES = ("weight", "act", "product", "psum")


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the PE under test."""

    simd: int
    weight_bits: int
    act_bits: int
    acc_bits: int
    pipeline: int

    @staticmethod
    def of(dut: Any) -> Shape:
        """Read from the module's parameters."""
        return Shape(
            simd=int(dut.SIMD.value),
            weight_bits=int(dut.WEIGHT_BITS.value),
            act_bits=int(dut.ACT_BITS.value),
            acc_bits=int(dut.ACC_BITS.value),
            pipeline=int(dut.PIPELINE.value),
        )

    def bits(self, site: str) -> int:
        """Bits of one word of a site."""
        product = self.weight_bits + self.act_bits + 1
        return dict(
            zip(SITES, (self.weight_bits, self.act_bits, product, self.acc_bits), strict=True)
        )[site]

    def words(self, site: str) -> int:
        """Words of a site."""
        return 1 if site == "psum" else self.simd


Masks = dict[tuple[str, int], tuple[int, int, int]]  # (site, multiplier) -> and, or, xor
Flips = dict[tuple[str, int], int]  # xor masks of one step


def read(word: int, bits: int, signed: bool) -> int:
    """Low bits of a word, as two's complement or unsigned."""
    word &= (1 << bits) - 1
    return word - (1 << bits) if signed and word >> (bits - 1) else word


class Model:
    """acc after each step, from the definition."""

    def __init__(self, shape: Shape, masks: Masks, act_signed: bool) -> None:
        self._shape, self._masks, self._act_signed = shape, masks, act_signed
        self._acc = 0

    def step(self, weights: list[int], acts: list[int], flips: Flips, first: bool) -> int:
        """One step's accumulator."""

        def met(site: str, place: int, value: int, signed: bool = True) -> int:
            and_, or_, _ = self._masks[site, place]
            faulty = ((value & and_) | or_) ^ flips[site, place]
            return read(faulty, self._shape.bits(site), signed)

        total = 0 if first else self._acc
        for s, (weight, act) in enumerate(zip(weights, acts, strict=True)):
            w, a = met("weight", s, weight), met("act", s, act, self._act_signed)
            total += met("product", s, w * a)
        self._acc = met("psum", 0, total)
        return self._acc


def join(words: list[int], bits: int) -> int:
    """Words side by side, the first lowest."""
    return sum((word & ((1 << bits) - 1)) << (place * bits) for place, word in enumerate(words))


def draw_masks(rng: random.Random, shape: Shape, faults: int) -> Masks:
    """Neutral masks with some bits stuck or inverted, or all products dead."""
    masks: dict[tuple[str, int], list[int]] = {
        (site, place): [(1 << shape.bits(site)) - 1, 0, 0]
        for site in SITES
        for place in range(shape.words(site))
    }
    for _ in range(faults):
        key = rng.choice(list(masks))
        bit = 1 << rng.randrange(shape.bits(key[0]))
        kind = rng.randrange(3)
        masks[key][kind] ^= bit
    if faults > 6:
        for place in range(shape.simd):
            masks["product", place] = [0, 0, 0]
    return {key: (a, o, x) for key, (a, o, x) in masks.items()}


def dense_masks(rng: random.Random, shape: Shape, share: float) -> Masks:
    """That share of all bits stuck at 0, stuck at 1, and inverted; of the sum's a few alone."""

    def bits(count: int, share: float) -> int:
        return sum((rng.random() < share) << bit for bit in range(count))

    return {
        (site, place): (~bits(n, p) & ((1 << n) - 1), bits(n, p), bits(n, p))
        for site in SITES
        for n, p in ((shape.bits(site), share / 8 if site == "psum" else share),)
        for place in range(shape.words(site))
    }


def single_masks(shape: Shape, kind: int, bit: int) -> Masks:
    """Neutral but for one bit of the sum, stuck at 0 (kind 0) or at 1 (kind 1)."""
    masks = draw_masks(random.Random(0), shape, 0)
    and_, or_, xor = masks["psum", 0]
    masks["psum", 0] = (and_ ^ 1 << bit, or_, xor) if kind == 0 else (and_, or_ | 1 << bit, xor)
    return masks


class Harness:
    """Drives operands, follows them through the pipeline, and compares."""

    def __init__(self, dut: Any, rng: random.Random) -> None:
        self.dut, self.rng, self.shape = dut, rng, Shape.of(dut)
        self.edge = RisingEdge(dut.clk)

    def drive_masks(self, masks: Masks) -> None:
        """Put masks on the ports."""
        for i, name in enumerate(("and", "or", "xor")):
            self.drive(name, {key: mask[i] for key, mask in masks.items()})

    def drive(self, name: str, masks: Flips) -> None:
        """Put one kind of masks on the ports."""
        for site in SITES:
            words = [masks[site, place] for place in range(self.shape.words(site))]
            getattr(self.dut, f"{site}_{name}").value = join(words, self.shape.bits(site))

    def drive_operands(self, weights: list[int], acts: list[int]) -> None:
        """Put operands on the ports."""
        self.dut.weight.value = join(weights, self.shape.weight_bits)
        self.dut.act.value = join(acts, self.shape.act_bits)

    def any_flips(self) -> Flips:
        """Random xor masks."""
        shape, rng = self.shape, self.rng
        places = [(site, place) for site in SITES for place in range(shape.words(site))]
        return {(site, place): rng.getrandbits(shape.bits(site)) for site, place in places}

    async def round(
        self, masks: Masks, act_signed: bool, draw: Callable[[int], int], changing: bool
    ) -> None:
        """Steps back to back and with gaps, several columns, enable falling now and then.

        With ``changing`` every step has xor masks of its own.
        """
        dut, shape, rng = self.dut, self.shape, self.rng
        self.drive_masks(masks)
        flips = {key: mask[2] for key, mask in masks.items()}
        dut.act_signed.value = int(act_signed)
        model, pending = Model(shape, masks, act_signed), [(False, False)] * (shape.pipeline + 1)
        expected: list[int] = []
        for step in range(24 + shape.pipeline + 1):
            live = step < 24 and rng.random() < 0.85
            first = not expected or rng.random() < 0.2
            weights = [draw(shape.weight_bits) for _ in range(shape.simd)]
            acts = [draw(shape.act_bits) for _ in range(shape.simd)]
            if changing:
                flips = self.any_flips()
            if live:
                expected.append(model.step(weights, acts, flips, first))
            pending = [(live, first), *pending[:-1]]
            self.drive("xor", flips)
            self.drive_operands(weights, acts)
            dut.accumulate.value = int(pending[shape.pipeline][0])
            dut.first.value = int(pending[shape.pipeline][1])
            dut.enable.value = 1
            await self.edge
            if pending[shape.pipeline][0]:
                await self.held(expected[len(expected) - 1 - self.behind(pending)])
        assert not self.behind(pending)

    def behind(self, pending: list[tuple[bool, bool]]) -> int:
        """Live steps that have entered after the one now accumulated."""
        return sum(live for live, _ in pending[: self.shape.pipeline])

    async def held(self, expected: int) -> None:
        """The accumulator after this edge; it must stand still while enable is low."""
        self.dut.enable.value = 0
        junk = [self.rng.getrandbits(8) for _ in range(self.shape.simd)]
        self.drive_operands(junk, junk[::-1])
        self.drive("xor", self.any_flips())
        for _ in range(1 + (self.rng.random() < 0.2)):
            await self.edge
            got = self.dut.acc.value.to_signed()
            assert got == expected, f"acc must be {expected}, not {got}"


@cocotb.test()
async def steps(dut: Any) -> None:
    """Random and extreme operands under random masks, both signednesses."""
    rng = random.Random(1)
    harness = Harness(dut, rng)
    Clock(dut.clk, 10, unit="ns").start()
    await harness.edge
    for number in range(ROUNDS):
        masks = draw_masks(rng, harness.shape, number % 8)
        if number % 5 in (2, 4):
            masks = dense_masks(rng, harness.shape, rng.choice((0.1, 0.3)))
        extreme = number % 4 == 3

        def draw(bits: int, extreme: bool = extreme) -> int:
            ends = (0, (1 << bits) - 1, 1 << (bits - 1), (1 << (bits - 1)) - 1)
            return rng.choice(ends) if extreme else rng.randrange(1 << bits)

        await harness.round(masks, bool(number & 8), draw, number % 5 > 2)
    for kind, bit in itertools.product((0, 1), range(harness.shape.acc_bits)):
        await harness.round(single_masks(harness.shape, kind, bit), bool(bit & 1), draw, False)
