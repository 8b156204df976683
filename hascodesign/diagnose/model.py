"""What a PE with given faults answers; apart from the engine, which plays the chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hascodesign.contract.array import SiteMasks, site_masks
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, IntArray, Site
from hascodesign.diagnose.vectors import Block


class PeModel:
    """One PE of dataflow `os` with permanent faults.

    Parameters
    ----------
    array : the array it stands in.
    faults : its entries; the PE that they name does not matter.
    """

    def __init__(self, array: ArraySpec, faults: Sequence[Fault]) -> None:
        own = tuple(replace(fault, pe=0) for fault in faults)
        profile = FaultProfile(replace(array, pe=1), own)
        self.weight = _masks(profile, "weight")
        self.act = _masks(profile, "act")
        self.product = _masks(profile, "product")
        self.psum = _masks(profile, "psum")
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
        sums = self.products(words, codes, signed).sum(axis=-1)
        acc = np.zeros(sums.shape[:-1], dtype=np.int64)
        for step in range(sums.shape[-1]):
            acc = self.psum.apply(acc + sums[..., step])
        return acc

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


def _masks(profile: FaultProfile, site: Site) -> SiteMasks:
    masks = site_masks(profile, site)
    return SiteMasks(masks.bits, masks.and_[0], masks.or_[0], masks.xor[0])
