"""The search against enumeration, its seeds, its baselines, and everything that ends it early."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest

from hascodesign.array import least_passes
from hascodesign.errors import ConfigError
from hascodesign.schedule import prepare as prepare_module
from hascodesign.schedule.assign import assign, separable_cost
from hascodesign.schedule.baselines import rule_costs
from hascodesign.schedule.cost import row_costs
from hascodesign.schedule.evolve import ALIKE, search
from hascodesign.schedule.fitness import Candidate, Fitness, SearchStopped, by_network
from hascodesign.schedule.formats import check, to_json
from hascodesign.schedule.judging import win_note
from hascodesign.schedule.operators import MapCrossover, ScheduleProblem, SwapMutation
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.polish import neighbours, polish
from hascodesign.schedule.protocols import silent
from hascodesign.schedule.space import Space, make_space
from hascodesign.types import Fault, FaultProfile, IntArray, Schedule
from tests.schedule_stand_in import (
    CostedTableEvaluator,
    Judgement,
    NetworkEvaluator,
    TableEvaluator,
    array,
    dense_network,
)

NETWORK = dense_network([6, 3], 5, seed=1)
ARRAY = array()
FAULTS = (
    Fault(pe=1, kind="sa1", site="psum", bit=7),
    Fault(pe=2, kind="sa1", site="product", simd=1, bit=6),
)
PROFILE = FaultProfile(ARRAY, FAULTS)
SMALL = SearchOptions(population=8, generations=6, evaluations=300, random_maps=5)


def tables(seed: int, pes: tuple[int, ...] = (1, 2)) -> list[np.ndarray]:
    """Row costs that are 0 on healthy PEs."""
    rng = np.random.default_rng(seed)
    out = []
    for layer in NETWORK.layers:
        table = np.zeros((layer.rows, ARRAY.pe))
        table[:, pes] = rng.exponential(1.0, (layer.rows, len(pes)))
        out.append(table)
    return out


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


def test_each_distinct_schedule_is_evaluated_once() -> None:
    evaluator = TableEvaluator(tables(2))
    space = make_space(NETWORK, PROFILE)
    fitness = Fitness(space, by_network(space, evaluator), limit=100)
    rng = np.random.default_rng(0)
    chromosome = space.random(rng)
    twin = chromosome.copy()
    twin[[0, 3]] = twin[[3, 0]]  # both on healthy PEs
    assert np.ptp(fitness.losses([chromosome, twin, chromosome])) == 0.0
    fitness.losses([twin])
    assert fitness.evaluations == 1
    assert evaluator.batches == [1]


def test_the_limit_on_evaluations_holds_exactly() -> None:
    evaluator = CostedTableEvaluator(tables(2))
    options = SearchOptions(population=8, generations=50, plateau=50, evaluations=29)
    result = search(NETWORK, PROFILE, evaluator, options, seed=1)
    assert result.evaluations <= 29
    space = make_space(NETWORK, PROFILE)
    fitness = Fitness(space, by_network(space, evaluator), limit=3)
    rng = np.random.default_rng(0)
    with pytest.raises(SearchStopped, match="all 3 evaluations are used"):
        fitness.losses([space.random(rng) for _ in range(9)])
    assert fitness.evaluations == 3
    assert fitness.best is not None


@pytest.mark.parametrize("after", [8, 30, 60])
def test_ctrl_c_gives_the_best_so_far(after: int) -> None:
    evaluator = CostedTableEvaluator(tables(3), interrupt_after=after)
    options = SearchOptions(population=12, generations=50, plateau=50, random_maps=0)

    with pytest.MonkeyPatch.context() as patch:
        result = _search_and_forget_the_interrupt(evaluator, options, patch)
    assert any("Stopped by Ctrl-C" in note for note in result.notes)
    assert result.loss <= min(b.loss for b in result.baselines)


def _search_and_forget_the_interrupt(evaluator, options, patch):  # type: ignore[no-untyped-def]
    judge = evaluator.judge_many

    def once(schedules):  # type: ignore[no-untyped-def]
        try:
            return judge(schedules)
        except KeyboardInterrupt:
            evaluator.interrupt_after = None
            raise

    patch.setattr(evaluator, "judge_many", once)
    return search(NETWORK, PROFILE, evaluator, options, seed=1)


def test_the_time_limit_stops_and_says_so() -> None:
    evaluator = CostedTableEvaluator(tables(3))
    options = SearchOptions(seconds=1e-9, random_maps=2)
    result = search(NETWORK, PROFILE, evaluator, options, seed=1)
    assert result.notes[0].startswith("Stopped early: the time limit of 1e-09 s is reached")
    assert result.loss <= min(b.loss for b in result.baselines)


def test_the_time_limit_spares_the_first_proposals_of_the_model() -> None:
    evaluator = NetworkEvaluator(NETWORK, PROFILE, images=15)
    options = SearchOptions(seconds=1e-9, random_maps=0)
    result = search(NETWORK, PROFILE, evaluator, options, seed=1)
    assert result.notes[0].startswith("Stopped early: the time limit")
    assert 0 < result.evaluations <= options.finalists
    assert result.loss < min(b.loss for b in result.baselines)


def test_alike_pes_are_said_in_one_sentence_and_not_searched() -> None:
    evaluator = NetworkEvaluator(NETWORK, FaultProfile(ARRAY))
    result = search(NETWORK, FaultProfile(ARRAY), evaluator, SMALL, seed=1)
    assert result.notes == (ALIKE,)
    assert result.evaluations == 0
    assert (result.bound, result.gap) == (0.0, 0.0)
    assert result.loss == evaluator.healthy_judgement().loss
    assert len({b.loss for b in result.baselines}) == 1


class Answers:
    """Logits by number of the row that PE 0 takes first, to set each image's loss by hand."""

    def __init__(self, margins: dict[int, list[float]]) -> None:
        self.margins = margins
        self.labels = np.zeros(len(margins[0]), dtype=np.int64)

    def logits(self, schedule: Schedule) -> IntArray:
        margin = np.array(self.margins[int(schedule.layers[0].slots[0, 0])])
        return np.stack([margin, np.zeros(len(margin))], axis=1).astype(np.int64)


