"""`study baselines`: every way of choosing the map that an expert would name, in one harness.

Each profile is one draw of permanent faults. Every method sees the calibration images only, with
as many evaluations as the search took; every map is judged on calibration and held-out images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hascodesign.common import files, interrupt
from hascodesign.common.display import Display
from hascodesign.contract.array import identity_schedule
from hascodesign.contract.results import SearchResult
from hascodesign.contract.types import FaultProfile, Schedule
from hascodesign.engine.network import Evaluator
from hascodesign.fleet.work import Shared
from hascodesign.flow.config import board_config, load_config
from hascodesign.flow.flow import Flow
from hascodesign.flow.request import Request
from hascodesign.flow.store import StepStore
from hascodesign.schedule import baselines, evolve
from hascodesign.schedule.fitting.search import MapSearch
from hascodesign.schedule.problem import Problem
from hascodesign.schedule.space import make_space

if TYPE_CHECKING:
    from hascodesign.fleet.cluster import Where

STEP = "baselines"  # of the store
SEARCH = "search"
GENETIC = "genetic"
GENETIC_STUDY = "genetic_study"
#: Evaluations of the study's own algorithm: its first population and 100 generations.
STUDY_EVALUATIONS = baselines.STUDY_POPULATION * (baselines.STUDY_GENERATIONS + 1)
#: Methods in the order they are shown, with the words for people.
METHODS: Mapping[str, str] = MappingProxyType(
    {
        "plain": "plain order",
        "random": "random maps, best of N",
        "rule": "saliency against severity, sorted (as SalvageDNN)",
        "assignment": "assignment alone",
        GENETIC: "GA alone (the study's operators), N evaluations",
        GENETIC_STUDY: f"GA alone, the study's {STUDY_EVALUATIONS:,} evaluations",
        SEARCH: "assignment + GA (the default search)",
        "fap": "faulty multipliers zeroed (as FAP), plain order",
        "fap_assignment": "faulty multipliers zeroed, assignment",
        "fap_search": "faulty multipliers zeroed, assignment + GA",
    }
)
#: Methods on an array that can bypass its faulty multipliers.
EXTRA_HARDWARE = frozenset({"fap", "fap_assignment", "fap_search"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one method's map does to the network under one profile."""

    evaluations: int  # whole-network evaluations, what the costs of rows take among them
    seconds: float  # of choosing the map
    calibration_loss: float  # nats
    calibration_correct: int  # images
    heldout_loss: float  # nats
    heldout_correct: int  # images


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One profile under every method."""

    seed: int
    healthy: Outcome
    outcomes: Mapping[str, Outcome]  # keys of METHODS
    notes: tuple[str, ...]  # of the search


@dataclass(frozen=True, slots=True)
class BaselinesResult:
    """All profiles, and the sizes that they share."""

    model: str
    calibration: int  # images
    heldout: int  # images
    faulty_pes: int
    pe: int
    rows: tuple[ProfileRow, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods that were run, in the order of METHODS."""
        return tuple(name for name in METHODS if name in self.rows[0].outcomes)


@dataclass(frozen=True, slots=True)
class _Chosen:
    schedule: Schedule
    evaluations: int
    seconds: float


def run(
    request: Request,
    seeds: Sequence[int],
    *,
    thorough: bool = False,
    where: Where | None = None,
) -> BaselinesResult:
    """Judge every method on one profile per seed; a profile that is done is read back.

    Parameters
    ----------
    request : as for a flow; its seed is replaced, its `out` holds one folder per seed.
    seeds : seeds of the profiles and of every method's draws.
    thorough : whether the GA alone is run to the study's own size, too, and the search on the
        array that bypasses its faulty multipliers.
    where : a cluster that does them, None for this process: the rows are the same but for times.
    """
    out = files.usable_folder(request.out)
    rows = []
    with Display(out / "study.log") as display:
        flows = _flows(request, seeds, display)
        first = next(iter(flows.values()), None)
        if where is not None:
            _spread(flows, thorough, where, display)
        for done, (seed, flow) in enumerate(flows.items()):
            display.progress("profiles", done, len(seeds))
            rows.append(_row(flow, seed, thorough))
            display.line(_line(rows[-1], len(flow.dataset.heldout.labels)))
        display.progress("profiles", len(seeds), len(seeds))
    if first is None:
        raise ValueError("a study needs one profile or more")
    data = first.dataset
    return BaselinesResult(
        model=first.network.name,
        calibration=len(data.calibration.labels),
        heldout=len(data.heldout.labels),
        faulty_pes=request.config.faults.faulty_pes,
        pe=first.array.pe,
        rows=tuple(rows),
    )


