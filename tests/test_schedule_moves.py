"""Each move of a row held to what it claims."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.isotonic import isotonic_regression

from hascodesign.contract.array import (
    identity_map,
    wrap,
)
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, frozen
from hascodesign.engine import reference
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.slots import pe_faults
from hascodesign.schedule.fitting import reconstruct, staircase, words
from tests.engine_helpers import (
    dense_layer,
)
from tests.written_cases import rng_of

SPEC = ArraySpec(pe=4, simd=3, weight_bits=4, act_bits=5, acc_bits=16)


# ------------------------------------------------------------------------------------ thresholds


@pytest.mark.parametrize("seed", range(8))
def test_thresholds_are_the_rounded_isotonic_regression(seed):
    rng = rng_of(seed)
    lowest, levels = int(rng.integers(-3, 2)), int(rng.integers(1, 8))
    sums = rng.integers(-20, 20, (5, 60)) * int(rng.integers(1, 1000))
    wanted = rng.integers(lowest, lowest + levels + 1, (5, 60))
    wanted[0] = np.clip(lowest + sums[0] // 500, lowest, lowest + levels)  # one that is a staircase
    trained = np.sort(rng.integers(-9000, 9000, (5, levels)), axis=1)
    values, left = staircase.fit(sums, wanted, trained, lowest)
    assert (np.diff(values, axis=1) >= 0).all()
    codes = lowest + (sums[:, :, None] >= values[:, None, :]).sum(axis=2)
    for row in range(5):
        _, inverse = np.unique(sums[row], return_inverse=True)
        count = np.bincount(inverse)
        mean = np.bincount(inverse, wanted[row]) / count
        best = isotonic_regression(mean, sample_weight=count)[inverse]
        assert np.array_equal(codes[row], np.floor(best + 0.5 + 1e-9))
        assert left[row] == ((codes[row] - wanted[row]) ** 2).mean()
    assert np.array_equal(staircase.error(sums, wanted, values, lowest), left)


def test_codes_that_no_column_asks_for_keep_their_distance():
    sums, wanted = np.arange(100, 150)[None], np.repeat([3, 4], 25)[None]
    values, _ = staircase.fit(sums, wanted, np.array([[0, 10, 20, 30, 50, 90]]), 0)
    # 1 to 3 lie at or below the least sum, 5 and 6 beyond the greatest, as far apart as trained
    assert values.tolist() == [[80, 90, 100, 125, 150, 190]]


# ----------------------------------------------------------------------------------------- words


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_words_are_the_nearest_of_all(seed, signed):
    rng = rng_of(seed)
    layer = replace(dense_layer(rng, SPEC, 4, 8), in_signed=signed, in_bits=5)
    faults = (
        Fault(0, "sa1", "product", 1, int(rng.integers(10))),
        Fault(0, "flip", "act", 1, int(rng.integers(5))),
        Fault(0, "sa0", "weight", 2, int(rng.integers(4))),
        Fault(0, "sa1", "wmem", 1, 2, 1),
    )
    profile = FaultProfile(replace(SPEC, wmem_depth=9), faults)
    made = pe_faults(profile)
    on_array = LayerOnArray(profile, made, layer, passes=1, base=0, layer_index=0)
    slot = on_array.classes[1]
    x = rng.integers(-16 if signed else 0, 16 if signed else 32, (8, 50))
    seen = words.histograms(x, SPEC, signed)
    new, left = words.choose(on_array, slot, layer.weights, seen)
    assert words.touched(slot) == (1, 2)
    row_map = identity_map(layer, SPEC.pe)
    best = np.zeros(4)
    for row, k in np.ndindex(4, 8):
        simd = k % 3
        if simd == 0:
            assert new[row, k] == layer.weights[row, k]
            continue
        alone = np.zeros((16, 8), dtype=np.int64)
        alone[:, k] = np.arange(-8, 8)
        only = np.zeros_like(x)
        only[k] = x[k]  # all else adds a constant
        struck = struck_sums(profile, layer, alone, only, row_map)
        variances = (struck - layer.weights[row, k] * x[k]).var(axis=1)
        chosen = variances[new[row, k] + 8]
        assert chosen <= variances.min() + 1e-3
        best[row] += chosen
    assert np.allclose(left, best, atol=1e-2)


def struck_sums(profile, layer, weights, x, row_map):
    """What each row of weights, alone on PE 0, gives by the reference; only one word is not 0."""
    out = []
    for row in weights:
        one = replace(layer, weights=frozen(np.tile(row, (layer.rows, 1))))
        out.append(reference.accumulate(profile, one, row_map, x, wmem_base=0)[0])
    return np.array(out)


@pytest.mark.parametrize("seed", range(3))
def test_stuck_bits_of_a_bank_hold_what_is_wanted_where_they_can(seed):
    rng = rng_of(seed)
    layer = replace(dense_layer(rng, SPEC, 6, 9), in_signed=False, in_bits=5)
    spec = replace(SPEC, wmem_depth=6)
    places = {(int(rng.integers(3)), int(rng.integers(3)), bit) for bit in (0, 1, 2, 3)}
    faults = [
        Fault(0, "sa1" if bit % 2 else "sa0", "wmem", simd, bit, address=address)
        for simd, address, bit in sorted(places)
    ]
    on_array = LayerOnArray(
        FaultProfile(spec, tuple(faults)), pe_faults(FaultProfile(spec, tuple(faults))), layer,
        passes=2, base=0, layer_index=0,
    )  # fmt: skip
    slot = on_array.classes[1]
    x = rng.integers(0, 32, (9, 200))
    chosen, left = words.choose(on_array, slot, layer.weights.astype(np.int16), seen_of(x))
    half, met = 8, 0
    for step, simd, keep, flip in slot.words.tolist():
        k = on_array.order[step, simd]
        if k < 0:
            continue
        met += 1
        able = np.unique(wrap((np.arange(-half, half) & keep) ^ flip, 4))
        held = wrap((chosen[:, k].astype(np.int64) & keep) ^ flip, 4)
        wanted = layer.weights[:, k]
        nearest = np.abs(able - wanted[:, None]).min(axis=1)
        assert np.array_equal(np.abs(held - wanted), nearest)
    assert met and (left >= 0).all()
    touched = {int(on_array.order[step, simd]) for step, simd, *_ in slot.words.tolist()}
    others = [k for k in range(9) if k not in touched]
    assert np.array_equal(chosen[:, others], layer.weights[:, others])


def seen_of(x):
    return words.histograms(x, SPEC, False)


# -------------------------------------------------------------------------------- reconstruction


@pytest.mark.parametrize("seed", range(4))
def test_reconstruction_takes_error_away_and_keeps_to_what_is_free(seed):
    rng = rng_of(seed)
    x, weights = rng.integers(0, 16, (12, 300)), rng.integers(-4, 5, (5, 12))
    lacking = weights.copy()
    lacking[:, :3] = 0
    x[3] = np.clip(x[0] + rng.integers(-1, 2, 300), 0, 15)  # one that can make up for another
    free = np.ones((5, 12), dtype=bool)
    free[:, :3] = False
    wrong = (lacking - weights) @ x
    new = reconstruct.improve(lacking, wrong, x, free, (-8, 7))
    assert np.array_equal(new[:, :3], lacking[:, :3]) and new.min() >= -8 and new.max() <= 7
    before, after = wrong.var(axis=1), ((new - weights) @ x).var(axis=1)
    assert (after <= before).all() and after.sum() < 0.95 * before.sum()
