"""The search against enumeration, its seeds, its baselines, its spare passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations, product

import numba
import numpy as np
import pytest

from hascodesign.contract.errors import ConfigError
from hascodesign.contract.results import MOVES
from hascodesign.contract.types import Fault, FaultProfile, IntArray, Schedule
from hascodesign.engine.loss import MOST, SHARPNESS, cross_entropy
from hascodesign.schedule.assign import assign_layer
from hascodesign.schedule.evolve import KEPT, problem_of, search
from hascodesign.schedule.fitness import Fitness
from hascodesign.schedule.fitting.network import looked_at
from hascodesign.schedule.fitting.search import MapSearch
from hascodesign.schedule.formats import check, to_json
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.problem import silent
from hascodesign.schedule.space import Space, make_space
from hascodesign.schedule.spare import budget, spread_passes
from tests.schedule_stand_in import (
    NETWORK,
    PROFILE,
    SMALL,
    array,
    by_table,
    dense_network,
    on_classes,
    pictures,
    separable,
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
    costs = on_classes(space, tables(seed))
    every = [separable(space, costs, c) for c in every_schedule(space)]
    layers = zip(space.layers, costs, strict=True)
    found = np.concatenate([assign_layer(layer, cost) for layer, cost in layers])
    assert separable(space, costs, found) == pytest.approx(min(every), abs=1e-12)
    assert min(every) < np.median(every)


def test_an_assignment_may_keep_to_the_first_slots() -> None:
    (layer, _) = make_space(NETWORK, PROFILE, extra_passes=1).layers
    genes = assign_layer(layer, tables(1)[0][:, :3], 8)
    assert sorted(genes[:8][genes[:8] < layer.rows]) == list(range(layer.rows))
    assert sorted(genes) == list(range(layer.slots))


def made(evaluator, moves=()) -> MapSearch:
    return MapSearch(problem_of(evaluator, SMALL, 1), moves, 1)


def best_of(maps: MapSearch, judge, options: SearchOptions) -> Fitness:
    fitness = Fitness(maps.problem.space, judge, options.evaluations)
    maps.maps(fitness, options, [])
    return fitness


@pytest.mark.parametrize("seed", range(4))
def test_maps_of_a_separable_loss_are_searched_to_the_optimum(seed: int) -> None:
    maps = made(pictures(NETWORK, PROFILE))
    judge = by_table(maps.problem.space, tables(seed))
    every = judge(list(every_schedule(maps.problem.space)))
    options = replace(SMALL, generations=60, plateau=60, evaluations=600)
    fitness = best_of(maps, judge, options)
    assert fitness.evaluations <= 600 < len(every)
    assert fitness.best.loss == pytest.approx(min(every), abs=1e-12)


@pytest.mark.parametrize("seed", range(2))
def test_maps_of_a_real_faulty_network_are_searched_to_the_optimum(seed: int) -> None:
    network = dense_network([5, 3], 5, seed=10 + seed)
    maps = made(pictures(network, PROFILE, images=15))
    options = replace(SMALL, generations=80, plateau=80, evaluations=800)
    fitness = maps.fitness(options, silent)
    every = fitness.judge(list(every_schedule(maps.problem.space)))
    maps.maps(fitness, options, [])
    assert fitness.evaluations <= 800 < len(every)
    assert fitness.best.loss == min(every)


def test_the_search_passes_the_assignment_where_the_loss_is_not_separable() -> None:
    def together(schedule: Schedule) -> float:
        # the two cheapest rows must not both be on faulty PEs
        bad = {int(r) for r in schedule.layers[0].slots[:, [1, 2]].reshape(-1)}
        return 5.0 if {0, 1} <= bad else 0.0

    costs = tables(5)
    costs[0][:, 1:3] = np.arange(6)[:, None] * 0.1 + 0.1
    maps = made(pictures(NETWORK, PROFILE))
    space = maps.problem.space
    judge = by_table(space, costs, together)
    layers = zip(space.layers, on_classes(space, costs), strict=True)
    assigned = np.concatenate([assign_layer(layer, cost) for layer, cost in layers])
    assert judge([assigned])[0] > 5.0
    assert best_of(maps, judge, SMALL).best.loss < 3.0


def by_name(result) -> dict[str, float]:
    return {b.name: b.loss for b in result.baselines}


@pytest.mark.parametrize("moves", [(), MOVES])
def test_never_worse_than_its_baselines(moves) -> None:
    starts = [random_map(3)]
    for seed in range(3):
        result = search(
            pictures(NETWORK, PROFILE), replace(SMALL, moves=moves), seed, starts=starts
        )
        losses = by_name(result)
        assert list(losses) == [
            "identity",
            *(f"random_{i:02d}" for i in range(5)),
            "assignment",
            "start_00",
        ]
        whole = [losses[name] for name in ("identity", "assignment", "start_00")]
        assert result.loss <= min(whole)


def random_map(seed: int) -> Schedule:
    space = make_space(NETWORK, PROFILE)
    return space.decode(space.random(np.random.default_rng(seed)))


def test_a_map_in_use_stays_where_it_serves() -> None:
    """Not where the faults harm it, nor where a PE of which nothing is known has a row."""
    options, healthy = replace(SMALL, moves=()), replace(PROFILE, faults=())
    broken = replace(PROFILE, faults=tuple(Fault(pe, "flip", "psum", None, 12) for pe in (0, 2)))
    deep = make_space(NETWORK, PROFILE, 1)
    in_use = deep.decode(deep.random(np.random.default_rng(3)))
    kept = search(pictures(NETWORK, healthy), options, 1, in_use=in_use)
    assert kept.schedule == in_use and KEPT in kept.notes
    for profile, idle in ((broken, ()), (healthy, (0,))):
        found = search(pictures(NETWORK, profile), options, 1, in_use=in_use, idle=idle)
        assert KEPT not in found.notes
        assert [m.passes for m in found.schedule.layers] == [m.passes for m in in_use.layers]
        assert found.loss <= by_name(found)["start_00"]


def test_losses_are_of_the_images_that_are_looked_at() -> None:
    evaluator = pictures(NETWORK, PROFILE)
    result = search(evaluator, SMALL, seed=1)
    judged = evaluator.judge(result.schedule)
    assert result.loss == pytest.approx(judged.loss, abs=1e-12)
    assert result.healthy_loss == pytest.approx(evaluator.healthy_judgement().loss, abs=1e-12)
    few = made(evaluator).judged
    assert 0 < len(few.labels) < len(evaluator.labels)
    drawn = [b for b in result.baselines if b.name.startswith("random_")]
    on_few = [one.loss for one in few.evaluator().judge_many([b.schedule for b in drawn])]
    assert [b.loss for b in drawn] == on_few
    best = drawn[int(np.argmin(on_few))]
    assert result.loss <= evaluator.judge(best.schedule).loss


def test_a_large_network_is_looked_at_on_fewer_images(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = pictures(NETWORK, PROFILE)
    count, macs = len(evaluator.labels), NETWORK.macs
    assert len(looked_at(macs, count, 1)[0]) == count > 12
    monkeypatch.setattr("hascodesign.schedule.fitting.network.FEWEST", 3)
    monkeypatch.setattr("hascodesign.schedule.fitting.network.PRODUCTS", 12.5 * macs)
    monkeypatch.setattr("hascodesign.schedule.evolve.RANDOM_FEWEST", 2)
    assert len(looked_at(macs, count, 1)[0]) == 12
    assert len(looked_at(100 * macs, count, 1)[0]) == 3
    assert len(made(evaluator).problem.labels) == 12
    result = search(evaluator, SMALL, seed=1)
    first = made(evaluator).judged.on(slice(0, 2))
    drawn = [b for b in result.baselines if b.name.startswith("random_")]
    judged = first.evaluator().judge_many([b.schedule for b in drawn])
    assert [b.loss for b in drawn] == [one.loss for one in judged]


def test_the_result_is_a_schedule_and_says_what_it_took() -> None:
    seen: list[tuple[str, int, int]] = []
    result = search(pictures(NETWORK, PROFILE), SMALL, 2, lambda *step: seen.append(step))
    check(result.schedule, NETWORK)
    assert [m.passes for m in result.schedule.layers] == [2, 1]
    assert 0 < result.evaluations <= SMALL.evaluations
    assert list(result.history) == sorted(result.history, reverse=True)
    assert {what for what, _, _ in seen} == {"rows", "search"}


def test_same_seed_same_schedule_another_seed_other_random_maps() -> None:
    evaluator = pictures(NETWORK, PROFILE, images=15)
    options = replace(SMALL, evaluations=60)

    def run(seed: int) -> tuple[bytes, float, list[float]]:
        result = search(evaluator, options, seed)
        return to_json(result.schedule), result.loss, [b.loss for b in result.baselines]

    first = run(5)
    assert run(5) == first
    assert run(6)[2][1:-1] != first[2][1:-1]


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="numba has one thread only")
def test_the_same_rows_with_any_number_of_threads() -> None:
    network = dense_network([9, 9, 4], 7, seed=6)
    evaluator = pictures(network, PROFILE, images=60)
    before, found = numba.get_num_threads(), []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        try:
            maps = made(evaluator, MOVES)
            schedule = maps.problem.space.decode(maps.problem.space.identity())
            rows = [maps.first, maps.writer.on_map(schedule)]
        finally:
            numba.set_num_threads(before)
        arrays = [
            part.tobytes()
            for one in rows
            for layer in one.network.layers
            for part in (layer.weights, layer.bias)
        ]
        found.append([to_json(one.schedule) for one in rows] + arrays)
    assert found[0] == found[1]


# ------------------------------------------------------------------------------------ spare passes


def test_spare_passes_leave_bad_pes_idle() -> None:
    options = SearchOptions(population=8, generations=6, evaluations=300, extra_passes=1)
    result = search(pictures(NETWORK, PROFILE), options, seed=1)
    assert by_name(result)["assignment"] == result.healthy_loss >= result.loss
    assert [m.passes for m in result.schedule.layers] == [3, 2]
    plain = result.baselines[0]
    assert [m.passes for m in plain.schedule.layers] == [2, 1]


@pytest.mark.parametrize(("moves", "most"), [((), (8, 4)), (MOVES, (8, 3))])
def test_spare_passes_go_where_they_help(moves, most) -> None:
    # one healthy PE of four: 8 rows take 8 passes there, 4 rows 4
    network = replace(dense_network([8, 4], 5, seed=4), logit_scale=0.2 / SHARPNESS)
    faults = tuple(
        Fault(pe=p, kind="flip", site="psum", bit=b) for p, b in ((0, 5), (1, 7), (3, 6))
    )
    profile = FaultProfile(array(), faults)
    evaluator = pictures(network, profile, images=40)
    assert budget(network, 4, 0.5) == 1
    assert spread_passes(evaluator, moves, 0, 1) == (2, 1)
    # the layer of the logits wins the most by one pass
    assert spread_passes(evaluator, moves, 1, 1) == (2, 2)
    # beyond all rows on the healthy PE there is nothing to win
    assert spread_passes(evaluator, moves, 99, 1) == most
    options = SearchOptions(evaluations=60, random_maps=3, spare_passes=0.4, moves=moves)
    result = search(evaluator, options, seed=1)
    assert [m.passes for m in result.schedule.layers] == [2, 2]
    least = search(evaluator, replace(options, spare_passes=0.0), seed=1)
    assert moves or result.loss < least.loss


# ----------------------------------------------------------------------------------------- options


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


def test_bad_spare_passes_are_refused() -> None:
    with pytest.raises(ConfigError, match="spare_passes must be 0 or more"):
        SearchOptions(spare_passes=-0.5)


def test_a_longer_search_has_more_of_everything() -> None:
    longer = SearchOptions(evaluations=7, seconds=3.0).longer(10)
    assert (longer.evaluations, longer.seconds, longer.times) == (70, 30.0, 10)
    assert longer.generations == 10 * SearchOptions().generations


def test_the_loss_of_one_image_is_bounded() -> None:
    logits, labels = np.array([[0, 900], [2, 0], [0, 0]]), np.zeros(3, dtype=np.int64)
    losses = cross_entropy(logits, labels, 1.0)
    assert losses == pytest.approx([MOST, np.log1p(np.exp(-2.0 * SHARPNESS)), np.log(2.0)])