def _flows(request: Request, seeds: Sequence[int], display: Display) -> dict[int, Flow]:
    """The flow of each seed; all share model, data and integer graph."""
    flows: dict[int, Flow] = {}
    for seed in seeds:
        config = request.config.model_copy(update={"seed": seed})
        own = replace(request, config=config, out=request.out / f"seed-{seed}")
        flows[seed] = Flow(own, StepStore(own.out / "steps"), display)
        flows[seed].share_model(next(iter(flows.values())))
    return flows


def _spread(flows: Mapping[int, Flow], thorough: bool, where: Where, display: Display) -> None:
    """Have a cluster do what is not stored yet, and store it as it comes."""
    from hascodesign.fleet import cluster  # noqa: PLC0415  (dask, of an extra)

    todo = [
        seed
        for seed, flow in flows.items()
        if not (flow.holds("schedule") and flow.store.holds(STEP, _inputs(flow, seed, thorough)))
    ]
    if not todo:
        return
    calls = [(seed, thorough) for seed in todo]
    shared = Shared.of(flows[todo[0]])
    for done, (place, made) in enumerate(cluster.spread(where, shared, _on_worker, calls), 1):
        seed, (search, judged) = todo[place], made
        flow = flows[seed]
        flow.keep("schedule", search)
        flow.store.run(STEP, _inputs(flow, seed, thorough), judged.copy)
        display.progress("profiles", done, len(todo))


def _on_worker(
    shared: Shared, seed: int, thorough: bool
) -> tuple[SearchResult, dict[str, dict[str, Any]]]:
    flow = shared.of_seed(seed)
    return flow.search, _judge_all(flow, seed, thorough)


def _inputs(flow: Flow, seed: int, thorough: bool) -> tuple[Any, ...]:
    """All that the judged methods of a profile depend on."""
    search = flow.search
    images = (flow.dataset.calibration, flow.dataset.heldout)
    return (
        *(flow.network, flow.profile, search.schedule, search.evaluations, seed, images),
        thorough,
    )


def _row(flow: Flow, seed: int, thorough: bool) -> ProfileRow:
    stored = flow.store.run(
        STEP, _inputs(flow, seed, thorough), lambda: _judge_all(flow, seed, thorough)
    )
    outcomes = {name: Outcome(**values) for name, values in stored.items()}
    healthy = outcomes.pop("healthy")
    return ProfileRow(seed, healthy, outcomes, flow.search.notes)


def _judge_all(flow: Flow, seed: int, thorough: bool) -> dict[str, dict[str, Any]]:
    """Outcome of every method, and of the healthy network, as plain values to be kept."""
    profile, bypassed = flow.profile, baselines.fap_profile(flow.profile)
    kept = {}
    for name, chosen in _chosen(flow, seed, thorough).items():
        kept[name] = _outcome(flow, bypassed if name in EXTRA_HARDWARE else profile, chosen)
    kept["healthy"] = _outcome(flow, FaultProfile(profile.array), _plain(flow))
    return kept


def _outcome(flow: Flow, profile: FaultProfile, chosen: _Chosen) -> dict[str, Any]:
    data = flow.dataset
    calibration, heldout = (
        flow.evaluator(split, Evaluator, profile).judge(chosen.schedule)
        for split in (data.calibration, data.heldout)
    )
    return {
        "evaluations": chosen.evaluations,
        "seconds": chosen.seconds,
        "calibration_loss": calibration.loss,
        "calibration_correct": calibration.correct,
        "heldout_loss": heldout.loss,
        "heldout_correct": heldout.correct,
    }


# ---------------------------------------------------------------------------------- the methods


def _plain(flow: Flow) -> _Chosen:
    return _Chosen(identity_schedule(flow.network, flow.profile.array), 0, 0.0)


