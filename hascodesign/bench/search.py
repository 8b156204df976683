"""A default search: what a candidate map costs beside a clean pass over the same images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from hascodesign.bench.growth import one_layer, random_layer
from hascodesign.bench.result import Line
from hascodesign.bench.subject import ARRAY, SEED, Subject
from hascodesign.bench.timing import Spread, Work, times_of
from hascodesign.contract.array import generator, wmem_words
from hascodesign.contract.results import MOVES
from hascodesign.contract.types import Fault, FaultProfile, IntArray, Site
from hascodesign.engine.network import Evaluator
from hascodesign.faults import generate
from hascodesign.schedule import evolve
from hascodesign.schedule.assign import assign_layer
from hascodesign.schedule.fitness import Judge
from hascodesign.schedule.fitting.search import MapSearch
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.problem import Problem, silent
from hascodesign.schedule.space import make_space

FAULTY_PES = 4  # as a flow draws them, one fault each
#: Share of faults by area, as in the flow files.
SITE_AREA: dict[Site, float] = {"product": 81.0, "psum": 11.0, "weight": 4.0, "act": 4.0}
CANDIDATE_TARGET = 0.5  # clean passes
ASSIGNMENT_TARGET = 5.0  # percent of a search
ASSIGNED_ROWS = 512
EVERY = 10  # calls of the evaluator between two clean passes


class Timed:
    """Times what judges maps, with a clean pass over as many images in between."""

    def __init__(self, judge: Judge, clean: Work) -> None:
        self.judge, self.clean = judge, clean
        self.calls: list[tuple[int, float, float]] = []  # maps, wall clock, processor time
        self.references: list[tuple[float, float]] = [times_of(clean) for _ in range(2)][1:]

    def __call__(self, chromosomes: Sequence[IntArray]) -> Sequence[float]:
        """Losses of some maps."""
        losses: list[float] = []
        taken = times_of(lambda: losses.extend(self.judge(chromosomes)))
        self.calls.append((len(chromosomes), *taken))
        if len(self.calls) % EVERY == 0:
            self.references.append(times_of(self.clean))
        return losses


def drawn_profile(subject: Subject, seed: int) -> FaultProfile:
    """The profile that a flow draws by default."""
    spec = replace(ARRAY, wmem_depth=wmem_words(subject.network, ARRAY))
    rng = generator(seed, "faults")
    return generate.by_area(spec, rng, faulty_pes=FAULTY_PES, weights=SITE_AREA, seed=seed)


def searches(
    subject: Subject,
    seeds: Sequence[int],
    told: Callable[[Line], None],
    options: SearchOptions | None = None,
) -> list[Line]:
    """Cost of a candidate map, and of whole default searches.

    Parameters
    ----------
    seeds : of the profile and of the search.
    told : every line as it comes.
    options : of the searches; the defaults, with every move, where None.
    """
    options = SearchOptions(moves=MOVES) if options is None else options
    codes, labels = subject.calibration
    runs: list[_Run] = []
    for seed in seeds:
        evaluator = Evaluator(subject.network, drawn_profile(subject, seed), codes, labels)
        runs.append(_search(subject, evaluator, seed, options))
    many = f", {len(runs)} profiles" if len(runs) > 1 else ""
    lines = _lines(runs, f"judged on {runs[0].images} of {len(labels)} calibration images{many}")
    lines.append(_assignment([run.seconds for run in runs]))
    for line in lines:
        told(line)
    return lines


@dataclass(frozen=True, slots=True)
class _Run:
    seconds: float  # of a whole search
    candidates: int  # maps judged for the figures below
    images: int
    each: float  # seconds of a candidate, mean over the genetic search and the swaps
    ratio: float  # to the clean pass over as many images
    cpu_ratio: float  # the same of the processor time


def _search(subject: Subject, evaluator: Evaluator, seed: int, options: SearchOptions) -> _Run:
    whole = evolve.search(evaluator, options, seed)
    problem = Problem.of(evaluator, make_space(evaluator.network, evaluator.profile))
    maps = MapSearch(problem, options.moves, seed)
    n = len(maps.judged.labels)
    pixels = subject.pixels[torch.arange(n) % subject.batch]

    def clean() -> object:
        with torch.inference_mode():
            return subject.clean(pixels)

    # a search that has nothing to win judges no maps: here they are judged in any case
    fitness = maps.fitness(options, silent)
    timed = Timed(fitness.judge, clean)
    fitness.judge = timed
    maps.maps(fitness, options, [])
    judged = sum(count for count, _, _ in timed.calls)
    each, cpu = (sum(call[i] for call in timed.calls) / judged for i in (1, 2))
    wall, used = (float(np.median([r[i] for r in timed.references])) for i in (0, 1))
    return _Run(whole.seconds, judged, n, each, each / wall, cpu / used)


def _lines(runs: Sequence[_Run], where: str) -> list[Line]:
    each = Spread.of([run.each for run in runs])
    evaluations = round(float(np.mean([run.candidates for run in runs])))
    return [
        Line(
            "search",
            f"candidate map, {where}",
            seconds=each,
            ratio=Spread.of([run.ratio for run in runs]),
            cpu_ratio=Spread.of([run.cpu_ratio for run in runs]),
            target=CANDIDATE_TARGET,
            note=f"{evaluations} evaluations",
        ),
        Line("search", "candidates", value=1 / each.median, unit="per second"),
        Line(
            "search",
            "whole search",
            value=float(np.median([run.seconds for run in runs])),
            unit="s",
            note="baselines, rows written, maps searched where there is something to win",
        ),
    ]


def _assignment(seconds: Sequence[float]) -> Line:
    """Share of a search that the assignment of 512 rows to 512 slots takes."""
    rng = generator(SEED, "bench assignment")
    network = one_layer(random_layer(rng, ASSIGNED_ROWS, 64))
    # every PE another fault, so that every PE is a class of its own
    faults = [
        Fault(pe, "sa1", "product", simd, bit)
        for pe, (simd, bit) in enumerate(np.ndindex(ARRAY.simd, ARRAY.product_bits))
        if pe < ARRAY.pe
    ]
    profile = FaultProfile(ARRAY, tuple(faults))
    (layer,) = make_space(network, profile).layers
    cost = rng.random((ASSIGNED_ROWS, len(layer.members)))
    taken = min(times_of(lambda: assign_layer(layer, cost))[0] for _ in range(3))
    return Line(
        "search",
        f"assignment of {ASSIGNED_ROWS} rows, of the search's time",
        seconds=Spread.of([taken]),
        value=100 * taken / float(np.median(seconds)),
        unit="%",
        target=ASSIGNMENT_TARGET,
    )
