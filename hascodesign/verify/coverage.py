"""Which faults a set of columns exercises, computed from the array's arithmetic on the faulty PEs.

A use counts where its result is read out: an idle slot still meets the faults of its PE, but its
accumulator is discarded, so nothing that happens there can be verified.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hascodesign.contract import array
from hascodesign.contract.array import SiteMasks
from hascodesign.contract.results import FaultCoverage
from hascodesign.contract.types import (
    BoolArray,
    Fault,
    FaultProfile,
    IntArray,
    MultiplyLayer,
    RowMap,
)
from hascodesign.verify.replay import Replay

BLOCK = 4_000_000  # partial sums held at once


@dataclass(frozen=True, slots=True)
class Excitation:
    """What each fault does at each column of one layer."""

    exercised: BoolArray  # [faults, N] some value at the site differs from the one without it
    changed: BoolArray  # [faults, N] some accumulator differs from the run without it

    def at(self, columns: IntArray) -> Excitation:
        """The same at some of the columns only."""
        return Excitation(self.exercised[:, columns], self.changed[:, columns])


@dataclass(frozen=True, slots=True)
class _Pe:
    """Masks of one PE; the last axis of those with lanes is the multiplier."""

    wmem: SiteMasks  # [passes, T, S]
    weight: SiteMasks  # [S]
    act: SiteMasks  # [S]
    product: SiteMasks  # [S]
    psum: SiteMasks  # []

    def lane(self, simd: int) -> _Pe:
        """The PE with this multiplier only."""
        one = slice(simd, simd + 1)
        return replace(
            self,
            wmem=_slice(self.wmem, (..., one)),
            weight=_slice(self.weight, one),
            act=_slice(self.act, one),
            product=_slice(self.product, one),
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """What one PE is given: its words and the activations of every column."""

    words: IntArray  # [passes, T, S]
    starts: IntArray  # [passes] words that the accumulator starts from
    read: BoolArray  # [passes] whether a result of this pass is read out
    acts: IntArray  # [T, N, S]
    signed: bool

    def lane(self, simd: int) -> _Work:
        """The work of this multiplier only."""
        one = slice(simd, simd + 1)
        return replace(self, words=self.words[..., one], acts=self.acts[..., one])


def excitation(
    profile: FaultProfile,
    layer: MultiplyLayer,
    row_map: RowMap,
    activations: IntArray,
    wmem_base: int = 0,
    columns: IntArray | None = None,
) -> Excitation:
    """What each fault of a profile does at each column of one layer.

    Parameters
    ----------
    profile : a checked profile.
    layer : the layer.
    row_map : its rows on the PEs.
    activations : X [K, N] codes that the faulty network feeds the layer.
    wmem_base : first word of the layer in every weight bank.
    columns : [N] column counters, for transient draws; 0..N-1 where None.

    Returns
    -------
    Excitation with one row per entry of ``profile.faults``.
    """
    drawn = any(fault.kind == "transient" for fault in profile.faults)
    if drawn or profile.array.dataflow == "ws":
        counters = np.arange(activations.shape[1]) if columns is None else columns
        return _replayed(profile, layer, row_map, activations, wmem_base, counters)
    order = array.k_order(layer.depth, profile.array.simd)
    words = array.stored_weights(layer.weights, order, row_map.slots)
    starts = array.stored_preloads(array.row_preloads(layer), row_map.slots)
    acts = array.step_activations(activations, order).transpose(0, 2, 1)
    shape = (len(profile.faults), activations.shape[1])
    found = Excitation(np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_))
    for pe in sorted({fault.pe for fault in profile.faults}):
        read = row_map.slots[:, pe] >= 0
        if not read.any():
            continue
        for part in _blocks(words[pe].size // profile.array.simd, acts.shape[1]):
            work = _Work(words[pe], starts[pe], read, acts[:, part], layer.in_signed)
            _excite_pe(profile, pe, work, wmem_base, found, part)
    return found


def coverage(layers: Sequence[Excitation]) -> tuple[FaultCoverage, ...]:
    """Coverage of every fault over the verified columns of all layers."""
    exercised = np.any([layer.exercised.any(axis=1) for layer in layers], axis=0)
    changed = np.any([layer.changed.any(axis=1) for layer in layers], axis=0)
    return tuple(
        FaultCoverage(entry, bool(e), bool(c))
        for entry, (e, c) in enumerate(zip(exercised, changed, strict=True))
    )


def _replayed(
    profile: FaultProfile,
    layer: MultiplyLayer,
    row_map: RowMap,
    activations: IntArray,
    wmem_base: int,
    columns: IntArray,
) -> Excitation:
    steps = profile.array.steps(layer.depth)
    values = row_map.passes * steps * profile.array.simd
    parts = [
        Replay(profile, layer, row_map, activations[:, part], wmem_base, columns[part])
        for part in _blocks(values, activations.shape[1])
    ]
    exercised = [part.exercised() for part in parts]
    whole = Replay(profile, layer, row_map, activations, wmem_base, columns)
    return Excitation(np.concatenate(exercised, axis=1), whole.changed())


def _blocks(partial_sums: int, columns: int) -> Iterator[slice]:
    step = max(1, BLOCK // max(1, partial_sums))
    return (slice(start, start + step) for start in range(0, columns, step))


def _excite_pe(
    profile: FaultProfile,
    pe: int,
    work: _Work,
    wmem_base: int,
    found: Excitation,
    part: slice,
) -> None:
    passes, steps, _ = work.words.shape
    words = range(wmem_base, wmem_base + passes * steps)
    all_faults = _masks(profile, pe, words, steps)
    for entry, fault in enumerate(profile.faults):
        if fault.pe != pe:
            continue
        rest = profile.faults[:entry] + profile.faults[entry + 1 :]
        faulty, without, given = (
            all_faults,
            _masks(replace(profile, faults=rest), pe, words, steps),
            work,
        )
        if fault.simd is not None and not faulty.psum.active.any():
            # sums wrap alike, so one multiplier's share tells whether the accumulator differs
            lane = fault.simd
            faulty, without, given = faulty.lane(lane), without.lane(lane), given.lane(lane)
        found.exercised[entry, part] = _site_differs(fault, faulty, without, given)
        differs = _accumulate(faulty, given) != _accumulate(without, given)
        found.changed[entry, part] = differs[work.read].any(axis=0)


def _masks(profile: FaultProfile, pe: int, words: range, steps: int) -> _Pe:
    faults = (
        replace(f, pe=0, address=None if f.address is None else f.address - words.start)
        for f in profile.faults
        if f.pe == pe and (f.address is None or f.address in words)
    )
    alone = replace(profile, array=replace(profile.array, pe=1), faults=tuple(faults))
    wmem = array.site_masks(alone, "wmem", len(words))

    def bank(mask: IntArray) -> IntArray:
        return mask[0].T.reshape(-1, steps, profile.array.simd)

    return _Pe(
        SiteMasks(wmem.bits, bank(wmem.and_), bank(wmem.or_), bank(wmem.xor)),
        _slice(array.site_masks(alone, "weight"), 0),
        _slice(array.site_masks(alone, "act"), 0),
        _slice(array.site_masks(alone, "product"), 0),
        _slice(array.site_masks(alone, "psum"), 0),
    )


def _slice(masks: SiteMasks, index: Any) -> SiteMasks:
    return SiteMasks(
        masks.bits,
        np.asarray(masks.and_[index]),
        np.asarray(masks.or_[index]),
        np.asarray(masks.xor[index]),
    )


def _operands(pe: _Pe, work: _Work) -> tuple[IntArray, IntArray]:
    """Weights [T, passes, S] and activations [T, N, S] at the multipliers."""
    weights = pe.weight.apply(pe.wmem.apply(work.words))
    return weights.transpose(1, 0, 2), pe.act.apply(work.acts, work.signed)


def _step_sums(pe: _Pe, work: _Work) -> IntArray:
    """Sum of the multipliers' products at every step, [T, passes, N]."""
    weights, acts = _operands(pe, work)
    # float64 is exact: S products of at most 16 bits stay far below 2^53
    real = weights.astype(np.float64) @ acts.transpose(0, 2, 1).astype(np.float64)
    sums = real.astype(np.int64)
    for lane in np.flatnonzero(pe.product.active):
        product = _products(weights, acts, int(lane))
        sums += _slice(pe.product, int(lane)).apply(product) - product
    return sums


