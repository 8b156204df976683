"""The search for the row maps: assignment, genetic algorithm, polish, choice of the winner."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from hascodesign.contract.array import generator, identity_schedule
from hascodesign.contract.results import Baseline, SearchResult
from hascodesign.contract.types import FaultProfile, FloatArray, IntArray, IntegerNetwork, Schedule
from hascodesign.schedule.assign import separable_cost
from hascodesign.schedule.descend import large, propose
from hascodesign.schedule.fitness import Candidate, SearchStopped
from hascodesign.schedule.fitting.run import WrittenMap, on_written, write
from hascodesign.schedule.genetic import evolve, first_population, kick
from hascodesign.schedule.judging import Judged, healthy_loss, judge_both, win_note
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.polish import polish
from hascodesign.schedule.prepare import Run, prepare, split
from hascodesign.schedule.protocols import Evaluator, Pictured, Progress, silent

__all__ = ["SearchOptions", "judge_given", "search"]

ALGORITHM = "assignment + loss model + pymoo GA + swap polish"
WITH_ROWS = "rows written for their slots: assignment + pymoo GA + swap polish"
GENETIC_SHARE = 0.6  # of the evaluations; the rest is for the polish
ROUNDS = 4  # at most, of searches on the loss model
KICKS = 60  # random restarts of the polish in a row that may win nothing
LARGE_ROUNDS = 12  # where the space is large and every round one descent
NEAR_ROUNDS = 3  # and from a map found layer by layer: little is left to win, at the same price
MODELLED = 3000  # evaluations of the model in each of them, at most
ALIKE = "All PEs are alike to every layer: every map computes the same, so nothing was searched."


def search(
    network: IntegerNetwork,
    profile: FaultProfile,
    evaluator: Evaluator,
    options: SearchOptions | None = None,
    seed: int = 0,
    progress: Progress = silent,
    selection: Evaluator | None = None,
    starts: Sequence[Schedule] = (),
) -> SearchResult:
    """Row maps that cost the network the least on the faulty array.

    Parameters
    ----------
    network : the network.
    profile : a profile that has been checked.
    evaluator : judges schedules on calibration data, with `profile`.
    options : sizes and limits; the defaults where None.
    seed : of every draw. The same seed gives the same schedule, unless the wall clock stops it.
    progress : told of every chunk of evaluations.
    selection : the same on other calibration images, which choose among the best distinct
        schedules by the loss over both sets. Losses in the result are then over both. Where None
        and the images are too many to search on, two parts of them serve, and a note says so.
    starts : schedules of a like profile to begin with, too; they stand among the baselines.

    Returns
    -------
    SearchResult
        Its schedule's loss is no higher than that of any baseline with as many passes. After Ctrl-C
        (KeyboardInterrupt) the best so far, and a note that says so.
    """
    start = time.monotonic()
    notes: list[str] = []
    everything = evaluator
    if selection is None:
        evaluator, selection, notes = split(network, profile, evaluator, seed)
    run = prepare(network, profile, evaluator, options, progress, selection)
    run.notes.extend(notes)
    judged = _baselines(run, network, seed, starts)
    known = _in_space(run, judged)
    if run.options.moves and profile.faults and isinstance(everything, Pictured):
        images = (everything.codes, everything.labels)
        try:
            found = write(run, network, profile, images, known[0].schedule, seed)
        except KeyboardInterrupt:
            _interrupted(run)
            found = None
        if found is not None:
            return _written_result(run, network, judged, found, start)
        notes = run.notes  # maps alone are searched by all images
        alone = replace(run.options, moves=())
        if not run.interrupted:
            run = prepare(network, profile, evaluator, alone, progress, selection)
            run.notes.extend(notes)
    if run.interrupted:
        pass
    elif run.space.alike:
        run.notes.append(ALIKE)
    else:
        _search(run, known, seed)
    winner = _winner(run, judged)
    return _result(run, network, judged, winner, start)


def judge_given(
    network: IntegerNetwork,
    profile: FaultProfile,
    evaluator: Evaluator,
    options: SearchOptions | None,
    seed: int,
    schedule: Schedule,
    progress: Progress = silent,
    selection: Evaluator | None = None,
    written: IntegerNetwork | None = None,
) -> SearchResult:
    """Judge a schedule that was made before, with the same baselines and bound, without a search.

    Parameters
    ----------
    schedule : of the network; its passes are those of the random maps and of the assignment.
    written : the network with its rows as written for the schedule; None = as trained.
    network, profile, evaluator, options, seed, progress, selection : as for `search`.
    """
    start = time.monotonic()
    passes = tuple(row_map.passes for row_map in schedule.layers)
    notes: list[str] = []
    if selection is None:
        evaluator, selection, notes = split(network, profile, evaluator, seed)
    run = prepare(network, profile, evaluator, options, progress, selection, passes)
    run.notes.extend(notes)
    judged = _baselines(run, network, seed)
    if run.space.alike:
        run.notes.append(ALIKE)
    run.fitness.evaluations = 1
    if written is not None:
        found = WrittenMap(written, schedule, *on_written(written, profile, evaluator, selection))
        result = _written_result(run, network, judged, found, start)
        return replace(result, algorithm="given")
    (given,) = judge_both(evaluator, selection, [schedule])
    return replace(_result(run, network, judged, given, start), algorithm="given")


def _written_result(
    run: Run,
    network: IntegerNetwork,
    judged: dict[str, Judged],
    found: WrittenMap,
    start: float,
) -> SearchResult:
    """The result where rows are written: judged as written."""
    judges = (found.evaluator, found.selection)
    (winner,) = judge_both(found.evaluator, found.selection, [found.schedule])
    result = _result(run, network, judged, winner, start, judges)
    return replace(result, algorithm=WITH_ROWS, written=found.network)


def _result(
    run: Run,
    network: IntegerNetwork,
    judged: dict[str, Judged],
    winner: Judged,
    start: float,
    judges: Sequence[object] | None = None,
) -> SearchResult:
    if not run.space.alike:
        evaluators = (run.evaluator, run.selection)
        plain = judged["identity"].schedule
        run.notes.extend(win_note(network, evaluators, plain, winner.schedule, judges))
    cost = separable_cost(run.space, run.costs, run.space.encode(winner.schedule))
    return SearchResult(
        schedule=winner.schedule,
        algorithm=ALGORITHM,
        evaluations=run.fitness.evaluations,
        seconds=time.monotonic() - start,
        loss=winner.loss,
        bound=run.assigned.cost,
        gap=cost - run.assigned.cost,
        history=tuple(run.history),
        baselines=tuple(
            Baseline(name, one.schedule, one.loss, one.accuracy) for name, one in judged.items()
        ),
        notes=tuple(run.notes),
        interrupted=run.interrupted,
        healthy_loss=healthy_loss(run.evaluator, run.selection),
    )


def _baselines(
    run: Run, network: IntegerNetwork, seed: int, starts: Sequence[Schedule] = ()
) -> dict[str, Judged]:
    """Plain order in the least passes, random maps, the assignment and given starts, judged."""
    space, rng = run.space, generator(seed, "schedule random maps")
    plain = {"identity": identity_schedule(network, space.array)}
    randoms = {
        f"random_{number:02d}": space.decode(space.random(rng))
        for number in range(run.options.random_maps)
    }
    near = {"assignment": space.decode(run.best_assignment)}
    near |= {f"start_{number:02d}": start for number, start in enumerate(starts)}
    judged: dict[str, Judged] = {}
    for schedules in (plain, randoms, near):
        ones = list(schedules.values())
        found = judge_both(run.evaluator, run.selection, ones, once=schedules is randoms)
        judged |= zip(schedules, found, strict=True)
    return judged


def _in_space(run: Run, judged: dict[str, Judged]) -> list[Judged]:
    """The baselines with the passes of the search, the best on the search images first."""
    passes = tuple(layer.passes for layer in run.space.layers)
    fitting = [
        one
        for one in judged.values()
        if tuple(row_map.passes for row_map in one.schedule.layers) == passes
    ]
    return sorted(fitting, key=lambda one: one.searched)


def _search(run: Run, known: list[Judged], seed: int) -> None:
    """The model's proposals, the genetic part, the polish; notes and history in `run`."""
    rng = generator(seed, "schedule search")
    limit = run.fitness.limit
    for one in known:
        run.fitness.give(run.space.encode(one.schedule), one.searched)
    try:
        starts = [run.space.encode(one.schedule) for one in known[:2]]
        proposed = _rebuild(run)
        proposed += _propose(run, starts, rng, near=bool(proposed))
        run.fitness.limit = max(1, int(GENETIC_SHARE * limit)) if run.options.polish else limit
        _until_spent(lambda: _evolve(run, proposed, rng))
        run.fitness.limit = limit
        if run.options.polish:
            _until_spent(lambda: _polish(run, rng))
    except SearchStopped as stopped:
        run.notes.append(f"Stopped early: {stopped.reason}; this is the best schedule so far.")
    except KeyboardInterrupt:
        _interrupted(run)


