"""Accumulators that start from a word of their own: engine, device and coverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hascodesign.contract import arithmetic
from hascodesign.contract.array import identity_map, with_preloads, wmem_bases, wrap
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, frozen
from hascodesign.engine import gemm, reference
from hascodesign.engine.network import Evaluator
from hascodesign.verify.coverage import excitation
from tests.engine_helpers import (
    dense_layer,
    random_codes,
    random_faults,
    random_inputs,
    random_map,
    random_network,
    random_schedule,
    random_spec,
)
from tests.preload_cases import preloaded, preloaded_layer


@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("case", range(80))
def test_random_cases_equal_the_reference(case, dataflow):
    rng = np.random.default_rng([case, dataflow == "ws", 1])
    spec = random_spec(rng, dataflow)
    plain = dense_layer(rng, spec, int(rng.integers(1, 9)), int(rng.integers(1, 12)))
    layer = preloaded_layer(rng, plain, spec.acc_bits)
    row_map = random_map(rng, layer, spec.pe, spare=int(rng.integers(0, 2)))
    words = row_map.passes * spec.steps(layer.depth)
    faults = random_faults(rng, spec, int(rng.integers(0, 9)), words=words)
    profile = FaultProfile(spec, faults, seed=int(rng.integers(2**32)))
    x = random_codes(rng, (layer.depth, 5), layer.in_bits, layer.in_signed)
    fast = gemm.accumulate(profile, layer, row_map, x, wmem_base=0)
    slow = reference.accumulate(profile, layer, row_map, x, wmem_base=0)
    np.testing.assert_array_equal(fast, slow)
    before = reference.accumulate(profile, plain, row_map, x, wmem_base=0)
    if not faults:
        assert layer.preload is not None
        expected = wrap(before + layer.preload[:, None], spec.acc_bits)
        np.testing.assert_array_equal(slow, expected)


@pytest.mark.parametrize("site", ["psum", "acc"])
def test_by_hand(site):
    """Bit 4 stuck at 0: from 0 the sums 10, 20 lose it; from 32 nothing does; 15 wraps round."""
    dataflow = "os" if site == "psum" else "ws"
    spec = ArraySpec(3, 1, 5, 5, 16, dataflow)
    rng = np.random.default_rng(0)
    layer = replace(
        dense_layer(rng, spec, 3, 2), weights=frozen([[1, 1]] * 3), in_signed=False,
        preload=frozen([0, 32, 32767]),
    )  # fmt: skip
    faults = [Fault(pe, "sa0", site, None, 4) for pe in (0, 1)]
    profile = FaultProfile(spec, tuple(faults))
    acc = gemm.accumulate(
        profile, layer, identity_map(layer, 3), np.array([[7], [13]]), wmem_base=0
    )
    assert acc[:, 0].tolist() == [7 + 13 - 16, 32 + 20 - 16, 32767 + 20 - 65536]
    layer = replace(layer, preload=frozen([-20, 64 - 12, 0]))
    acc = gemm.accumulate(profile, layer, identity_map(layer, 3), np.array([[2], [3]]), wmem_base=0)
    # -18 has bit 4 at 0 and -15 at 1; 54 and 57 have it at 1: both lose 16 at the first step
    assert acc[:, 0].tolist() == [-18 + 3 - 16, 54 - 16 + 3, 5]


@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("seed", range(8))
def test_whole_networks_equal_the_reference(seed, dataflow):
    rng = np.random.default_rng(seed)
    spec = ArraySpec(4, 3, 4, 5, int(rng.choice([16, 20, 32])), dataflow)
    network = preloaded(rng, random_network(rng, spec), spec.acc_bits)
    profile = FaultProfile(spec, random_faults(rng, spec, 6, words=40), seed=seed)
    codes, labels = random_inputs(rng, network, 5)
    schedule = random_schedule(rng, network, spec, seed % 2)
    bases = wmem_bases(network, schedule)
    *_, last = arithmetic.walk(
        network,
        codes,
        lambda layer, x: reference.accumulate(
            profile, layer, schedule.layers[layer.index], x, wmem_base=bases[layer.index]
        ),
    )
    for device in (None, "cpu"):
        got = Evaluator(network, profile, codes, labels, device=device).logits(schedule)
        np.testing.assert_array_equal(got, last.codes.T)


@pytest.mark.parametrize("dataflow", ["os", "ws"])
def test_preloads_of_0_change_nothing(dataflow):
    rng = np.random.default_rng(3)
    spec = ArraySpec(4, 3, 4, 5, 16, dataflow)
    network = random_network(rng, spec)
    profile = FaultProfile(spec, random_faults(rng, spec, 8, words=40))
    codes, labels = random_inputs(rng, network, 5)
    schedule = random_schedule(rng, network, spec)
    zeros = with_preloads(network)
    assert zeros.preloaded
    assert not network.preloaded
    np.testing.assert_array_equal(
        Evaluator(zeros, profile, codes, labels).logits(schedule),
        Evaluator(network, profile, codes, labels).logits(schedule),
    )


@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("seed", range(8))
def test_excitation_sees_the_preload(seed, dataflow):
    """Each fault's effect on the accumulators, by the reference with and without it."""
    rng = np.random.default_rng([seed, 5])
    spec = ArraySpec(3, 2, 4, 4, 16, dataflow)
    layer = preloaded_layer(rng, dense_layer(rng, spec, 5, 7), 16)
    row_map = random_map(rng, layer, 3, spare=1)
    site = "acc" if dataflow == "ws" else "psum"
    faults = random_faults(rng, spec, 4, kinds=("sa0", "sa1", "flip"), sites=(site, "weight"))
    profile = FaultProfile(spec, faults)
    x = random_codes(rng, (7, 6), layer.in_bits, layer.in_signed)
    found = excitation(profile, layer, row_map, x)
    struck = reference.accumulate(profile, layer, row_map, x, wmem_base=0)
    for entry in range(len(faults)):
        rest = replace(profile, faults=faults[:entry] + faults[entry + 1 :])
        without = reference.accumulate(rest, layer, row_map, x, wmem_base=0)
        np.testing.assert_array_equal(found.changed[entry], (struck != without).any(axis=0))
