"""The loss model against the step-by-step engine: exact where it claims to be."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import spearmanr

from hascodesign.contract.types import (
    Conv,
    Fault,
    FaultProfile,
    InputQuant,
    IntArray,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    Shift,
    Thresholds,
    frozen,
)
from hascodesign.engine.classes import HEALTHY
from hascodesign.engine.loss import MOST, SHARPNESS
from hascodesign.schedule import descend as descend_module
from hascodesign.schedule import prepare as prepare_module
from hascodesign.schedule.assign import assign
from hascodesign.schedule.descend import LEAST_GAIN, descend, path, propose
from hascodesign.schedule.evolve import search
from hascodesign.schedule.formats import check
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.polish import neighbours
from hascodesign.schedule.prepare import split
from hascodesign.schedule.protocols import Pictured, silent
from hascodesign.schedule.space import Space, make_space
from hascodesign.schedule.surrogate import LogitModel, make_model
from tests.schedule_stand_in import NetworkEvaluator, array, dense_network

PROFILE = FaultProfile(
    array(acc_bits=20),
    (
        Fault(pe=1, kind="sa1", site="psum", bit=3),
        Fault(pe=2, kind="flip", site="product", simd=1, bit=2),
    ),
)


def layer(index: int, rows: int, depth: int, conv: Conv | None, last: bool) -> MultiplyLayer:
    """Weights of -1..1 and codes that are the sums themselves, 8 bits and never clamped."""
    rng = np.random.default_rng(index)
    return MultiplyLayer(
        name=f"layer{index}",
        index=index,
        weights=frozen(rng.integers(-1, 2, (rows, depth))),
        bias=frozen(rng.integers(-2, 3, rows)),
        weight_bits=2,
        in_bits=3 if index == 0 else 8,
        in_signed=index > 0,
        conv=conv,
        output=None if last else Shift(0, -128, 127),
        out_bits=0 if last else 8,
        out_signed=not last,
    )


def conv_network(pool: bool) -> IntegerNetwork:
    """Two convolutions, one strided, one padded, a pool where wanted, and a dense layer."""
    first = Conv(in_shape=(5, 6, 2), kernel=(2, 3), stride=(1, 2), padding=(1, 0))
    second = Conv(in_shape=(6, 2, 4), kernel=(3, 1), stride=(1, 1), padding=(1, 0))
    stages: list[MultiplyLayer | MaxPool] = [
        layer(0, 4, 12, first, last=False),
        layer(1, 3, 12, second, last=False),
    ]
    size = 6 * 2 * 3
    if pool:
        stages.append(MaxPool(kernel=(2, 2), stride=(2, 2), in_shape=(6, 2, 3)))
        size = 3 * 1 * 3
    stages.append(layer(2, 3, size, None, last=True))
    quant = InputQuant(1.0, 3, False, 0, 7)
    return IntegerNetwork("plain", quant, (5, 6, 2), tuple(stages), 0.05)


def in_loss(network, logits):
    """Integer logits [n, classes] as the loss takes them, [classes, n]."""
    return SHARPNESS * network.logit_scale * logits.T


def model_of(
    network: IntegerNetwork, evaluator: NetworkEvaluator, around: IntArray | None = None
) -> LogitModel:
    space = make_space(network, evaluator.profile, extra_passes=1)
    codes, labels = evaluator.codes, evaluator.labels
    return make_model(network, evaluator.profile, space, codes, labels, around, silent)


def healthy_but(space: Space, index: int, row: int, slot: int) -> IntArray:
    """All rows on healthy slots, but one row of one layer on the given slot."""
    parts = []
    for number, one in enumerate(space.layers):
        genes = np.arange(one.slots)
        order = np.concatenate([one.members[HEALTHY], np.flatnonzero(one.classes != HEALTHY)])
        placed = np.empty(one.slots, dtype=np.int64)
        placed[order] = genes
        if number == index:
            here = int(np.flatnonzero(placed == row)[0])
            placed[[here, slot]] = placed[[slot, here]]
        parts.append(placed)
    return np.concatenate(parts)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_one_row_of_a_network_without_clamping_is_exact(index: int) -> None:
    network = conv_network(pool=False)
    wide = replace(PROFILE, array=array(act_bits=8, acc_bits=20))
    evaluator = NetworkEvaluator(network, wide, images=6)
    evaluator.codes = evaluator.codes % 3  # so small that no code is clamped
    model = model_of(network, evaluator)
    for row in range(network.layers[index].rows):
        for slot in (1, 2):
            chromosome = healthy_but(model.space, index, row, slot)
            exact = (
                SHARPNESS * network.logit_scale * evaluator.logits(model.space.decode(chromosome)).T
            )
            assert not np.allclose(exact, model.base, atol=1e-3)
            assert np.allclose(model.logits(chromosome), exact, atol=1e-4)


def test_the_model_holds_the_logits_it_was_built_around() -> None:
    network = dense_network([6, 5, 3], 5, seed=4)
    evaluator = NetworkEvaluator(network, PROFILE, images=30)
    space = make_space(network, PROFILE, extra_passes=1)
    around = space.canonical(space.random(np.random.default_rng(1)))
    model = model_of(network, evaluator, around)
    exact = in_loss(network, evaluator.logits(space.decode(around)))
    assert np.allclose(model.logits(around), exact, atol=1e-3)
    judged = evaluator.judge_many([space.decode(around)])[0]
    assert model.loss(around) == pytest.approx(judged.loss, rel=1e-4)


@pytest.mark.parametrize("descending", [False, True])
def test_thresholds_count_by_their_slope_in_either_direction(descending: bool) -> None:
    network = dense_network([6, 3], 5, seed=4)
    first, last = network.layers
    ascending = np.tile(np.arange(-60, 60, 4), (6, 1))
    values = ascending[:, ::-1] if descending else ascending
    output = Thresholds(frozen(values), frozen(np.full(6, descending), bool), 0)
    network = replace(network, stages=(replace(first, output=output, out_bits=5), last))
    faint = FaultProfile(
        array(act_bits=6), (Fault(pe=1, kind="flip", site="product", simd=1, bit=4),)
    )
    evaluator = NetworkEvaluator(network, faint, images=60)
    model = model_of(network, evaluator)
    exact, modelled = [], []
    for row in range(6):
        chromosome = healthy_but(model.space, 0, row, 1)
        moved = in_loss(network, evaluator.logits(model.space.decode(chromosome)))
        exact.append(moved - model.base)
        modelled.append(model.logits(chromosome) - model.base)
    alike = np.corrcoef(np.ravel(exact), np.ravel(modelled))[0, 1]
    assert alike > 0.99


def test_a_maximum_hands_its_derivative_to_the_first_that_holds_it() -> None:
    network = conv_network(pool=True)
    wide = replace(PROFILE, array=array(act_bits=8, acc_bits=20))
    evaluator = NetworkEvaluator(network, wide, images=40)
    model = model_of(network, evaluator)
    exact, modelled = [], []
    for row in range(3):
        for slot in (1, 2):
            chromosome = healthy_but(model.space, 1, row, slot)
            moved = (
                SHARPNESS * network.logit_scale * evaluator.logits(model.space.decode(chromosome)).T
            )
            exact.append(moved - model.base)
            modelled.append(model.logits(chromosome) - model.base)
    alike = np.corrcoef(np.ravel(exact), np.ravel(modelled))[0, 1]
    assert alike > 0.9


def test_costs_and_swaps_are_losses_of_the_model() -> None:
    network = dense_network([6, 5, 3], 5, seed=4)
    evaluator = NetworkEvaluator(network, PROFILE, images=30)
    model = model_of(network, evaluator)
    space = model.space
    rng = np.random.default_rng(2)
    chromosome = space.canonical(space.random(rng))
    logits = model.logits(chromosome).T.astype(np.float64)
    images = np.arange(30)
    each = -log_softmax(logits, axis=1)[images, evaluator.labels]
    by_hand = np.minimum(each, MOST).mean()
    assert model.loss(chromosome) == pytest.approx(by_hand, rel=1e-5)
    for index, row, slot in ((0, 2, 1), (1, 4, 2), (2, 0, 1)):
        alone = healthy_but(space, index, row, slot)
        number = space.layers[index].classes[slot]
        healthy = model.losses(model.base)
        cost = model.costs()[index][row, number]
        assert cost == pytest.approx(model.loss(alone) - healthy, abs=1e-5)
        plain = [model.losses(x / SHARPNESS) for x in (model.logits(alone), model.base)]
        cost = model.costs(sharpness=1.0)[index][row, number]
        assert cost == pytest.approx(plain[0] - plain[1], abs=1e-5)
    moves = neighbours(space, model.costs(), chromosome)
    losses = model.swapped(chromosome, moves.first, moves.second)
    for first, second, loss in zip(moves.first, moves.second, losses, strict=True):
        changed = chromosome.copy()
        changed[[first, second]] = changed[[second, first]]
        assert model.loss(changed) == pytest.approx(loss, rel=1e-4)
    # in context a row that stays where it is costs nothing
    for sharpness in (1.0, SHARPNESS):
        for one, cost in zip(space.layers, model.costs(chromosome, sharpness), strict=True):
            genes = one.genes(chromosome)
            used = genes < one.rows
            assert np.allclose(cost[genes[used], one.classes[used]], 0.0, atol=1e-5)


def test_descent_ends_below_the_assignment_and_proposals_below_descent() -> None:
    network = dense_network([9, 9, 4], 5, seed=6)
    evaluator = NetworkEvaluator(network, PROFILE, images=60)
    space = make_space(network, PROFILE)
    model = make_model(network, PROFILE, space, evaluator.codes, evaluator.labels, None, silent)
    assigned = assign(space, model.costs()).chromosome
    start = space.canonical(space.random(np.random.default_rng(1)))
    ended = descend(model, start)
    assert model.loss(ended) < model.loss(start)
    assert model.loss(descend(model, assigned)) <= model.loss(assigned)
    moves = neighbours(space, model.costs(), ended)
    losses = model.swapped(ended, moves.first, moves.second)
    assert losses.min() > model.loss(ended) * (1.0 - 2e-4)
    options = SearchOptions(population=12, generations=20)
    best = propose(model, [assigned], options, 200, np.random.default_rng(0))
    found = [model.loss(one) for one in best]
    assert found == sorted(found)
    assert found[0] <= model.loss(ended)
    assert len({one.tobytes() for one in best}) == len(best) <= options.finalists


def test_the_model_orders_schedules_as_the_network_does() -> None:
    network = dense_network([9, 9, 4], 5, seed=6)
    evaluator = NetworkEvaluator(network, PROFILE, images=60)
    model = model_of(network, evaluator)
    rng = np.random.default_rng(3)
    some = [model.space.random(rng) for _ in range(40)]
    exact = [j.loss for j in evaluator.judge_many([model.space.decode(c) for c in some])]
    modelled = [model.loss(c) for c in some]
    assert spearmanr(exact, modelled)[0] > 0.6


def test_a_path_goes_down_and_its_steps_are_small_where_asked() -> None:
    network = dense_network([9, 9, 4], 5, seed=6)
    evaluator = NetworkEvaluator(network, PROFILE, images=30)
    model = model_of(network, evaluator)
    start = model.space.canonical(model.space.random(np.random.default_rng(5)))
    steps = path(model, start, jumps=False, swaps=2)
    losses = [model.loss(one) for one in steps]
    assert np.array_equal(steps[0], start)
    assert all(after < before for before, after in pairwise(losses))
    for before, after in pairwise(steps):
        for one in model.space.layers:
            for members in one.members:
                gone = set(one.genes(before)[members]) - set(one.genes(after)[members])
                assert sum(row < one.rows for row in gone) <= 2
    # gains below LEAST_GAIN are left alone on the way
    assert model.loss(path(model, start)[-1]) <= losses[-1] * (1.0 + LEAST_GAIN)


def test_a_large_space_is_searched_by_short_descents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descend_module, "MOVES", 8)
    network = dense_network([9, 9, 4], 5, seed=6)
    evaluator = NetworkEvaluator(network, PROFILE, images=30)
    options = SearchOptions(population=8, evaluations=80, random_maps=2)
    result = search(network, PROFILE, evaluator, options, seed=1)
    assert result.loss < min(b.loss for b in result.baselines)
    check(result.schedule, network)


def test_too_many_images_are_split_for_search_and_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_module, "FEWEST_SEARCHED", 20)
    monkeypatch.setattr(prepare_module, "IMAGE_WORK", 1.0)
    network = dense_network([6, 3], 5, seed=4)
    evaluator = NetworkEvaluator(network, PROFILE, images=50)
    first, second, notes = split(network, PROFILE, evaluator, seed=7)
    assert notes == ["Searched on 20 of 50 calibration images; 20 others chose the winner."]
    assert isinstance(first, Pictured)
    assert isinstance(second, Pictured)
    seen = {one.tobytes() for one in first.codes}
    assert len(first.labels) == len(second.labels) == 20
    assert not seen & {one.tobytes() for one in second.codes}
    assert seen <= {one.tobytes() for one in evaluator.codes}
    again, _, _ = split(network, PROFILE, evaluator, seed=7)
    assert isinstance(again, Pictured)
    assert np.array_equal(again.codes, first.codes)
    # where two parts would be all there is, all of it is searched on
    few = NetworkEvaluator(network, PROFILE, images=40)
    assert split(network, PROFILE, few, seed=7) == (few, None, [])
    options = SearchOptions(population=8, evaluations=40, random_maps=2)
    result = search(network, PROFILE, evaluator, options, seed=7)
    assert result.notes[0] == notes[0]
    judged = [part.judge_many([result.schedule])[0].loss for part in (first, second)]
    assert result.loss == pytest.approx(sum(judged) / 2)
