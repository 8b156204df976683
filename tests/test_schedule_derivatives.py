"""One run under a schedule gives the integers of the reference, and derivatives of its logits."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from hascodesign.contract import arithmetic
from hascodesign.contract.types import ArraySpec, FaultProfile, MaxPool
from hascodesign.engine import reference
from hascodesign.schedule.derivatives import Backward, _held, run
from hascodesign.schedule.last_two import Pair, _moved
from hascodesign.schedule.layer_maps import around
from hascodesign.schedule.space import make_space
from tests.engine_helpers import random_faults, random_inputs, random_network


def made(seed: int, images: int = 5):
    rng = np.random.default_rng(seed)
    spec = ArraySpec(4, 3, 4, 5, 20, "os")
    network = random_network(rng, spec)
    profile = FaultProfile(spec, random_faults(rng, spec, 8, words=40), seed=seed)
    codes, _ = random_inputs(rng, network, images)
    space = make_space(network, profile)
    chromosome = space.canonical(space.random(rng))
    return network, profile, space, codes, chromosome


@pytest.mark.parametrize("seed", range(8))
def test_a_run_is_the_reference(seed: int) -> None:
    network, profile, space, codes, chromosome = made(seed)
    schedule = space.decode(chromosome)
    bases = np.cumsum([0, *(layer.passes * layer.steps for layer in space.layers)]).tolist()

    def accumulate(layer, x):
        row_map = schedule.layers[layer.index]
        return reference.accumulate(profile, layer, row_map, x, wmem_base=bases[layer.index])

    traces = list(arithmetic.walk(network, codes, accumulate))
    steps = run(network, profile, space, codes, chromosome)
    assert len(steps) == len(traces)
    for step, trace in zip(steps, traces, strict=True):
        assert np.array_equal(step.activations, trace.activations & 0xFF)
        assert np.array_equal(step.sums, trace.acc + trace.layer.bias[:, None])
        assert np.array_equal(step.codes, trace.codes)
    for step, after in zip(steps, traces[1:], strict=False):
        fed = arithmetic.columns(after.layer, step.pooled(step.codes))
        assert np.array_equal(fed, after.activations)
    assert len(run(network, profile, space, codes, chromosome, last=1)) == 2


@pytest.mark.parametrize("seed", range(4))
def test_layers_left_out_change_nothing_above(seed: int) -> None:
    network, profile, space, codes, chromosome = made(seed)
    steps = run(network, profile, space, codes, chromosome)
    whole, part = Backward(steps, len(codes)), Backward(steps, len(codes), lowest=2)
    for logit in range(network.layers[-1].rows):
        of_all = {step.layer.index: found for step, found in whole.by_codes(logit)}
        of_part = {step.layer.index: found for step, found in part.by_codes(logit)}
        assert sorted(of_all) == [0, 1, 2, 3] and sorted(of_part) == [2, 3]
        for index, found in of_part.items():
            assert np.array_equal(found, of_all[index])
    with pytest.raises(ValueError, match="layer 0 was left out"):
        part.by_sums(steps[0], of_all[0])


@pytest.mark.parametrize("seed", range(4))
def test_every_maximum_hands_on_to_one_input(seed: int) -> None:
    network, profile, space, codes, chromosome = made(seed)
    pooling = [s for s in run(network, profile, space, codes, chromosome) if s.pools]
    assert len(pooling) == 2
    for step in pooling:
        maps = arithmetic.maps_of(step.layer, step.codes)
        for held in _held(step):
            taken = sum(np.where(first, maps[place], 0) for place, first in held.places)
            maps = step.pooled(step.codes)
            assert np.array_equal(taken, maps)
            assert (sum(first.astype(int) for _, first in held.places) == 1).all()


def test_moves_of_two_layers_are_judged_as_the_table_says() -> None:
    rng = np.random.default_rng(2)
    terms = rng.normal(size=(6, 3, 4, 2, 9)).astype(np.float32)
    base = rng.normal(size=(4, 2)).astype(np.float32)
    pair = Pair(terms, base, rng.integers(0, 4, 9))
    kinds, last = np.array([0, 0, 1, 2, 0, 0]), np.array([0, 1, 0, 0])
    tried = np.array(list(around(kinds, np.array([5, 1, 1]))))
    logits = pair.of_last(kinds)[np.arange(4), last]
    found = _moved(terms[:, :, np.arange(4), last], logits, kinds, tried, pair.labels)
    assert len(found) == len(tried) > 9  # moves of one row and exchanges of two
    assert found == pytest.approx([pair.loss(one, last) for one in tried], rel=1e-5)


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 2), (2, 3)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (3, 4)])
def test_the_maximum_of_every_window(kernel: tuple[int, int], stride: tuple[int, int]) -> None:
    maps = np.random.default_rng(1).integers(-99, 99, (3, 8, 9, 2)).astype(np.int16)
    windows = sliding_window_view(maps, kernel, axis=(1, 2))[:, :: stride[0], :: stride[1]]
    found = arithmetic.max_pool(MaxPool(kernel, stride, (8, 9, 2)), maps)
    assert found.dtype == np.int16
    assert np.array_equal(found, windows.max(axis=(-2, -1)))
