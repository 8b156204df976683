"""The fast engine and the literal reference give the same integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hascodesign.contract.array import identity_map, mix, wrap
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, frozen
from hascodesign.engine import gemm, reference
from tests.engine_helpers import (
    dense_layer,
    random_codes,
    random_faults,
    random_map,
    random_order,
    random_spec,
)


def both(profile, layer, row_map, x, **more):
    fast = gemm.accumulate(profile, layer, row_map, x, **more)
    slow = reference.accumulate(profile, layer, row_map, x, **more)
    assert fast.dtype == np.int64
    return fast, slow


@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("case", range(150))
def test_random_cases_equal_the_reference(case, dataflow):
    rng = np.random.default_rng([case, dataflow == "ws"])
    spec = random_spec(rng, dataflow)
    layer = dense_layer(
        rng, spec, int(rng.integers(1, 9)), int(rng.integers(1, 12)), index=case % 3
    )
    row_map = random_map(rng, layer, spec.pe, spare=int(rng.integers(0, 2)))
    order = random_order(rng, layer.depth, spec.simd) if rng.integers(2) else None
    base = int(rng.integers(0, 3))
    steps = spec.steps(layer.depth) if order is None else len(order)
    faults = random_faults(rng, spec, int(rng.integers(0, 9)), words=base + row_map.passes * steps)
    profile = FaultProfile(spec, faults, seed=int(rng.integers(2**32)))
    x = random_codes(rng, (layer.depth, 5), layer.in_bits, layer.in_signed)
    columns = rng.integers(0, 2**32, 5) if rng.integers(2) else None
    fast, slow = both(
        profile, layer, row_map, x, wmem_base=base, order=order, columns=columns,
        layer_index=None if rng.integers(2) else 7,
    )  # fmt: skip
    np.testing.assert_array_equal(fast, slow)


@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("faulty", [False, True])
def test_accumulator_wraps(bits, faulty):
    """Sums far beyond the accumulator come out modulo 2^CB, on a healthy and on a faulty PE."""
    spec = ArraySpec(pe=1, simd=4, weight_bits=8, act_bits=8, acc_bits=bits)
    rng = np.random.default_rng(bits)
    layer = dense_layer(rng, spec, 2, 1 << (bits - 12 if bits < 32 else 17))
    weights = frozen(np.full(layer.weights.shape, -128))
    layer = replace(layer, weights=weights, weight_bits=8, in_bits=8, in_signed=False)
    x = np.full((layer.depth, 3), 255)
    faults = (Fault(0, "sa0", "psum", None, 0),) if faulty else ()  # -128*255 is even: no effect
    acc = gemm.accumulate(FaultProfile(spec, faults), layer, identity_map(layer, 1), x, wmem_base=0)
    exact = -128 * 255 * layer.depth
    assert exact < -(1 << (bits - 1))
    np.testing.assert_array_equal(acc, np.full((2, 3), wrap(np.array(exact), bits)))


def transient_state(words):
    h = 0
    for word in words:
        h = int(mix(((h ^ word) + 0x9E3779B9) & 0xFFFFFFFF))
    return h


@pytest.mark.parametrize("fires", [False, True])
def test_transient_fires_strictly_below_its_limit(fires):
    spec = ArraySpec(pe=1, simd=1, weight_bits=4, act_bits=4, acc_bits=16)
    rng = np.random.default_rng(0)
    layer = dense_layer(rng, spec, 1, 1, index=2)
    h = transient_state((9, 2, 0, 0, 5, 0))  # seed, layer, entry, pass, column, step
    fault = Fault(0, "transient", "psum", bit=3, p=(h + fires) / 2**32)
    profile = FaultProfile(spec, (fault,), seed=9)
    x = np.ones((1, 1), dtype=np.int64)
    fast, slow = both(profile, layer, identity_map(layer, 1), x, wmem_base=0, columns=np.array([5]))
    np.testing.assert_array_equal(fast, slow)
    assert fast[0, 0] == int(layer.weights[0, 0]) ^ (8 if fires else 0)


@pytest.mark.parametrize("stuck_pe", [0, 1])
def test_carried_transient_is_dropped_by_later_stuck_bits_only(stuck_pe):
    """Inverted after the stuck bit of its own PE, swallowed by that of a later PE."""
    spec = ArraySpec(pe=3, simd=1, weight_bits=4, act_bits=4, acc_bits=16, dataflow="ws")
    rng = np.random.default_rng(0)
    layer = dense_layer(rng, spec, 3, 1)
    layer = replace(layer, weights=frozen([[1], [1], [1]]), in_signed=False, in_bits=4)
    faults = (
        Fault(0, "transient", "act", 0, 1, p=1.0),
        Fault(stuck_pe, "sa0", "act", 0, 1),
    )
    fast, slow = both(
        FaultProfile(spec, faults), layer, identity_map(layer, 3), np.array([[5, 2]]), wmem_base=0
    )
    np.testing.assert_array_equal(fast, slow)
    through, swallowed = [7, 2], [5, 0]
    first = through if stuck_pe == 0 else [7, 0]
    later = through if stuck_pe == 0 else swallowed
    np.testing.assert_array_equal(fast, [first, later, later])