def test_a_win_within_noise_is_said() -> None:
    space = make_space(NETWORK, PROFILE)
    swapped = space.identity()
    swapped[[0, 1]] = swapped[[1, 0]]
    plain, chosen = space.decode(space.identity()), space.decode(swapped)
    rng = np.random.default_rng(0)
    before = rng.integers(-100, 100, 40)
    sure = Answers({0: before.tolist(), 1: (before + 50 + rng.integers(0, 9, 40)).tolist()})
    assert win_note(NETWORK, (sure, None), plain, chosen) == []
    unsure = Answers({0: before.tolist(), 1: (before + rng.integers(-50, 50, 40)).tolist()})
    (note,) = win_note(NETWORK, (unsure, sure, object()), plain, plain)
    assert "wins 0.0000 nats" in note
    assert "80 calibration images" in note
    (note,) = win_note(NETWORK, (unsure,), plain, chosen)
    losses = [
        np.log1p(np.exp(-NETWORK.logit_scale * np.array(unsure.margins[row]))) for row in (0, 1)
    ]
    won = losses[0] - losses[1]
    margin = 1.96 * won.std(ddof=1) / 40**0.5
    assert f"wins {won.mean():.4f} nats" in note
    assert f"noise of {margin:.4f} nats" in note
    # the other way round it is a loss, and no win either
    assert len(win_note(NETWORK, (sure,), chosen, plain)) == 1


