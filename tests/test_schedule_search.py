"""The search against enumeration, its seeds, its baselines, and everything that ends it early."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest

from hascodesign.contract.array import least_passes
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import Fault, FaultProfile, IntArray, Schedule
from hascodesign.engine.network import Evaluator
from hascodesign.schedule import prepare as prepare_module
from hascodesign.schedule.assign import assign, separable_cost
from hascodesign.schedule.baselines import rule_costs
from hascodesign.schedule.cost import plain_costs, row_costs
from hascodesign.schedule.evolve import search
from hascodesign.schedule.formats import check, to_json
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.prepare import prepare
from hascodesign.schedule.protocols import silent
from hascodesign.schedule.space import Space, make_space
from tests.schedule_stand_in import (
    ARRAY,
    NETWORK,
    PROFILE,
    SMALL,
    CostedTableEvaluator,
    Judgement,
    NetworkEvaluator,
    TableEvaluator,
    dense_network,
    tables,
)


def every_schedule(space: Space) -> Iterator[IntArray]:
    """All distinct canonical chromosomes of a tiny space."""
    parts = []
    for layer in space.layers:
        alone = Space(space.array, (replace(layer, start=0),))
        distinct = {}
        for order in permutations(range(layer.slots)):
            canonical = alone.canonical(np.array(order))
            distinct[canonical.tobytes()] = canonical
        parts.append(list(distinct.values()))
    for combination in product(*parts):
        yield np.concatenate(combination)


@pytest.mark.parametrize("seed", range(4))
def test_the_assignment_is_the_optimum_of_all_maps(seed: int) -> None:
    space = make_space(NETWORK, PROFILE)
    costs = row_costs(space, CostedTableEvaluator(tables(seed)), silent)
    every = [separable_cost(space, costs, c) for c in every_schedule(space)]
    found = assign(space, costs)
    assert found.cost == pytest.approx(min(every), abs=1e-12)
    assert found.cost < np.median(every)


@pytest.mark.parametrize("seed", range(4))
def test_the_search_finds_the_optimum_of_a_separable_loss_with_no_gap(seed: int) -> None:
    evaluator = CostedTableEvaluator(tables(seed))
    space = make_space(NETWORK, PROFILE)
    optimum = min(
        j.loss for j in evaluator.judge_many([space.decode(c) for c in every_schedule(space)])
    )
    result = search(NETWORK, PROFILE, evaluator, SMALL, seed=seed)
    assert result.loss == pytest.approx(optimum, abs=1e-12)
    assert result.bound == pytest.approx(optimum - 1.0, abs=1e-12)
    assert result.gap == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("seed", range(2))
def test_the_search_finds_the_true_optimum_of_a_real_faulty_network(seed: int) -> None:
    network = dense_network([5, 3], 5, seed=10 + seed)
    evaluator = NetworkEvaluator(network, PROFILE, images=15)
    space = make_space(network, PROFILE)
    every = evaluator.judge_many([space.decode(c) for c in every_schedule(space)])
    options = replace(SMALL, evaluations=800)
    result = search(network, PROFILE, evaluator, options, seed=seed)
    assert result.evaluations <= 800 < len(every)
    assert result.loss == min(j.loss for j in every)
    assert result.gap >= 0.0


def test_the_search_passes_the_assignment_where_the_loss_is_not_separable() -> None:
    def together(schedule: Schedule) -> float:
        # the two cheapest rows must not both be on faulty PEs
        bad = {int(r) for r in schedule.layers[0].slots[:, [1, 2]].reshape(-1)}
        return 5.0 if cheap <= bad else 0.0

    costs = tables(5)
    costs[0][:, 1:3] = np.arange(6)[:, None] * 0.1 + 0.1
    cheap = {0, 1}
    result = search(NETWORK, PROFILE, CostedTableEvaluator(costs, together), SMALL, seed=1)
    assignment = next(b for b in result.baselines if b.name == "assignment")
    assert assignment.loss > 5.0
    assert result.loss < 3.0
    assert result.gap > 0.0


def test_costs_by_judging_equal_those_offered() -> None:
    table = tables(7)
    space = make_space(NETWORK, PROFILE)
    judged = row_costs(space, TableEvaluator(table), silent)
    offered = row_costs(space, CostedTableEvaluator(table), silent)
    for mine, theirs in zip(judged, offered, strict=True):
        assert np.allclose(mine, theirs, atol=1e-12)
        assert mine[:, 0].max() == 0.0 < mine[:, 1:].min()


def test_costs_where_no_pe_is_healthy_order_the_rows() -> None:
    faults = tuple(Fault(pe=p, kind="sa0", site="psum", bit=p) for p in range(4))
    table = tables(8, (0, 1, 2, 3))
    space = make_space(NETWORK, FaultProfile(ARRAY, faults))
    costs = row_costs(space, TableEvaluator(table), silent)
    # a separable loss: exchanges tell the costs up to what the exchanged rows cost anyway
    assert all(cost.min() >= 0.0 for cost in costs)
    best = assign(space, costs).chromosome
    every = [separable_cost(space, costs, c) for c in every_schedule(space)]
    assert separable_cost(space, costs, best) == pytest.approx(min(every), abs=1e-12)


def test_never_worse_than_its_seeds_and_baselines() -> None:
    rng = np.random.default_rng(3)
    noise = {}

    def rough(schedule: Schedule) -> float:
        return noise.setdefault(to_json(schedule), rng.exponential(3.0))

    result = search(NETWORK, PROFILE, CostedTableEvaluator(tables(1), rough), SMALL, seed=4)
    assert [b.name for b in result.baselines] == [
        "identity",
        *(f"random_{i:02d}" for i in range(5)),
        "assignment",
    ]
    assert result.loss <= min(b.loss for b in result.baselines)


def test_the_result_is_a_schedule_and_says_what_it_took() -> None:
    seen: list[tuple[str, int, int]] = []
    evaluator = NetworkEvaluator(NETWORK, PROFILE)
    result = search(NETWORK, PROFILE, evaluator, SMALL, 2, lambda *step: seen.append(step))
    check(result.schedule, NETWORK)
    assert [m.passes for m in result.schedule.layers] == [2, 1]
    assert 0 < result.evaluations <= SMALL.evaluations
    assert list(result.history) == sorted(result.history, reverse=True)
    assert seen[-1] == ("search", result.evaluations, SMALL.evaluations)
    assert {what for what, _, _ in seen} == {"loss model", "search"}


def test_same_seed_same_schedule_another_seed_other_random_maps() -> None:
    evaluator = NetworkEvaluator(NETWORK, PROFILE, images=15)
    options = replace(SMALL, evaluations=60)

    def run(seed: int) -> tuple[bytes, float, list[float]]:
        result = search(NETWORK, PROFILE, evaluator, options, seed)
        return to_json(result.schedule), result.loss, [b.loss for b in result.baselines]

    first = run(5)
    assert run(5) == first
    assert run(6)[2][1:-1] != first[2][1:-1]


def test_spare_passes_leave_bad_pes_idle() -> None:
    evaluator = CostedTableEvaluator(tables(4))
    options = SearchOptions(population=8, generations=6, evaluations=300, extra_passes=1)
    result = search(NETWORK, PROFILE, evaluator, options, seed=1)
    assert result.loss == 1.0
    assert result.bound == 0.0
    assert [m.passes for m in result.schedule.layers] == [3, 2]
    plain = result.baselines[0]
    assert [m.passes for m in plain.schedule.layers] == [2, 1]


@pytest.mark.parametrize("seed", range(3))
def test_with_a_spare_pass_the_worst_pe_is_left_idle_and_without_it_works(seed: int) -> None:
    network = dense_network([8, 3], 5, seed=4)
    faults = tuple(Fault(pe=pe, kind="sa1", site="psum", bit=4 + pe) for pe in (1, 2, 3))
    profile = FaultProfile(ARRAY, faults)
    rng = np.random.default_rng(seed)
    # every row on PE 1 costs more than any two elsewhere; 8 rows do not fit in 2 passes without it
    costs = [
        np.stack([np.zeros(rows), 5 + rng.random(rows), rng.random(rows), rng.random(rows)], axis=1)
        for rows in (8, 3)
    ]
    evaluator = CostedTableEvaluator(costs)
    tight = search(network, profile, evaluator, SMALL, seed=seed).schedule
    assert [np.count_nonzero(m.slots[:, 1] >= 0) for m in tight.layers] == [2, 0]
    result = search(network, profile, evaluator, replace(SMALL, extra_passes=1), seed=seed)
    assert [np.count_nonzero(m.slots[:, 1] >= 0) for m in result.schedule.layers] == [0, 0]
    best = sum(
        min(
            sum(cost[row, pe] for row, pe in enumerate(pes))
            for pes in product((0, 2, 3), repeat=len(cost))
            if max(np.bincount(pes)) <= passes
        )
        for cost, passes in zip(costs, (3, 2), strict=True)
    )
    assert result.loss == pytest.approx(1.0 + best, abs=1e-12)


def test_the_selection_images_choose_among_the_finalists() -> None:
    first = CostedTableEvaluator(tables(11))
    # what the search likes best is bad on the selection images
    best = search(NETWORK, PROFILE, first, SMALL, seed=1)
    liked = to_json(best.schedule)
    second = TableEvaluator(tables(11), lambda s: 9.0 if to_json(s) == liked else 0.0)
    result = search(NETWORK, PROFILE, first, SMALL, seed=1, selection=second)
    assert to_json(result.schedule) != liked
    assert result.loss <= min(b.loss for b in result.baselines)
    again = first.judge_many([result.schedule])[0].loss
    assert again > best.loss
    assert result.loss == pytest.approx((again + second.judge_many([result.schedule])[0].loss) / 2)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("population", 3, "population must be 4 or more, not 3"),
        ("evaluations", 0, "evaluations must be 1 or more, not 0"),
        ("extra_passes", -1, "extra_passes must be 0 or more, not -1"),
        ("seconds", 0.0, "seconds must be above 0, not 0.0"),
        ("crossover", 1.5, r"crossover must be in \[0, 1\], not 1.5"),
        ("swaps", 0.0, "swaps must be above 0, not 0.0"),
    ],
)
def test_options_out_of_range_are_refused(field: str, value: float, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SearchOptions(**{field: value})


def test_too_many_kinds_of_slots_are_costed_by_rule() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare_module, "MOST_PAIRS", 10)
        evaluator = NetworkEvaluator(NETWORK, PROFILE, images=20)
        result = search(NETWORK, PROFILE, evaluator, SMALL, seed=1)
    assert result.notes[0] == prepare_module.BY_RULE
    assert result.loss <= min(b.loss for b in result.baselines)
    costs = rule_costs(NETWORK, PROFILE, make_space(NETWORK, PROFILE))
    saliency = np.abs(NETWORK.layers[0].weights).sum(axis=1)
    # PE 1: psum bit 7 at each of 2 steps; PE 2: product bit 6
    assert np.array_equal(costs[0], np.outer(saliency, [0, 256, 128]))


def test_stand_in_judgement_has_what_the_search_reads() -> None:
    assert Judgement(0.5, 1, 2).n == 2
    assert least_passes(6, 4) == 2


@pytest.mark.parametrize("modelled", [False, True])
def test_the_better_of_two_assignments_is_taken(modelled: bool) -> None:
    better = []
    for seed in (3, 5, 7, 11):
        network = dense_network([9, 9, 4], 5, seed=seed)
        pictures = NetworkEvaluator(network, PROFILE, images=60)
        exact = Evaluator(network, PROFILE, pictures.codes, pictures.labels)
        evaluator = pictures if modelled else exact
        run = prepare(network, PROFILE, evaluator, SMALL, silent, None)
        assert (run.model is not None) == modelled
        plain = plain_costs(run.space, exact) if run.model is None else run.model.costs(None, 1.0)
        both = (run.assigned.chromosome, assign(run.space, plain).chromosome)
        losses = [j.loss for j in exact.judge_many([run.space.decode(one) for one in both])]
        better.append(int(np.argmin(losses)))
        assert np.array_equal(run.best_assignment, both[better[-1]])
    assert set(better) == {0, 1}
