"""What each slot of a layer's row map meets: the profile's faults gathered per PE and pass.

Every permanent fault function is v -> (v AND keep) XOR flip, a form that is closed under
composition; a transient is an inversion after it, which later wires on the way may drop (`keep`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hascodesign.contract.array import mix, site_masks
from hascodesign.contract.types import ArraySpec, FaultProfile, IntArray, Site, frozen
from hascodesign.engine.reference import GOLDEN, WORD, transient_bits

# Where a transient enters the cell, in the order of the arithmetic.
STAGES = {"wmem": 0, "weight": 0, "act": 1, "product": 2, "psum": 3, "foot": 4}


@dataclass(frozen=True, slots=True)
class Wires:
    """v -> (v AND keep) XOR flip on one set of wires, elementwise."""

    keep: IntArray
    flip: IntArray

    @property
    def active(self) -> bool:
        """Whether any value can change."""
        return bool((self.keep != -1).any() or (self.flip != 0).any())

    @property
    def places(self) -> set[int]:
        """Multipliers where a value can change."""
        return set(np.flatnonzero((self.keep != -1) | (self.flip != 0)).tolist())

    def at(self, *place: int) -> Wires:
        """The function at one place."""
        return Wires(frozen(self.keep[place]), frozen(self.flip[place]))


@dataclass(frozen=True, slots=True)
class Transient:
    """One transient entry as one PE sees it."""

    entry: int
    stage: int  # a value of STAGES
    simd: int  # 0 at the foot
    address: int | None  # word of the weight bank; None = every word
    limit: int  # fires where the draw is below, 0..2^32
    low: int  # lowest bit drawn
    span: int  # bits to draw from
    keep: int  # bits of the inversion that later wires let through


@dataclass(frozen=True, slots=True)
class PeFaults:
    """Everything that one PE's slots have in common."""

    weight: Wires  # [S]
    act: Wires  # [S], in `ws` all PEs up to this one
    product: Wires  # [S]
    psum: Wires  # [S], the chain inside a column of `ws`; neutral in `os`
    foot: Wires  # [], the accumulator register: psum of `os`, acc of `ws`
    transients: tuple[Transient, ...]  # by stage, multiplier, entry
    wmem: IntArray  # [faulty words, 4]: address, multiplier, keep, flip


def pe_faults(profile: FaultProfile) -> tuple[PeFaults, ...]:
    """Faults of each PE."""
    spec = profile.array
    act = _wires(profile, "act")
    if spec.dataflow == "ws":
        act = _carried(act)
    neutral = Wires(np.full((spec.pe, spec.simd), -1), np.zeros((spec.pe, spec.simd), np.int64))
    chain = _wires(profile, "psum") if spec.dataflow == "ws" else neutral
    foot = _wires(profile, "acc" if spec.dataflow == "ws" else "psum")
    weight, product = _wires(profile, "weight"), _wires(profile, "product")
    wmem = _wmem(profile)
    own = _wires(profile, "act")
    return tuple(
        PeFaults(
            weight=weight.at(pe),
            act=act.at(pe),
            product=product.at(pe),
            psum=chain.at(pe),
            foot=foot.at(pe),
            transients=tuple(
                sorted(
                    _transients(profile, pe, weight, own),
                    key=lambda t: (t.stage, t.simd, t.entry),
                )
            ),
            wmem=wmem[pe],
        )
        for pe in range(spec.pe)
    )


def hash_prefix(seed: int, layer_index: int, entry: int, number: int) -> int:
    """State of the transient draw before column and step go in."""
    h = 0
    for word in (seed, layer_index, entry, number):
        h = int(mix(((h ^ (word & WORD)) + GOLDEN) & WORD))
    return h


def _wmem(profile: FaultProfile) -> list[IntArray]:
    """Faulty words of each PE's banks, gathered sparsely: banks are long and few words bad."""
    words: list[dict[tuple[int, int], list[int]]] = [{} for _ in range(profile.array.pe)]
    for fault in profile.faults:
        if fault.site != "wmem" or fault.kind == "transient":
            continue
        if fault.address is None or fault.simd is None or fault.bit is None:
            raise ValueError("a checked profile gives every wmem fault its word and bit")
        keep_flip = words[fault.pe].setdefault((fault.address, fault.simd), [-1, 0])
        wire = 1 << fault.bit
        if fault.kind != "flip":
            keep_flip[0] &= ~wire
        if fault.kind != "sa0":
            keep_flip[1] |= wire
    return [
        frozen([[*place, *wires] for place, wires in sorted(bank.items())]).reshape(-1, 4)
        for bank in words
    ]


def _wires(profile: FaultProfile, site: Site) -> Wires:
    masks = site_masks(profile, site)
    # Bits above the site stay: keep has ones there, so a sum may grow past its width until the
    # end, when it is wrapped; the faults only ever touch the site's own bits.
    above = -1 << masks.bits
    return Wires((masks.and_ & ~masks.or_) | above, masks.or_ ^ masks.xor)


def _carried(act: Wires) -> Wires:
    keep, flip = act.keep.copy(), act.flip.copy()
    for pe in range(1, keep.shape[0]):
        keep[pe] &= keep[pe - 1]
        flip[pe] ^= flip[pe - 1] & act.keep[pe]
    return Wires(frozen(keep), frozen(flip))


def _transients(profile: FaultProfile, pe: int, weight: Wires, act: Wires) -> Iterator[Transient]:
    """Transients that reach PE ``pe``; in `ws` those on activations of every PE before it."""
    array = profile.array
    for entry, fault in enumerate(profile.faults):
        if fault.kind != "transient" or fault.site is None or fault.p is None:
            continue
        carried = array.dataflow == "ws" and fault.site == "act" and fault.pe < pe
        if fault.pe != pe and not carried:
            continue
        simd = fault.simd or 0
        keep = -1
        if fault.site == "wmem":
            keep = int(weight.keep[pe, simd])
        elif carried:
            keep = int(np.bitwise_and.reduce(act.keep[fault.pe + 1 : pe + 1, simd]))
        low, high = transient_bits(fault)
        yield Transient(
            entry=entry,
            stage=_stage(array, fault.site),
            simd=simd,
            address=fault.address if fault.site == "wmem" else None,
            limit=int(fault.p * 2**32),
            low=low,
            span=high - low + 1,
            keep=keep,
        )


def _stage(array: ArraySpec, site: Site) -> int:
    """Stage at which a site acts; the register of a PE's sums is its foot, whatever its name."""
    at_foot = site in ("psum", "acc") and not array.has_lane(site)
    return STAGES["foot" if at_foot else site]