def _interrupted(run: Run) -> None:
    run.interrupted = True
    run.notes.append(
        f"Stopped by Ctrl-C after {run.fitness.evaluations} evaluations; "
        "this is the best schedule so far."
    )


def _rebuild(run: Run) -> list[IntArray]:
    """Maps found layer by layer; where one is the best so far, the model is built around it."""
    before = run.fitness.best
    run.fitness.timed = False
    proposed = list(run.rebuilt())
    _until_spent(partial(run.fitness.losses, proposed))
    run.fitness.timed = True
    best = run.fitness.best
    if best is None or not proposed or (before is not None and best.loss >= before.loss):
        run.model = run.model_around(None) if run.model is None else run.model
        return []
    run.model = run.model_around(best.chromosome)
    return proposed


def _propose(
    run: Run, starts: list[IntArray], rng: np.random.Generator, near: bool
) -> list[IntArray]:
    """Descend on the loss model, built anew around the best map until that brings no more."""
    proposed: list[IntArray] = []
    best = run.fitness.best
    if near and best is not None:
        starts = [best.chromosome, *starts]
    wide = replace(run.options, population=4 * run.options.population, generations=MODELLED)
    starts = [*starts, run.best_assignment] if near else [run.best_assignment, *starts]
    rounds = NEAR_ROUNDS if near else LARGE_ROUNDS
    for number in range(rounds if large(run.space) else ROUNDS):
        if run.model is None:
            break
        # on a slow machine, too, the first proposals are worth their few evaluations
        run.fitness.timed = number > 0
        found = propose(run.model, starts, wide, MODELLED, rng, first=number == 0 and not near)
        before = run.fitness.best
        _until_spent(partial(run.fitness.losses, found))
        proposed += found
        best = run.fitness.best
        if best is None or (before is not None and best.loss >= before.loss):
            break
        run.model = run.model_around(best.chromosome)
        starts = [best.chromosome, *found[:1]]
    run.fitness.timed = True
    return proposed