def _products(weights: IntArray, acts: IntArray, lane: int) -> IntArray:
    """Products of one multiplier before its fault, [T, passes, N]."""
    return weights[:, :, None, lane] * acts[:, None, :, lane]


def _accumulate(pe: _Pe, work: _Work) -> IntArray:
    """Accumulators of one PE, [passes, N]."""
    sums = _step_sums(pe, work)
    if not pe.psum.active.any():
        return array.wrap(sums.sum(axis=0) + work.starts[:, None], pe.psum.bits)
    acc = np.broadcast_to(work.starts[:, None], sums.shape[1:])
    for step in sums:
        acc = pe.psum.apply(acc + step)
    return acc


def _site_differs(fault: Fault, faulty: _Pe, without: _Pe, work: _Work) -> BoolArray:
    """Per column, whether a value at the fault's site is another without it, [N]."""
    read = work.read
    count = work.acts.shape[1]
    if fault.site == "wmem":
        differs = faulty.wmem.apply(work.words) != without.wmem.apply(work.words)
        return np.full(count, differs[read].any())
    if fault.site == "weight":
        words = faulty.wmem.apply(work.words)
        differs = faulty.weight.apply(words) != without.weight.apply(words)
        return np.full(count, differs[read].any())
    if fault.site == "act":
        signed = work.signed
        differs = faulty.act.apply(work.acts, signed) != without.act.apply(work.acts, signed)
        return differs.any(axis=(0, 2))
    if fault.site == "psum":
        return _psum_differs(faulty, without, work)
    return _product_differs(faulty, without, work)


def _product_differs(faulty: _Pe, without: _Pe, work: _Work) -> BoolArray:
    weights, acts = _operands(faulty, work)
    found = np.zeros(acts.shape[1], dtype=np.bool_)
    for lane in np.flatnonzero(faulty.product.active):
        product = _products(weights, acts, int(lane))[:, work.read]
        with_it = _slice(faulty.product, int(lane)).apply(product)
        differs = with_it != _slice(without.product, int(lane)).apply(product)
        found |= differs.any(axis=(0, 1))
    return found


def _psum_differs(faulty: _Pe, without: _Pe, work: _Work) -> BoolArray:
    sums = _step_sums(faulty, work)[:, work.read]
    acc = np.broadcast_to(work.starts[work.read, None], sums.shape[1:])
    found = np.zeros(sums.shape[2], dtype=np.bool_)
    for step in sums:
        fed = acc + step
        acc = faulty.psum.apply(fed)
        found |= (acc != without.psum.apply(fed)).any(axis=0)
    return found
