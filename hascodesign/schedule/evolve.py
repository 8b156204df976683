"""A search from end to end: its baselines, maps with written rows, maps alone, what is chosen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hascodesign.contract.arithmetic import classify
from hascodesign.contract.array import generator, identity_schedule
from hascodesign.contract.results import Baseline, SearchResult
from hascodesign.contract.types import FloatArray, IntArray, IntegerNetwork, Schedule
from hascodesign.engine.network import Evaluator
from hascodesign.schedule.fitting.network import Deployed, share
from hascodesign.schedule.fitting.search import Found, MapSearch
from hascodesign.schedule.judging import win_note
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.problem import Problem, Progress, silent
from hascodesign.schedule.space import make_space
from hascodesign.schedule.spare import budget, spread_passes

__all__ = ["SearchOptions", "judge_given", "search"]

ALGORITHM = "assignment + pymoo GA + swap polish"
WITH_ROWS = f"rows written for their slots: {ALGORITHM}"
RANDOM_FEWEST = 64  # images that random maps are judged on, however large the network is
LEAST_S = 0.01  # seconds that a search of maps alone is given, whatever is left
ALIKE = "All PEs are alike to every layer: every map computes the same, so nothing was searched."
WRITTEN = (
    "Rows are written for their slots, fitted to {fitted} calibration images; {checked} others"
    " decided what was kept."
)
KEPT = "The map in use stays: with its rows written anew it loses nothing above the noise."
ALONE = (
    "Rows stay as trained: on images that no fit saw, rows written for their slots lose"
    " {written:.4f} nats and the best map alone {alone:.4f}."
)


def search(
    evaluator: Evaluator,
    options: SearchOptions | None = None,
    seed: int = 0,
    progress: Progress = silent,
    starts: Sequence[Schedule] = (),
    in_use: Schedule | None = None,
    idle: Sequence[int] = (),
) -> SearchResult:
    """Row maps that cost the network the least on the faulty array, and rows written for them.

    Parameters
    ----------
    evaluator : names the network and the array, a profile that has been checked, and holds the
        calibration images.
    options : sizes and limits; the defaults where None.
    seed : of every draw. The same seed gives the same schedule, unless the wall clock stops it.
    progress : told of every chunk of evaluations.
    starts : schedules of a like profile to begin with, too; they stand among the baselines.
    in_use : the schedule that runs already, a start whose passes the result has. Its map stays
        where its rows, written anew, lose nothing above the noise, and no PE of ``idle`` has one.
    idle : PEs that nothing is known of.

    Returns
    -------
    SearchResult
        Its loss, on the calibration images that are looked at, is no higher than that of the best
        baseline with as many passes. After Ctrl-C (KeyboardInterrupt) the best so far, and a note
        that says so.
    """
    options = SearchOptions() if options is None else options
    if in_use is None:
        return _Search(evaluator, options, seed, progress).run(starts)
    passes = passes_of(in_use)
    free = all((row_map.slots[:, list(idle)] < 0).all() for row_map in in_use.layers)
    search_of = _Search(evaluator, options, seed, progress, passes)
    return search_of.run([in_use, *starts], in_use if free else None)


def judge_given(
    evaluator: Evaluator,
    options: SearchOptions | None,
    seed: int,
    schedule: Schedule,
    progress: Progress = silent,
    written: IntegerNetwork | None = None,
) -> SearchResult:
    """Judge a schedule that was made before, with the same baselines, without a search.

    Parameters
    ----------
    schedule : of the network; its passes are those of the random maps and of the assignment.
    written : the network with its rows as written for the schedule; None = as trained.
    evaluator, options, seed, progress : as for `search`.
    """
    options = SearchOptions() if options is None else options
    passes = tuple(row_map.passes for row_map in schedule.layers)
    return _Search(evaluator, options, seed, progress, passes).given(schedule, written)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A schedule and what it does to the network."""

    schedule: Schedule
    losses: FloatArray  # [n] of each image, nats
    accuracy: float  # 0..1
    network: IntegerNetwork | None = None  # with rows as written

    @property
    def loss(self) -> float:
        """Mean over the images."""
        return float(self.losses.mean())


