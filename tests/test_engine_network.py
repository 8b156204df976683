"""Whole networks: the evaluator equals a plain walk with the reference, cached or not."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from hascodesign.contract import arithmetic
from hascodesign.contract.array import identity_schedule, wmem_bases
from hascodesign.contract.types import ArraySpec, FaultProfile
from hascodesign.engine import reference
from hascodesign.engine.loss import MOST, SHARPNESS
from hascodesign.engine.network import Evaluator
from tests.engine_helpers import (
    random_faults,
    random_inputs,
    random_network,
    random_schedule,
)


def make(seed, dataflow="os", images=4, count=6, **more):
    rng = np.random.default_rng(seed)
    spec = ArraySpec(4, 3, 4, 5, int(rng.choice([16, 20, 32])), dataflow)
    network = random_network(rng, spec)
    faults = random_faults(rng, spec, count, words=40, **more)
    profile = FaultProfile(spec, faults, seed=seed)
    codes, labels = random_inputs(rng, network, images)
    return rng, network, profile, codes, labels


def by_reference(network, profile, schedule, codes):
    bases = wmem_bases(network, schedule)
    *_, last = arithmetic.walk(
        network,
        codes,
        lambda layer, x: reference.accumulate(
            profile, layer, schedule.layers[layer.index], x, wmem_base=bases[layer.index]
        ),
    )
    return last.codes.T


@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("seed", range(12))
def test_logits_equal_the_reference(seed, dataflow):
    rng, network, profile, codes, labels = make(seed, dataflow)
    evaluator = Evaluator(network, profile, codes, labels)
    for spare in (0, 1):
        schedule = random_schedule(rng, network, profile.array, spare)
        expected = by_reference(network, profile, schedule, codes)
        np.testing.assert_array_equal(evaluator.logits(schedule), expected)
        *_, last = evaluator.trace(schedule)
        np.testing.assert_array_equal(last.codes.T, expected)


@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("seed", range(6))
def test_cache_changes_nothing(seed, dataflow):
    rng, network, profile, codes, labels = make(seed, dataflow, images=30, count=8)
    schedules = [random_schedule(rng, network, profile.array, i % 2) for i in range(6)]
    schedules += schedules[:2]
    cached = Evaluator(network, profile, codes, labels)
    tight = Evaluator(network, profile, codes, labels, cache_bytes=3000)
    none = Evaluator(network, profile, codes, labels, cache_bytes=0)
    first = [none.judge(s) for s in schedules]
    assert cached.judge_many(schedules) == first
    assert cached.judge_many(schedules[::-1]) == first[::-1]
    assert tight.judge_many(schedules) == first
    assert [cached.judge(s) for s in schedules] == first
    np.testing.assert_array_equal(cached.logits(schedules[3]), none.logits(schedules[3]))
    fresh = Evaluator(network, profile, codes, labels)
    assert fresh.judge_once(schedules) == first
    assert fresh.judge_once(schedules[::-1]) == first[::-1]
    once_held = fresh.cached_bytes
    assert fresh.judge_many(schedules) == first
    assert 0 < once_held < fresh.cached_bytes


@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("seed", range(3))
def test_number_of_threads_changes_nothing(seed, dataflow):
    rng, network, profile, codes, labels = make(seed, dataflow, images=300, count=10)
    schedules = [random_schedule(rng, network, profile.array, i % 2) for i in range(3)]
    most, torch_most = numba.config.NUMBA_NUM_THREADS, torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            numba.set_num_threads(min(threads, most))
            torch.set_num_threads(threads)
            for cache in (0, 1 << 20):
                evaluator = Evaluator(network, profile, codes, labels, cache_bytes=cache)
                found.append([evaluator.logits(s) for s in schedules])
    finally:
        numba.set_num_threads(most)
        torch.set_num_threads(torch_most)
    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, same)


def test_cached_bytes_are_bounded():
    rng, network, profile, codes, labels = make(3, images=30)
    evaluator = Evaluator(network, profile, codes, labels, cache_bytes=20_000)
    for _ in range(20):
        evaluator.judge(random_schedule(rng, network, profile.array))
        assert evaluator.cached_bytes <= 20_000


def test_images_in_chunks_are_the_same(monkeypatch):
    rng, network, profile, codes, labels = make(5, images=20, count=8)
    schedule = random_schedule(rng, network, profile.array)
    whole = Evaluator(network, profile, codes, labels).logits(schedule)
    monkeypatch.setattr("hascodesign.engine.rows.CHUNK_BYTES", 3000)
    np.testing.assert_array_equal(
        Evaluator(network, profile, codes, labels).logits(schedule), whole
    )


def test_judgement():
    rng, network, profile, codes, labels = make(1, images=25)
    evaluator = Evaluator(network, profile, codes, labels)
    schedule = random_schedule(rng, network, profile.array)
    logits = evaluator.logits(schedule)
    judged = evaluator.judge(schedule)
    log_p = log_softmax(SHARPNESS * network.logit_scale * logits, axis=1)[np.arange(25), labels]
    assert judged.loss == pytest.approx(np.minimum(-log_p, MOST).mean(), rel=1e-12)
    assert judged.correct == (arithmetic.classify(logits) == labels).sum()
    assert judged.n == 25


def test_healthy_judgement_has_no_faults():
    _, network, profile, codes, labels = make(2, images=25, count=12)
    healthy = replace(profile, faults=())
    plain = identity_schedule(network, profile.array)
    expected = Evaluator(network, healthy, codes, labels).judge(plain)
    assert Evaluator(network, profile, codes, labels).healthy_judgement() == expected
    assert Evaluator(network, profile, codes, labels).judge(plain) != expected


def test_layouts_of_several_pass_counts_share_their_weights():
    rng, network, profile, codes, labels = make(4)
    evaluator = Evaluator(network, profile, codes, labels)
    one, two = (
        evaluator.assignments(random_schedule(rng, network, profile.array, spare))
        for spare in (0, 1)
    )
    for a, b in zip(one, two, strict=True):
        assert a.on_array is not b.on_array
        assert a.on_array.stored(0) is b.on_array.stored(0)
        assert a.on_array.weights is b.on_array.weights
