"""Several objectives at once: NSGA-II over slot maps and the passes that each layer may take.

An individual is a chromosome over as many slots as a layer may ever take, followed by the passes
that each layer does take. Slots past these are idle: rows found there move to idle slots before
them. What is minimised: the calibration loss ("accuracy"), the passes of all layers together, and
the modelled power.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.core.repair import Repair
from pymoo.core.termination import NoTermination
from scipy.optimize import linear_sum_assignment

from hascodesign import interrupt
from hascodesign.array import generator, least_passes
from hascodesign.schedule import evolve
from hascodesign.schedule.fitness import CHUNK, SearchStopped
from hascodesign.schedule.operators import MapCrossover, SameResult, SwapMutation
from hascodesign.schedule.options import ACCURACY, SearchOptions
from hascodesign.schedule.prepare import Run, prepare, split
from hascodesign.schedule.protocols import Evaluator, Progress, silent
from hascodesign.schedule.space import HEALTHY, LayerSpace, make_space
from hascodesign.types import (
    FaultProfile,
    FloatArray,
    Front,
    FrontPoint,
    IntArray,
    IntegerNetwork,
    Objective,
    RowMap,
    Schedule,
    SearchResult,
    frozen,
)

ALGORITHM = "assignment + loss model + pymoo GA + swap polish, then pymoo NSGA-II with passes"
GENERATIONS = 200  # at most; the evaluations end it sooner
PLATEAU = 15  # generations without a new point that end it


@dataclass(frozen=True, slots=True)
class PowerShares:
    """The modelled power at the profile's voltage, as shares of the power at nominal voltage."""

    dynamic: float  # while the array is busy with the least passes
    static: float
    label: str  # what the model is

    def of(self, cycles: float) -> float:
        """Mean power at a fixed rate of images; ``cycles`` relative to the least passes."""
        return self.dynamic * cycles + self.static


def search_front(
    network: IntegerNetwork,
    profile: FaultProfile,
    evaluator: Evaluator,
    options: SearchOptions,
    seed: int,
    power: PowerShares,
    progress: Progress = silent,
) -> SearchResult:
    """Front of loss, passes and power; the point of it that is rendered as the schedule.

    First the search for the least passes, then NSGA-II from its result and from assignments with
    more passes. A layer takes at most as many passes as put every row on a healthy PE, twice the
    least where that is fewer or no PE is healthy, or the least and `extra_passes` where these are
    set.

    Parameters
    ----------
    network, profile, evaluator, seed, progress : as for `evolve.search`.
    options : sizes; `objectives` of the front, and the points of calibration accuracy that may be
        given up for the others.
    power : of the array at the profile's voltage.

    References
    ----------
    K. Deb, A. Pratap, S. Agarwal, T. Meyarivan, "A fast and elitist multiobjective genetic
    algorithm: NSGA-II", IEEE Transactions on Evolutionary Computation 6 (2002),
    doi:10.1109/4235.996017.
    """
    start = time.monotonic()
    least = replace(options, objectives=(ACCURACY,), extra_passes=0, spare_passes=0.0)
    single = evolve.search(network, profile, evaluator, least, seed, progress)
    if single.interrupted:
        return single
    try:
        caps = most_passes(network, profile, options)
        searched, _, _ = split(network, profile, evaluator, seed)
        run = prepare(network, profile, searched, least, progress, None, caps)
        subject = _Subject(network, run, power, options.objectives)
        judge = _Judge(subject, _left(options, start), progress)
        notes = [*single.notes, *_evolve(subject, judge, single.schedule, options, seed)]
        schedules = [single.schedule, *(subject.decode(x) for x in judge.front())]
        front = _front(subject, evaluator, schedules, options.allowed_points)
        given = (network, profile, evaluator, least, seed, front.picked.schedule, progress)
        judged = evolve.judge_given(*given)
    except KeyboardInterrupt:
        note = "Stopped by Ctrl-C; this is the best schedule of the least passes."
        return replace(single, interrupted=True, notes=(*single.notes, note))
    return replace(
        judged,
        algorithm=ALGORITHM,
        evaluations=single.evaluations + judge.evaluations,
        seconds=time.monotonic() - start,
        history=single.history,
        notes=tuple(dict.fromkeys([*judged.notes, *notes])),
        front=front,
    )