def test_spare_passes_leave_bad_pes_idle() -> None:
    evaluator = CostedTableEvaluator(tables(4))
    options = SearchOptions(population=8, generations=6, evaluations=300, extra_passes=1)
    result = search(NETWORK, PROFILE, evaluator, options, seed=1)
    assert result.loss == 1.0
    assert result.bound == 0.0
    assert [m.passes for m in result.schedule.layers] == [3, 2]
    plain = result.baselines[0]
    assert [m.passes for m in plain.schedule.layers] == [2, 1]


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


def test_children_are_permutations_and_swaps_change_the_result() -> None:
    space = make_space(NETWORK, PROFILE)
    problem = ScheduleProblem(Fitness(space, by_network(space, TableEvaluator(tables(1))), 10))
    rng = np.random.default_rng(0)
    parents = np.stack([[space.random(rng) for _ in range(20)] for _ in range(2)])
    children = MapCrossover(1.0)._do(problem, parents, random_state=rng)
    for mating in range(20):
        pair = parents[:, mating]
        for child, other in (children[:, mating], children[::-1, mating]):
            for layer in space.layers:
                assert sorted(layer.genes(child).tolist()) == list(range(layer.slots))
            # every entry stands where one of the parents had it, and the two share them out
            assert np.all((child == pair[0]) | (child == pair[1]))
            assert np.array_equal(np.sort([child, other], axis=0), np.sort(pair, axis=0))
    assert np.any(children != parents)
    costs = row_costs(space, CostedTableEvaluator(tables(1)), silent)
    for given in (None, costs):
        mutation = SwapMutation(space, given, swaps=1.0)
        mutated = mutation._do(problem, parents[0], random_state=rng)
        for before, after in zip(parents[0], mutated, strict=True):
            assert np.count_nonzero(before != after) == 2
            idle_only = all(
                np.minimum(layer.genes(before), layer.rows)[
                    layer.genes(before) != layer.genes(after)
                ].min(initial=layer.rows)
                == layer.rows
                for layer in space.layers
            )
            same = np.array_equal(space.canonical(before), space.canonical(after))
            assert same == idle_only


def test_neighbours_are_all_distinct_results_one_swap_away() -> None:
    space = make_space(NETWORK, PROFILE)
    costs = row_costs(space, CostedTableEvaluator(tables(1)), silent)
    chromosome = space.canonical(space.random(np.random.default_rng(4)))
    moves = neighbours(space, costs, chromosome)
    here = separable_cost(space, costs, chromosome)
    found = set()
    for first, second, added in zip(moves.first, moves.second, moves.added, strict=True):
        changed = chromosome.copy()
        changed[[first, second]] = changed[[second, first]]
        assert separable_cost(space, costs, changed) - here == pytest.approx(added, abs=1e-12)
        found.add(space.canonical(changed).tobytes())
    assert len(found) == moves.name.size == np.unique(moves.name).size
    expected = set()
    for layer in space.layers:
        for one, two in product(range(layer.slots), repeat=2):
            changed = chromosome.copy()
            pair = [layer.start + one, layer.start + two]
            changed[pair] = changed[pair[::-1]]
            expected.add(space.canonical(changed).tobytes())
    assert found == expected - {chromosome.tobytes()}


def test_the_polish_ends_where_no_swap_helps() -> None:
    evaluator = NetworkEvaluator(NETWORK, PROFILE)
    space = make_space(NETWORK, PROFILE)
    flat = [np.zeros((layer.rows, len(layer.members))) for layer in space.layers]
    fitness = Fitness(space, by_network(space, evaluator), limit=10_000)
    start = space.canonical(space.identity())
    begin = Candidate(start, float(fitness.losses([start])[0]))
    end = polish(fitness, flat, begin, patience=10_000)
    assert end.loss < begin.loss
    moves = neighbours(space, flat, end.chromosome)
    for first, second in zip(moves.first, moves.second, strict=True):
        changed = end.chromosome.copy()
        changed[[first, second]] = changed[[second, first]]
        assert fitness.losses([changed])[0] >= end.loss


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
        SearchOptions(**{field: value})  # type: ignore[arg-type]


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
