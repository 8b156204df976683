"""pymoo's NSGA-II on slot maps and passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.core.repair import Repair
from pymoo.core.termination import NoTermination

from hascodesign.contract.array import generator
from hascodesign.contract.types import IntArray, Schedule
from hascodesign.schedule.fitness import SearchStopped
from hascodesign.schedule.individuals import FrontJudge, Individuals
from hascodesign.schedule.operators import MapCrossover, SameResult, SwapMutation
from hascodesign.schedule.options import SearchOptions

GENERATIONS = 200  # at most; the evaluations end it sooner
PLATEAU = 15  # generations without a new point that end it


class _FrontProblem(Problem):
    def __init__(self, subject: Individuals, judge: FrontJudge) -> None:
        genes = subject.space.genes + len(subject.least)
        super().__init__(n_var=genes, n_obj=len(subject.objectives), vtype=int)
        self.space = subject.space
        self.subject, self.judge = subject, judge

    def _evaluate(self, x: IntArray, out: dict[str, Any], *_args: Any, **_kwargs: Any) -> None:
        out["F"] = self.judge.values(x)


class _PassesCrossover(MapCrossover):
    """Maps as in the single-objective search; each layer's passes from one of the parents."""

    def _do(
        self,
        problem: _FrontProblem,
        x: IntArray,
        *_args: Any,
        random_state: np.random.Generator,
        **_kwargs: Any,
    ) -> IntArray:
        children = super()._do(problem, x, random_state=random_state)
        counts = x[..., problem.space.genes :]
        take = random_state.random(counts.shape[1:]) < 0.5
        children[0, :, problem.space.genes :] = np.where(take, counts[1], counts[0])
        children[1, :, problem.space.genes :] = np.where(take, counts[0], counts[1])
        return children


class _PassesMutation(SwapMutation):
    """Swaps, and in every other child one pass more or less in one layer."""

    def _do(
        self,
        problem: _FrontProblem,
        x: IntArray,
        *_args: Any,
        random_state: np.random.Generator,
        **_kwargs: Any,
    ) -> IntArray:
        mutated = super()._do(problem, x, random_state=random_state)
        genes = problem.space.genes
        for individual in mutated:
            if random_state.random() < 0.5:
                place = genes + int(random_state.integers(individual.size - genes))
                individual[place] += 1 if random_state.random() < 0.5 else -1
        return mutated


class _Repaired(Repair):
    def _do(self, problem: _FrontProblem, x: IntArray, **_kwargs: Any) -> IntArray:
        return np.stack([problem.subject.repaired(individual) for individual in x])


def evolve_front(
    subject: Individuals,
    judge: FrontJudge,
    given: Sequence[Schedule],
    options: SearchOptions,
    seed: int,
) -> list[str]:
    """NSGA-II until its evaluations, its generations or its plateau end it; what it has to say.

    It begins at the given schedules, the first of which is the best of the least passes, and at
    assignments with more.
    """
    try:
        starts = [*subject.seeds(given[0]), *(subject.placed(one) for one in given[1:])]
        seeds = np.stack(list({x.tobytes(): x for x in starts}.values()))
        judge.values(seeds)
        if not subject.space.alike:  # else only the passes differ, and the seeds have them all
            _generations(subject, judge, seeds, options, seed)
    except SearchStopped as stopped:
        if stopped.for_good:
            return [f"Stopped early: {stopped.reason}; this is the front so far."]
    return []


def _generations(
    subject: Individuals, judge: FrontJudge, seeds: IntArray, options: SearchOptions, seed: int
) -> None:
    algorithm = NSGA2(
        pop_size=max(options.population, len(seeds)),
        sampling=seeds,
        crossover=_PassesCrossover(options.crossover),
        mutation=_PassesMutation(subject.space, subject.costs, options.swaps),
        repair=_Repaired(),
        eliminate_duplicates=SameResult(),
    )
    rng = generator(seed, "schedule front")
    problem = _FrontProblem(subject, judge)
    algorithm.setup(problem, termination=NoTermination(), seed=int(rng.integers(2**31)))
    waited, known = 0, {x.tobytes() for x in judge.front()}
    for _ in range(GENERATIONS):
        algorithm.next()
        found = {x.tobytes() for x in judge.front()}
        waited, known = (waited + 1 if found == known else 0), found
        if waited >= PLATEAU or algorithm.termination.force_termination:
            return
