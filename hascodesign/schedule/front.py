"""Several objectives at once: a front of schedules, and the one of them that is rendered.

What is minimised: the calibration loss ("accuracy"), the passes of all layers together, and the
modelled power; by NSGA-II over slot maps and the passes that each layer may take.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from hascodesign.contract.arithmetic import classify
from hascodesign.contract.array import layer_passes, least_passes
from hascodesign.contract.results import Front, FrontPoint, Move, Objective, SearchResult
from hascodesign.contract.types import FaultProfile, IntegerNetwork, Schedule
from hascodesign.engine.network import Evaluator
from hascodesign.schedule import evolve
from hascodesign.schedule.fitting.judge import WrittenEvaluator
from hascodesign.schedule.fitting.layer import costs_of
from hascodesign.schedule.fitting.search import MapSearch
from hascodesign.schedule.individuals import (
    FrontJudge,
    Individuals,
    PowerShares,
    total,
    undominated,
)
from hascodesign.schedule.nsga import evolve_front
from hascodesign.schedule.options import ACCURACY, SearchOptions
from hascodesign.schedule.problem import Problem, Progress, silent
from hascodesign.schedule.space import make_space
from hascodesign.schedule.spare import divide_passes

SHARES = 4  # numbers of spare passes that maps are assigned for
# multiply-accumulates of the network that a front may take where no limit is set; most rows are
# kept from one evaluation to the next, so that far fewer are done
WORK = 4e12
FEWEST, MOST = 64, 600  # evaluations
ALGORITHM = f"{evolve.ALGORITHM}, then pymoo NSGA-II with passes"


def search_front(
    evaluator: Evaluator,
    options: SearchOptions,
    seed: int,
    power: PowerShares,
    progress: Progress = silent,
) -> SearchResult:
    """Front of loss, passes and power; the point of it that is rendered as the schedule.

    First the search for the least passes, then NSGA-II from its result and from assignments with
    spare passes, where they help most and elsewhere. Rows are written for their slots; the search
    judges maps with rows as written behind healthy layers, and those of each point of the front are
    written anew for it. A layer takes at most as many passes as put every row on a healthy PE,
    twice the least where that is fewer or no PE is healthy, or the least and `extra_passes` where
    these are set.

    Parameters
    ----------
    evaluator, seed, progress : as for `evolve.search`.
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
    single = evolve.search(evaluator, least, seed, progress)
    if single.interrupted:
        return single
    try:
        network, profile = evaluator.network, evaluator.profile
        caps = most_passes(network, profile, options)
        space = make_space(network, profile, passes=caps)
        # stuck words move with the passes of the layers before: rows written for them do not hold
        fixed = not any(fault.site == "wmem" for fault in profile.faults)
        maps = MapSearch(Problem.of(evaluator, space), options.moves if fixed else (), seed)
        layers = maps.writer.on_healthy_inputs()
        costs = [costs_of(maps.problem, index, one.error) for index, one in enumerate(layers)]
        subject = Individuals(maps.problem, costs, power, options.objectives)
        given = [single.schedule, *_with_spare_passes(evaluator, options.moves, caps, seed)]
        limit = options.evaluations or options.times * _affordable(maps.judged)
        judged = (
            WrittenEvaluator(maps.judged, layers) if maps.writer.moves else maps.judged.evaluator()
        )
        judge = FrontJudge(subject, judged, limit, _left(options, start), progress)
        notes = [*single.notes, *evolve_front(subject, judge, given, options, seed)]
        points = _Points(evaluator, options.moves, seed, subject)
        found_points = [points.of(single.schedule, single.written)]
        found_points += [points.of(subject.decode(x)) for x in judge.front()]
        front = _front(subject, found_points, options.allowed_points)
        picked = front.picked
        found = evolve.judge_given(
            evaluator, least, seed, picked.schedule, progress, picked.written
        )
    except KeyboardInterrupt:
        note = "Stopped by Ctrl-C; this is the best schedule of the least passes."
        return replace(single, interrupted=True, notes=(*single.notes, note))
    return replace(
        found,
        algorithm=ALGORITHM,
        evaluations=single.evaluations + judge.evaluations,
        seconds=time.monotonic() - start,
        history=single.history,
        notes=tuple(dict.fromkeys([*found.notes, *notes])),
        front=front,
    )


