"""What a PE with given faults answers; apart from the engine, which plays the chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hascodesign.contract.array import SiteMasks, site_masks
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, IntArray, Site
from hascodesign.diagnose.vectors import Block


class PeModel:
    """One PE with permanent faults.

    Parameters
    ----------
    array : the array it stands in.
    faults : its entries; the PE that they name does not matter.
    before : what the PEs before it have made of the activations, dataflow `ws`: ``handed_on`` of
        the last one; None for the first PE.
    """

    def __init__(
        self, array: ArraySpec, faults: Sequence[Fault], before: SiteMasks | None = None
    ) -> None:
        own = tuple(replace(fault, pe=0) for fault in faults)
        profile = FaultProfile(replace(array, pe=1), own)
        self.weight = _masks(profile, "weight")
        self.act = _masks(profile, "act")
        self.act = _after(before or _healthy(self.act), self.act)
        self.product = _masks(profile, "product")
        self.psum = _masks(profile, "psum")
        self.acc = _masks(profile, "acc") if array.dataflow == "ws" else None
        self.bits = array.weight_bits
        self.wmem = tuple(fault for fault in own if fault.site == "wmem")

    def accumulate(
        self, words: IntArray, codes: IntArray, signed: bool, first: IntArray | None = None
    ) -> IntArray:
        """ACC of words [..., T, S] and codes [..., T, S], which broadcast.

        ``first`` [...] is the address of step 0 of each pass; None = the memory is healthy.
        """
        if first is not None and self.wmem:
            words = self._stored(words, first)
        products = self.products(words, codes, signed)
        sums = products.sum(axis=-1) if self.acc is None else self._chained(products)
        register = self.psum if self.acc is None else self.acc
        acc = np.zeros(sums.shape[:-1], dtype=np.int64)
        for step in range(sums.shape[-1]):
            acc = register.apply(acc + sums[..., step])
        return acc

    @property
    def handed_on(self) -> SiteMasks | None:
        """What the next PE meets as activations; None in `os`, where they come from outside."""
        return None if self.acc is None else self.act

    def _chained(self, products: IntArray) -> IntArray:
        """Sums [..., T] of products [..., T, S], from one multiplier to the next."""
        total = np.zeros(products.shape[:-1], dtype=np.int64)
        for lane in range(products.shape[-1]):
            total = at_lane(self.psum, lane).apply(total + products[..., lane])
        return total

    def products(self, words: IntArray, codes: IntArray, signed: bool) -> IntArray:
        """Products of words and codes [..., S], which broadcast; the memory is healthy."""
        return self.product.apply(self.weight.apply(words) * self.act.apply(codes, signed))

    def answers(self, blocks: Sequence[Block]) -> IntArray:
        """Every answer to the blocks, in their order."""
        return np.concatenate([np.zeros(0, np.int64), *map(self._block, blocks)])

    def _block(self, block: Block) -> IntArray:
        first = block.base + block.steps * np.arange(len(block.words))
        words, codes = block.words, block.codes
        if not block.paired:
            words, codes, first = words[:, None], codes[None], first[:, None]
        return self.accumulate(words, codes, block.signed, first).ravel()

    def _stored(self, words: IntArray, first: IntArray) -> IntArray:
        words = words.copy()
        address = first[..., None] + np.arange(words.shape[-2])
        for fault in self.wmem:
            met = address == fault.address
            if not met.any() or fault.bit is None:
                continue
            wire, lane = 1 << fault.bit, words[..., fault.simd]
            changed = lane ^ wire
            if fault.kind != "flip":
                changed = lane & ~wire if fault.kind == "sa0" else lane | wire
            sign = 1 << (self.bits - 1)
            changed = ((changed & (2 * sign - 1)) ^ sign) - sign
            words[..., fault.simd] = np.where(met, changed, lane)
        return words


def at_lane(masks: SiteMasks, lane: int) -> SiteMasks:
    """The masks [S] of a site at one multiplier."""
    return SiteMasks(masks.bits, masks.and_[lane], masks.or_[lane], masks.xor[lane])


def _healthy(like: SiteMasks) -> SiteMasks:
    """Masks that change nothing."""
    none = np.zeros_like(like.xor)
    return SiteMasks(like.bits, none | (1 << like.bits) - 1, none, none)


def _after(first: SiteMasks, then: SiteMasks) -> SiteMasks:
    """The masks of wires that pass one site, then another of the same width, without ``or_``."""
    full = (1 << then.bits) - 1
    kept = first.and_ & ~first.or_ & then.and_ & ~then.or_ & full
    constant = ((first.or_ ^ first.xor) & then.and_ | then.or_) ^ then.xor
    return SiteMasks(then.bits, kept, np.zeros_like(kept), constant)


def _masks(profile: FaultProfile, site: Site) -> SiteMasks:
    masks = site_masks(profile, site)
    return SiteMasks(masks.bits, masks.and_[0], masks.or_[0], masks.xor[0])