class _Search:
    """What one search gathers on its way."""

    def __init__(
        self,
        evaluator: Evaluator,
        options: SearchOptions,
        seed: int,
        progress: Progress,
        passes: tuple[int, ...] | None = None,
    ) -> None:
        self.start = time.monotonic()
        self.options, self.seed, self.progress = options, seed, progress
        problem = problem_of(evaluator, options, seed, passes)
        self.maps = MapSearch(problem, options.moves, seed)
        self.alone = self.maps.alone() if options.moves else self.maps  # rows as trained
        self.problem = self.maps.problem
        self.evaluator = self.problem.evaluator()
        self.notes: list[str] = []

    def run(self, starts: Sequence[Schedule], in_use: Schedule | None = None) -> SearchResult:
        """The search; where there is a map in use, for one that is better than that."""
        judged, space = self._baselines(starts), self.problem.space
        starts = [one for one in starts if passes_of(one) == space.passes]
        winner = known = self._best(judged)
        found: Found | None = None
        try:
            if in_use is not None and (kept := self._kept(in_use, known)) is not None:
                return self._result(judged, kept, None)
            if self.options.moves and self.problem.profile.faults:
                found = self.maps.search(self.options, self.progress, starts)
                winner = self._with_rows(found, known)
            if winner is known and space.alike:
                self.notes.append(ALIKE)
            elif winner is known and not (found and found.interrupted) and self._worth(known):
                options = replace(self.options, seconds=self._left())
                found = self.alone.search(options, self.progress, [known.schedule])
                self.notes.extend(found.notes)
                winner = min(self._deployed(found.deployed), known, key=lambda one: one.loss)
        except KeyboardInterrupt:
            self.notes.append("Stopped by Ctrl-C; this is the best schedule so far.")
            return replace(self._result(judged, winner, found), interrupted=True)
        return self._result(judged, winner, found)

    def _kept(self, in_use: Schedule, known: _Judged) -> _Judged | None:
        """The map in use with its rows written anew; None where that loses more than the noise."""
        one = self._deployed(self.maps.writer.on_map(in_use))
        if self.maps.harmed(one.losses, sure=True) or one.loss > known.loss:
            return None
        self.notes.append(KEPT)
        return one

    def _left(self) -> float | None:
        """Seconds that the search may still take, above 0; None where it has no limit."""
        if self.options.seconds is None or not self.options.moves:
            return self.options.seconds
        return max(self.options.seconds - (time.monotonic() - self.start), LEAST_S)

    def _best(self, judged: dict[str, _Judged]) -> _Judged:
        """The best baseline with the passes of the search, on all images that are looked at."""
        passes = self.problem.space.passes
        drawn = [one for name, one in judged.items() if name.startswith("random_")]
        whole = [one for name, one in judged.items() if not name.startswith("random_")]
        whole = [one for one in whole if passes_of(one.schedule) == passes]
        if drawn and not self.problem.space.alike:
            whole.append(self._judge(min(drawn, key=lambda one: one.loss).schedule))
        return min(whole, key=lambda one: one.loss)

    def _worth(self, known: _Judged) -> bool:
        """Whether to search maps alone: after rows were written only where there is something."""
        return not self.options.moves or self.maps.harmed(known.losses, sure=True)

    def given(self, schedule: Schedule, written: IntegerNetwork | None) -> SearchResult:
        """A schedule judged."""
        judged = self._baselines(())
        if self.problem.space.alike:
            self.notes.append(ALIKE)
        result = self._result(judged, self._judge(schedule, written), None)
        return replace(result, algorithm="given", evaluations=1)

    def _with_rows(self, found: Found, known: _Judged) -> _Judged:
        """The best map with rows written for it; ``known`` where that alone loses less."""
        one = self._deployed(found.deployed)
        held = self.maps.writer.held
        before, after = known.losses[held].mean(), one.losses[held].mean()
        if after >= before or one.loss > known.loss:
            self.notes.extend([*found.notes, ALONE.format(written=after, alone=before)])
            return known
        counts = {"fitted": int((~held).sum()), "checked": int(held.sum())}
        self.notes.extend([*found.notes, WRITTEN.format(**counts)])
        return one

    def _judge(self, schedule: Schedule, network: IntegerNetwork | None = None) -> _Judged:
        judge = self.evaluator if network is None else self.problem.evaluator(network)
        return self._of_logits(schedule, judge.logits(schedule), network)

    def _deployed(self, one: Deployed) -> _Judged:
        network = None if one.network is self.problem.network else one.network
        return self._of_logits(one.schedule, one.logits, network)

    def _of_logits(
        self, schedule: Schedule, logits: IntArray, network: IntegerNetwork | None
    ) -> _Judged:
        right = classify(logits, self.problem.network.logit_scale) == self.problem.labels
        return _Judged(schedule, self.maps.losses(logits), float(right.mean()), network)

    def _baselines(self, starts: Sequence[Schedule]) -> dict[str, _Judged]:
        """Plain order in the least passes, random maps, the assignment and given starts, judged.

        Random maps are judged on the images that maps are searched on, of a large network on the
        first of them.
        """
        space, rng = self.problem.space, generator(self.seed, "schedule random maps")
        judged = {"identity": self._judge(identity_schedule(self.problem.network, space.array))}
        drawn = [space.decode(space.random(rng)) for _ in range(self.options.random_maps)]
        judged_on = self.maps.judged
        count = int(share(self.problem.network.macs) * len(judged_on.labels))
        first = judged_on.on(slice(0, max(RANDOM_FEWEST, count)))
        few = first.evaluator().judge_once(drawn)
        for number, (one, seen) in enumerate(zip(drawn, few, strict=True)):
            on_few = _Judged(one, np.array([seen.loss]), seen.accuracy)
            judged[f"random_{number:02d}"] = on_few
        judged["assignment"] = self._deployed(self.alone.first)
        return judged | {
            f"start_{number:02d}": self._judge(start) for number, start in enumerate(starts)
        }

    def _result(
        self, judged: dict[str, _Judged], winner: _Judged, found: Found | None
    ) -> SearchResult:
        if not self.problem.space.alike:
            self.notes.extend(win_note(judged["identity"].losses, winner.losses))
        return SearchResult(
            schedule=winner.schedule,
            algorithm=ALGORITHM if winner.network is None else WITH_ROWS,
            evaluations=0 if found is None else found.evaluations,
            seconds=time.monotonic() - self.start,
            loss=winner.loss,
            history=() if found is None else found.history,
            baselines=tuple(
                Baseline(name, one.schedule, one.loss, one.accuracy) for name, one in judged.items()
            ),
            notes=tuple(self.notes),
            interrupted=found is not None and found.interrupted,
            healthy_loss=float(self.maps.losses(self.maps.writer.healthy_logits).mean()),
            written=winner.network,
        )


def problem_of(
    evaluator: Evaluator, options: SearchOptions, seed: int, passes: tuple[int, ...] | None = None
) -> Problem:
    """The problem on an array with so many passes, or as many as the options say."""
    network, profile = evaluator.network, evaluator.profile
    if passes is None and options.spare_passes:
        spare = budget(network, profile.array.pe, options.spare_passes)
        passes = spread_passes(evaluator, options.moves, spare, seed)
    return Problem.of(evaluator, make_space(network, profile, options.extra_passes, passes))


def passes_of(schedule: Schedule) -> tuple[int, ...]:
    """Of each layer."""
    return tuple(row_map.passes for row_map in schedule.layers)