def most_passes(
    network: IntegerNetwork, profile: FaultProfile, options: SearchOptions
) -> tuple[int, ...]:
    """Passes that each layer may take at the most; see `search_front`."""
    spec, space = profile.array, make_space(network, profile)
    most = []
    for layer, slots in zip(network.layers, space.layers, strict=True):
        least = least_passes(layer.rows, spec.pe)
        clean = (slots.classes == HEALTHY).reshape(-1, spec.pe).all(axis=0)
        healthy = int(np.count_nonzero(clean))
        enough = -(-layer.rows // healthy) if healthy else 2 * least
        extra = options.extra_passes
        most.append(least + extra if extra else min(2 * least, enough))
    # the banks must hold every layer's weights: the last layers give up their spare passes first
    steps = [slots.steps for slots in space.layers]
    for place in reversed(range(len(most))):
        least = space.layers[place].passes
        while spec.wmem_depth and most[place] > least and _dot(most, steps) > spec.wmem_depth:
            most[place] -= 1
    return tuple(most)


def _dot(passes: Sequence[int], each: Sequence[int]) -> int:
    return sum(count * one for count, one in zip(passes, each, strict=True))


def _left(options: SearchOptions, start: float) -> float | None:
    if options.seconds is None:
        return None
    return max(options.seconds - (time.monotonic() - start), 0.0)


# ------------------------------------------------------------------------------- individuals


class _Subject:
    """What an individual means, and its objectives."""

    def __init__(
        self,
        network: IntegerNetwork,
        run: Run,
        power: PowerShares,
        objectives: tuple[Objective, ...],
    ) -> None:
        self.run, self.space, self.power = run, run.space, power
        self.objectives = objectives
        self.pe = run.space.array.pe
        self.least = tuple(least_passes(layer.rows, self.pe) for layer in network.layers)
        outputs = [
            1 if one.conv is None else int(np.prod(one.conv.out_size)) for one in network.layers
        ]
        # cycles of one pass: steps times columns of an image
        self.cycles = [n * s.steps for n, s in zip(outputs, run.space.layers, strict=True)]

    def repaired(self, individual: IntArray) -> IntArray:
        """The same with every row on a slot that is used, rows ascending within a class."""
        out = individual.copy()
        for place, layer in enumerate(self.space.layers):
            count = int(np.clip(out[self.space.genes + place], self.least[place], layer.passes))
            out[self.space.genes + place] = count
            self._into(layer, layer.genes(out), count * self.pe, self.run.costs[place])
        return out

    def _into(self, layer: LayerSpace, genes: IntArray, kept: int, cost: FloatArray) -> None:
        """Bring the rows past the first ``kept`` slots to idle ones among them, in place."""
        genes[genes >= layer.rows] = layer.rows
        outside = genes[kept:][genes[kept:] < layer.rows]
        idle = np.flatnonzero(genes[:kept] == layer.rows)
        rows, slots = linear_sum_assignment(cost[outside][:, layer.classes[idle]])
        genes[idle[slots]] = outside[rows]
        genes[kept:] = layer.rows
        for members in layer.members:
            used = members[members < kept]
            genes[used] = np.sort(genes[used])
        free = np.flatnonzero(genes == layer.rows)
        genes[free] += np.arange(free.size)

    def passes(self, individual: IntArray) -> IntArray:
        """Passes of each layer."""
        return individual[self.space.genes :]

    def decode(self, individual: IntArray) -> Schedule:
        """Schedule of a repaired individual."""
        maps = []
        for layer, count in zip(self.space.layers, self.passes(individual).tolist(), strict=True):
            genes = layer.genes(individual)[: count * self.pe]
            slots = np.where(genes < layer.rows, genes, -1).reshape(count, self.pe)
            maps.append(RowMap(layer.name, layer.rows, frozen(slots)))
        return Schedule(self.space.array, tuple(maps))

    def relative_power(self, passes: Sequence[int]) -> float:
        """Modelled power of schedules with so many passes of each layer."""
        return self.power.of(_dot(passes, self.cycles) / _dot(self.least, self.cycles))

    def values(self, loss: float, passes: Sequence[int]) -> list[float]:
        """The objectives, all to be small, in the order of `objectives`."""
        known = {ACCURACY: loss, "passes": float(sum(passes)), "power": self.relative_power(passes)}
        return [known[name] for name in self.objectives]

    def seeds(self, best: Schedule) -> list[IntArray]:
        """The best map of the least passes, and assignments with more, one layer or all at once."""
        caps = [layer.passes for layer in self.space.layers]
        wanted = [list(self.least)]
        for place, cap in enumerate(caps):
            for count in range(self.least[place] + 1, cap + 1):
                wanted.append([*self.least[:place], count, *self.least[place + 1 :]])
        for share in (0.25, 0.5, 0.75, 1.0):
            pairs = zip(self.least, caps, strict=True)
            wanted.append([low + round(share * (high - low)) for low, high in pairs])
        return [self.assigned(passes, best) for passes in wanted]

    def assigned(self, passes: Sequence[int], best: Schedule) -> IntArray:
        """Layers with spare passes assigned anew, the others as in the best map."""
        out = np.empty(self.space.genes + len(passes), dtype=np.int64)
        out[self.space.genes :] = passes
        layers = zip(self.space.layers, self.run.costs, best.layers, passes, strict=True)
        for layer, cost, row_map, count in layers:
            genes = np.full(layer.slots, layer.rows, dtype=np.int64)
            if count == row_map.passes:
                genes[: row_map.slots.size] = row_map.slots.reshape(-1)
                genes[genes < 0] = layer.rows
            else:
                rows, slots = linear_sum_assignment(cost[:, layer.classes[: count * self.pe]])
                genes[slots] = rows
            layer.genes(out)[:] = genes
        return self.repaired(out)


class _Judge:
    """Objectives of individuals, each distinct one evaluated once."""

    def __init__(self, subject: _Subject, seconds: float | None, progress: Progress) -> None:
        self.subject = subject
        self.evaluations = 0
        self._limit = subject.run.fitness.limit
        self._seconds = seconds
        self._start = time.monotonic()
        self._progress = progress
        self._known: dict[bytes, tuple[IntArray, list[float]]] = {}

    def values(self, individuals: Sequence[IntArray] | IntArray) -> FloatArray:
        """Objectives [n, objectives] of repaired individuals.

        Raises
        ------
        SearchStopped
            Where evaluations or time are used up.
        """
        waiting = {x.tobytes(): x for x in individuals if x.tobytes() not in self._known}
        new = list(waiting.values())
        for start in range(0, len(new), CHUNK):
            self._add(new[start : start + CHUNK])
        return np.array([self._known[x.tobytes()][1] for x in individuals])

    def _add(self, chunk: list[IntArray]) -> None:
        interrupt.check()
        if self.evaluations + len(chunk) > self._limit:
            raise SearchStopped(f"all {self._limit} evaluations are used", for_good=False)
        passed = time.monotonic() - self._start
        # the seeds are worth their few evaluations on a slow machine, too
        if self._known and self._seconds is not None and passed > self._seconds:
            raise SearchStopped("the time limit is reached", for_good=True)
        subject = self.subject
        judged = subject.run.evaluator.judge_many([subject.decode(x) for x in chunk])
        for x, judgement in zip(chunk, judged, strict=True):
            values = subject.values(judgement.loss, subject.passes(x).tolist())
            self._known[x.tobytes()] = (x, values)
        self.evaluations += len(chunk)
        self._progress("front", self.evaluations, self._limit)

    def front(self) -> list[IntArray]:
        """Individuals that no other known one beats in one objective and equals in the rest."""
        known = list(self._known.values())
        if not known:
            return []
        return [known[i][0] for i in undominated(np.array([values for _, values in known]))]


def undominated(values: FloatArray) -> list[int]:
    """Rows of ``values`` [n, objectives] that no other dominates; the first of equal rows."""
    kept = []
    for number, own in enumerate(values):
        no_worse = (values <= own).all(axis=1)
        better = no_worse & (values < own).any(axis=1)
        equal_before = (values[:number] == own).all(axis=1)
        if not better.any() and not equal_before.any():
            kept.append(number)
    return kept


# --------------------------------------------------------------------------------- NSGA-II


class _FrontProblem(Problem):  # type: ignore[misc]
    def __init__(self, subject: _Subject, judge: _Judge) -> None:
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


class _Repaired(Repair):  # type: ignore[misc]
    def _do(self, problem: _FrontProblem, x: IntArray, **_kwargs: Any) -> IntArray:
        return np.stack([problem.subject.repaired(individual) for individual in x])


def _evolve(
    subject: _Subject, judge: _Judge, best: Schedule, options: SearchOptions, seed: int
) -> list[str]:
    """NSGA-II until its evaluations, its generations or its plateau end it; what it has to say."""
    try:
        seeds = np.stack(list({x.tobytes(): x for x in subject.seeds(best)}.values()))
        judge.values(seeds)
        if not subject.space.alike:  # else only the passes differ, and the seeds have them all
            _generations(subject, judge, seeds, options, seed)
    except SearchStopped as stopped:
        if stopped.for_good:
            return [f"Stopped early: {stopped.reason}; this is the front so far."]
    return []


def _generations(
    subject: _Subject, judge: _Judge, seeds: IntArray, options: SearchOptions, seed: int
) -> None:
    algorithm = NSGA2(
        pop_size=max(options.population, len(seeds)),
        sampling=seeds,
        crossover=_PassesCrossover(options.crossover),
        mutation=_PassesMutation(subject.space, subject.run.costs, options.swaps),
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


# ------------------------------------------------------------------------------------ result


def _front(
    subject: _Subject, evaluator: Evaluator, schedules: Sequence[Schedule], allowed: float
) -> Front:
    """The points judged on all calibration images, and the one to be rendered."""
    points = []
    for schedule, one in zip(schedules, evaluator.judge_many(schedules), strict=True):
        passes = [row_map.passes for row_map in schedule.layers]
        points.append(
            FrontPoint(
                schedule=schedule,
                loss=one.loss,
                accuracy=one.correct / one.n,
                passes=sum(passes),
                power=subject.relative_power(passes),
            )
        )
    values = np.array(
        [subject.values(p.loss, [m.passes for m in p.schedule.layers]) for p in points]
    )
    points = [points[number] for number in undominated(values)]
    points.sort(key=lambda point: (point.passes, point.power, point.loss))
    return Front(
        objectives=subject.objectives,
        points=tuple(points),
        pick=pick(points, allowed, subject.objectives),
        rule=rule(allowed, subject.objectives),
        power_model=subject.power.label,
    )


def pick(points: Sequence[FrontPoint], allowed: float, objectives: Sequence[Objective]) -> int:
    """Place of the point to be rendered; see `rule`."""
    enough = max(point.accuracy for point in points) - allowed / 100.0
    costs = [name for name in objectives if name != ACCURACY]
    good = [number for number, point in enumerate(points) if point.accuracy >= enough]
    return min(good, key=lambda n: (*(getattr(points[n], c) for c in costs), points[n].loss))


def rule(allowed: float, objectives: Sequence[Objective]) -> str:
    """In words, which point is rendered."""
    least = ", then ".join(f"the least {name}" for name in objectives if name != ACCURACY)
    return (
        f"{least}, then the least loss, among the points within {allowed:g} points of the best"
        " calibration accuracy"
    )