def _evolve(run: Run, proposed: list[IntArray], rng: np.random.Generator) -> None:
    best = run.fitness.best
    near = run.best_assignment if best is None else best.chromosome
    given = [run.space.identity(), run.best_assignment, near, *proposed]
    costs = _costs_near(run, near)
    seeds = first_population(run.space, costs, given, near, run.options, rng)
    evolve(run.fitness, costs, seeds, run.options, rng, run.history.append)


def _costs_near(run: Run, chromosome: IntArray) -> Sequence[FloatArray]:
    return run.costs if run.model is None else run.model.costs(chromosome)


def _until_spent(part: Callable[[], object]) -> None:
    """Run one part of the search; using up its evaluations is its normal end."""
    try:
        part()
    except SearchStopped as stopped:
        if stopped.for_good:
            raise


def _polish(run: Run, rng: np.random.Generator) -> None:
    """Swaps on the best, then on the best with a few random swaps, until that wins nothing."""
    fitness, model = run.fitness, run.model
    rank = None if model is None else lambda c, moves: model.swapped(c, moves.first, moves.second)
    kicks = 0
    start = fitness.best
    while start is not None and fitness.best is not None and kicks <= KICKS:
        before = fitness.best.loss
        costs = _costs_near(run, start.chromosome)
        polish(fitness, costs, start, fitness.limit, rank)
        kicks = 0 if fitness.best.loss < before else kicks + 1
        # every other time from anywhere: the best may lie in another valley
        anywhere = kicks % 2 == 0 and kicks > 0
        best = fitness.best.chromosome
        kicked = run.space.random(rng) if anywhere else kick(run.space, costs, best, rng)
        kicked = run.space.canonical(kicked)
        start = Candidate(kicked, float(fitness.losses([kicked])[0]))


def _winner(run: Run, judged: dict[str, Judged]) -> Judged:
    """The best of the finalists and the baselines over all calibration images."""
    candidates = _in_space(run, judged)
    tops = run.fitness.top(run.options.finalists if run.selection is not None else 1)
    schedules = [run.space.decode(top.chromosome) for top in tops]
    finalists = judge_both(run.evaluator, run.selection, schedules) if schedules else []
    # finalists first: where a baseline computes the same, the canonical schedule stands for both
    return min([*finalists, *candidates], key=lambda one: one.loss)
