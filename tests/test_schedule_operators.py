"""The parts of the search: what counts as an evaluation, children, neighbours, the polish."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from hascodesign.schedule.evolve import search
from hascodesign.schedule.fitness import Candidate, Fitness, SearchStopped, by_network
from hascodesign.schedule.operators import MapCrossover, ScheduleProblem, SwapMutation
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.polish import neighbours, polish
from hascodesign.schedule.space import make_space
from tests.schedule_stand_in import (
    NETWORK,
    PROFILE,
    by_table,
    on_classes,
    pictures,
    separable,
    tables,
)


def test_each_distinct_schedule_is_evaluated_once() -> None:
    space = make_space(NETWORK, PROFILE)
    table, batches = by_table(space, tables(2)), []

    def judge(chromosomes):
        batches.append(len(chromosomes))
        return table(chromosomes)

    fitness = Fitness(space, judge, limit=100)
    rng = np.random.default_rng(0)
    chromosome = space.random(rng)
    twin = chromosome.copy()
    twin[[0, 3]] = twin[[3, 0]]  # both on healthy PEs
    assert np.ptp(fitness.losses([chromosome, twin, chromosome])) == 0.0
    fitness.losses([twin])
    assert fitness.evaluations == 1
    assert batches == [1]


def test_the_limit_on_evaluations_holds_exactly() -> None:
    options = SearchOptions(population=8, generations=50, plateau=50, evaluations=29)
    result = search(pictures(NETWORK, PROFILE), options, seed=1)
    assert 0 < result.evaluations <= 29
    space = make_space(NETWORK, PROFILE)
    fitness = Fitness(space, by_table(space, tables(2)), limit=3)
    rng = np.random.default_rng(0)
    with pytest.raises(SearchStopped, match="all 3 evaluations are used"):
        fitness.losses([space.random(rng) for _ in range(9)])
    assert fitness.evaluations == 3
    assert fitness.best is not None


def test_children_are_permutations_and_swaps_change_the_result() -> None:
    space = make_space(NETWORK, PROFILE)
    problem = ScheduleProblem(Fitness(space, by_table(space, tables(1)), 10))
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
    costs = on_classes(space, tables(1))
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
    costs = on_classes(space, tables(1))
    chromosome = space.canonical(space.random(np.random.default_rng(4)))
    moves = neighbours(space, costs, chromosome)
    here = separable(space, costs, chromosome)
    found = set()
    for first, second, added in zip(moves.first, moves.second, moves.added, strict=True):
        changed = chromosome.copy()
        changed[[first, second]] = changed[[second, first]]
        assert separable(space, costs, changed) - here == pytest.approx(added, abs=1e-12)
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
    evaluator = pictures(NETWORK, PROFILE)
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