def _affordable(problem: Problem) -> int:
    """Evaluations that suit about half a minute on two cores; the same on every machine."""
    work = problem.network.macs * max(len(problem.labels), 1)
    return int(min(MOST, max(FEWEST, WORK / work)))


class _Points:
    """Makes points of schedules: their rows written, both judged."""

    def __init__(
        self, evaluator: Evaluator, moves: tuple[Move, ...], seed: int, subject: Individuals
    ) -> None:
        self._evaluator, self._moves, self._seed, self._subject = evaluator, moves, seed, subject
        self._maps: dict[tuple[int, ...], MapSearch] = {}

    def of(self, schedule: Schedule, written: IntegerNetwork | None = None) -> FrontPoint:
        """The point of a schedule, with rows as given or written for it."""
        passes = evolve.passes_of(schedule)
        network, profile = self._evaluator.network, self._evaluator.profile
        if passes not in self._maps:
            problem = Problem.of(self._evaluator, make_space(network, profile, passes=passes))
            self._maps[passes] = MapSearch(problem, self._moves, self._seed)
        maps = self._maps[passes]
        if written is None:
            deployed = maps.writer.on_map(schedule)
            written = None if deployed.network is network else deployed.network
            logits = deployed.logits
        else:
            logits = maps.problem.evaluator(written).logits(schedule)
        return FrontPoint(
            schedule=schedule,
            loss=float(maps.losses(logits).mean()),
            accuracy=float((classify(logits, network.logit_scale) == maps.problem.labels).mean()),
            passes=sum(passes),
            power=self._subject.relative_power(passes),
            written=written,
        )


def most_passes(
    network: IntegerNetwork, profile: FaultProfile, options: SearchOptions
) -> tuple[int, ...]:
    """Passes that each layer may take at the most; see `search_front`."""
    spec, space = profile.array, make_space(network, profile)
    most = []
    for layer, slots in zip(network.layers, space.layers, strict=True):
        least = least_passes(layer.rows, spec.pe)
        healthy = slots.healthy_pes.size
        enough = -(-layer.rows // healthy) if healthy else 2 * least
        extra = options.extra_passes
        most.append(least + extra if extra else min(2 * least, enough))
    # the banks must hold every layer's weights: the last layers give up their spare passes first
    steps = [slots.steps for slots in space.layers]
    for place in reversed(range(len(most))):
        least = space.layers[place].passes
        while spec.wmem_depth and most[place] > least and total(most, steps) > spec.wmem_depth:
            most[place] -= 1
    return tuple(most)


def _with_spare_passes(
    evaluator: Evaluator, moves: tuple[Move, ...], most: Sequence[int], seed: int
) -> Iterator[Schedule]:
    """Assignments with a few numbers of spare passes where these help most."""
    network, profile = evaluator.network, evaluator.profile
    spare = sum(most) - sum(layer_passes(network, profile.array.pe))
    spares = sorted({round(spare * share / SHARES) for share in range(1, SHARES + 1)} - {0})
    for passes in dict.fromkeys(divide_passes(evaluator, moves, most, spares, seed)):
        space = make_space(network, profile, passes=passes)
        if not space.alike:
            yield MapSearch(Problem.of(evaluator, space), moves, seed).first.schedule


def _left(options: SearchOptions, start: float) -> float | None:
    if options.seconds is None:
        return None
    return max(options.seconds - (time.monotonic() - start), 0.0)


# ------------------------------------------------------------------------------------ result


def _front(subject: Individuals, points: list[FrontPoint], allowed: float) -> Front:
    """The points that no other beats, and the one to be rendered."""
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