def _chosen(flow: Flow, seed: int, thorough: bool) -> dict[str, _Chosen]:
    """Every method's map, what it took and how long."""
    network, profile, search = flow.network, flow.profile, flow.search
    extra = cost_evaluations(flow, profile)
    same = search.evaluations + extra
    show = flow.display.progress
    chosen = {"plain": _plain(flow), SEARCH: _Chosen(search.schedule, same, search.seconds)}
    with _timed(flow, "rule", chosen) as done:
        done(baselines.greedy(network, profile), 0)
    with _timed(flow, "assignment", chosen) as done:
        done(_assigned(flow, profile, seed), extra)
    with _timed(flow, "random", chosen) as done:
        found, fitness = baselines.random_best(_fresh(flow, profile), same, seed, show)
        done(found, fitness.evaluations)
    # generations that bring nothing new take no evaluation: there may be any number of them
    sizes = {GENETIC: (same, same)}
    if thorough:
        sizes[GENETIC_STUDY] = (STUDY_EVALUATIONS, baselines.STUDY_GENERATIONS)
    for name, size in sizes.items():
        with _timed(flow, name, chosen) as done:
            found, fitness = baselines.genetic_alone(
                _fresh(flow, profile), size[0], seed, size[1], show
            )
            done(found, fitness.evaluations)
    chosen |= _with_extra_hardware(flow, seed, thorough)
    return {name: chosen[name] for name in METHODS if name in chosen}


def _assigned(flow: Flow, profile: FaultProfile, seed: int) -> Schedule:
    problem = Problem.of(_fresh(flow, profile), make_space(flow.network, profile))
    return MapSearch(problem, (), seed).first.schedule


def _with_extra_hardware(flow: Flow, seed: int, thorough: bool) -> dict[str, _Chosen]:
    bypassed = baselines.fap_profile(flow.profile)
    extra = cost_evaluations(flow, bypassed)
    chosen = {"fap": _plain(flow)}
    with _timed(flow, "fap_assignment", chosen) as done:
        done(_assigned(flow, bypassed, seed), extra)
    if not thorough:
        return chosen
    options = evolve.SearchOptions(**flow.config.schedule.model_dump())
    evaluator, show = _fresh(flow, bypassed), flow.display.progress
    result = interrupt.whole(lambda: evolve.search(evaluator, options, seed, show))
    evaluations = result.evaluations + extra
    return chosen | {"fap_search": _Chosen(result.schedule, evaluations, result.seconds)}


def cost_evaluations(flow: Flow, profile: FaultProfile) -> int:
    """Evaluations that stand for what a search knows besides those it counts.

    Every layer computed on each kind of slot counts as one run of the whole network, and the run
    by which the assignment goes from layer to layer as one more. More than they take: the baselines
    get the difference.
    """
    space = make_space(flow.network, profile)
    return 1 + sum(1 + int(layer.kinds.max()) for layer in space.layers)


def _fresh(flow: Flow, profile: FaultProfile) -> Evaluator:
    """An evaluator that knows nothing yet, so that no method lives on another's work."""
    evaluator: Evaluator = flow.evaluator(flow.dataset.calibration, Evaluator, profile)
    return evaluator


@contextmanager
def _timed(
    flow: Flow, name: str, chosen: dict[str, _Chosen]
) -> Iterator[Callable[[Schedule, int], None]]:
    """Take the time of one method; it hands over its map and its evaluations."""
    flow.display.progress(METHODS[name], 0, 1)
    start = time.perf_counter()

    def done(schedule: Schedule, evaluations: int) -> None:
        chosen[name] = _Chosen(schedule, evaluations, time.perf_counter() - start)

    yield done
    flow.display.progress(METHODS[name], 1, 1)


def _line(row: ProfileRow, heldout: int) -> str:
    percent = {name: 100 * one.heldout_correct / heldout for name, one in row.outcomes.items()}
    short = ", ".join(f"{name} {value:.2f}" for name, value in percent.items())
    return f"seed {row.seed}: healthy {100 * row.healthy.heldout_correct / heldout:.2f}, {short} %"


def request(
    board: str, model: str | None, faulty: int, out: Path | None, cache: Path, data: Path | None
) -> Request:
    """What the study runs: the board's flow with one fault at an upper product or psum bit."""
    changes: dict[str, Any] = {
        "board": board,
        "model": model,
        "faults.faulty_pes": faulty,
        "faults.bits": "upper",
    }
    changes |= {"faults.faults_per_pe": 1}
    changes |= {"schedule.moves": []}  # rows as trained: what is compared are ways to a map
    changes |= {"faults.site_area": {"product": 81.0, "psum": 11.0}}
    folder = out or Path("build", f"study-baselines-{board}")
    config = load_config(board_config(board), changes)
    return Request(config=config, out=folder, cache=cache, data=data)
