"""Words for a faulty multiplier: those whose faulty products lie nearest to what is wanted.

A multiplier with permanent faults on its wires maps each word and activation to a product, a table
of 2^WB x 2^AB. For each wanted word the best stored one is found among all 2^WB, under the
histogram of the activations that the multiplier really meets at that step. What a fault adds
whatever the activation costs nothing: it is taken into the thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.array import wrap
from hascodesign.contract.types import ArraySpec, FloatArray, IntArray
from hascodesign.engine.classes import SlotClass
from hascodesign.engine.layer import LayerOnArray

TIE = 1e-6  # of two words that do alike, the one nearer to the wanted


@dataclass(frozen=True, slots=True)
class Histograms:
    """How often each activation code comes at each K index."""

    counts: FloatArray  # [K, 2^AB] columns; whole numbers, so that their sums are exact
    columns: int
    codes: IntArray  # [2^AB] as the layer reads them


def histograms(codes: IntArray, spec: ArraySpec, signed: bool) -> Histograms:
    """Of activations [K, N]."""
    depth, columns = codes.shape
    size = 1 << spec.act_bits
    places = np.arange(depth)[:, None] * size + (codes & (size - 1))
    counts = np.bincount(places.reshape(-1), minlength=depth * size).reshape(depth, size)
    read = wrap(np.arange(size, dtype=np.int64), spec.act_bits, signed)
    return Histograms(counts.astype(np.float64), max(columns, 1), read)


def products(spec: ArraySpec, slot: SlotClass, simd: int, signed: bool) -> IntArray:
    """Faulty product [2^WB, 2^AB] of each stored word and activation code at one multiplier."""
    faults = slot.faults
    half = 1 << (spec.weight_bits - 1)
    word, code = np.arange(-half, half), np.arange(1 << spec.act_bits)
    seen = wrap((word & faults.weight.keep[simd]) ^ faults.weight.flip[simd], spec.weight_bits)
    met = wrap((code & faults.act.keep[simd]) ^ faults.act.flip[simd], spec.act_bits, signed)
    product = seen[:, None] * met[None, :]
    faulty = (product & faults.product.keep[simd]) ^ faults.product.flip[simd]
    return wrap(faulty, spec.product_bits)


def touched(slot: SlotClass) -> tuple[int, ...]:
    """Multipliers of a class of slots whose words or wires are faulty."""
    faults = slot.faults
    wires = faults.weight.places | faults.act.places | faults.product.places
    return tuple(sorted(wires | set(slot.words[:, 1].tolist())))


def struck(on_array: LayerOnArray, slot: SlotClass, simd: int) -> IntArray:
    """Steps at which a multiplier of a class of slots does not do as it should."""
    faults = slot.faults
    if simd not in faults.weight.places | faults.act.places | faults.product.places:
        steps = np.unique(slot.words[slot.words[:, 1] == simd, 0])
        return steps[on_array.order[steps, simd] >= 0]
    return np.flatnonzero(on_array.order[:, simd] >= 0)


def choose(
    on_array: LayerOnArray, slot: SlotClass, weights: NDArray[np.int16], seen: Histograms
) -> tuple[NDArray[np.int16], FloatArray]:
    """Weights rewritten at the faulty multipliers of one class of slots.

    Parameters
    ----------
    on_array : the layer on its array.
    slot : the class.
    weights : [R, K] wanted.
    seen : of the activations that the layer meets.

    Returns
    -------
    Weights [R, K] and the variance [R] that the chosen words leave in the sums.
    """
    spec, signed = on_array.spec, on_array.layer.in_signed
    half = 1 << (spec.weight_bits - 1)
    out, left = weights.copy(), np.zeros(len(weights))
    for simd in touched(slot):
        steps = struck(on_array, slot, simd)
        if not len(steps):
            continue
        ks = on_array.order[steps, simd]
        cost = _costs(products(spec, slot, simd, signed), seen, ks)
        for step, where, keep, flip in slot.words.tolist():
            place = np.flatnonzero(steps == step)
            if where == simd and len(place):
                word = wrap((np.arange(-half, half) & keep) ^ flip, spec.weight_bits)
                cost[place] = cost[place][:, :, word + half]
        best = np.argmin(cost, axis=2)
        wanted = weights[:, ks] + half
        every = np.arange(len(ks))
        chosen = best[every, wanted]
        out[:, ks] = chosen - half
        left += np.maximum(cost[every, wanted, chosen], 0.0).sum(axis=1)
    return out, left


def _costs(product: IntArray, seen: Histograms, ks: IntArray) -> FloatArray:
    """Variance [T, wanted, stored] of faulty product less wanted product, at each step."""
    counts, n = seen.counts[ks], seen.columns
    half = len(product) // 2
    word = np.arange(-half, half)
    faulty, code = product.astype(np.float64), seen.codes.astype(np.float64)
    mean, square = counts @ faulty.T / n, counts @ (faulty * faulty).T / n
    mean_code, square_code = counts @ code / n, counts @ (code * code) / n
    covariance = counts @ (faulty * code).T / n - mean * mean_code[:, None]
    variance, of_code = square - mean**2, square_code - mean_code**2
    cost = variance[:, None, :] - 2.0 * word[:, None] * covariance[:, None, :]
    cost += (word**2)[:, None] * of_code[:, None, None]
    return np.asarray(cost + TIE * np.abs(word[:, None] - word))
