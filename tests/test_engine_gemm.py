"""The fast engine and the literal reference give the same integers."""

from __future__ import annotations

import numpy as np
import pytest

from hascodesign.array import identity_map, wrap
from hascodesign.engine import gemm, reference
from hascodesign.types import ArraySpec, Fault, FaultProfile, frozen
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
    steps = -(-layer.depth // spec.simd) if order is None else len(order)
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
    layer = type(layer)(**{n: getattr(layer, n) for n in layer.__slots__} | {
        "weights": weights, "weight_bits": 8, "in_bits": 8, "in_signed": False})  # fmt: skip
    x = np.full((layer.depth, 3), 255)
    faults = (Fault(0, "sa0", "psum", None, 0),) if faulty else ()  # -128*255 is even: no effect
    acc = gemm.accumulate(FaultProfile(spec, faults), layer, identity_map(layer, 1), x, wmem_base=0)
    exact = -128 * 255 * layer.depth
    assert exact < -(1 << (bits - 1))
    np.testing.assert_array_equal(acc, np.full((2, 3), wrap(np.array(exact), bits)))
