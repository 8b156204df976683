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
from hascodesign.contract.results import SearchResult
from hascodesign.contract.types import Fault, FaultProfile, FloatArray, IntArray, Schedule, Site
from hascodesign.engine.loss import Judgement
from hascodesign.engine.network import Evaluator
from hascodesign.faults import generate
from hascodesign.schedule import evolve, protocols
from hascodesign.schedule.assign import assign
from hascodesign.schedule.prepare import split
from hascodesign.schedule.space import make_space

FAULTY_PES = 4  # as a flow draws them, one fault each
#: Share of faults by area, as in the flow files.
SITE_AREA: dict[Site, float] = {"product": 81.0, "psum": 11.0, "weight": 4.0, "act": 4.0}
CANDIDATE_TARGET = 0.5  # clean passes
ASSIGNMENT_TARGET = 5.0  # percent of a search
ASSIGNED_ROWS = 512
EVERY = 10  # calls of the evaluator between two clean passes
FEW = 256  # images of the set that only has to be there


class Timed:
    """An evaluator that times its judging, with a clean pass over the same images in between."""

    def __init__(self, inner: Evaluator, clean: Work) -> None:
        self.inner = inner
        self.clean = clean
        self.calls: list[tuple[int, float, float]] = []  # schedules, wall clock, processor time
        self.references: list[tuple[float, float]] = [times_of(clean) for _ in range(2)][1:]

    @property
    def labels(self) -> IntArray:
        """Class of each image."""
        return self.inner.labels

    @property
    def codes(self) -> IntArray:
        """Input codes."""
        return self.inner.codes

    def judge_many(self, schedules: Sequence[Schedule]) -> list[Judgement]:
        """Judge each schedule."""
        return self._timed(self.inner.judge_many, schedules)

    def judge_once(self, schedules: Sequence[Schedule]) -> list[Judgement]:
        """Judge schedules that no later one resembles."""
        return self._timed(self.inner.judge_once, schedules)

    def _timed(
        self, judge: Callable[[Sequence[Schedule]], list[Judgement]], schedules: Sequence[Schedule]
    ) -> list[Judgement]:
        judged: list[Judgement] = []
        taken = times_of(lambda: judged.extend(judge(schedules)))
        self.calls.append((len(schedules), *taken))
        if len(self.calls) % EVERY == 0:
            self.references.append(times_of(self.clean))
        return judged

    def healthy_judgement(self) -> Judgement:
        """Judge the network without faults."""
        return self.inner.healthy_judgement()

    def logits(self, schedule: Schedule) -> IntArray:
        """Integer logits."""
        return self.inner.logits(schedule)

    def row_costs(self, layer_index: int) -> FloatArray:
        """Loss increase of each row on each PE."""
        return self.inner.row_costs(layer_index)


def drawn_profile(subject: Subject, seed: int) -> FaultProfile:
    """The profile that a flow draws by default."""
    spec = replace(ARRAY, wmem_depth=wmem_words(subject.network, ARRAY))
    rng = generator(seed, "faults")
    return generate.by_area(spec, rng, faulty_pes=FAULTY_PES, weights=SITE_AREA, seed=seed)


def searches(
    subject: Subject,
    seeds: Sequence[int],
    told: Callable[[Line], None],
    options: evolve.SearchOptions | None = None,
) -> list[Line]:
    """Cost of a candidate over default searches, and over one that judges all images.

    Parameters
    ----------
    seeds : of the profile and of the search.
    told : every line as it comes.
    options : of the searches; the defaults where None.
    """
    codes, labels = subject.calibration
    runs: list[_Run] = []
    for seed in seeds:
        profile = drawn_profile(subject, seed)
        whole = Evaluator(subject.network, profile, codes, labels)
        first, second, _ = split(subject.network, profile, whole, seed)
        if not isinstance(first, Evaluator):
            raise TypeError("part of an evaluator is an evaluator")
        runs.append(_search(subject, first, second, profile, seed, options))
    n, total = runs[0].images, len(labels)
    many = f", {len(runs)} profiles" if len(runs) > 1 else ""
    lines = _lines(runs, f"searched on {n} of {total} calibration images{many}")
    if n < total:
        few = Evaluator(subject.network, profile, codes[:FEW], labels[:FEW])
        alone = _search(subject, whole, few, profile, seeds[-1], options)
        lines += _lines([alone], f"searched on all {total} calibration images")
    lines.append(_assignment([run.found.seconds for run in runs]))
    for line in lines:
        told(line)
    return lines


@dataclass(frozen=True, slots=True)
class _Run:
    found: SearchResult
    images: int
    each: float  # seconds of a candidate, mean over the search
    ratio: float  # to the clean pass over as many images
    cpu_ratio: float  # the same of the processor time


def _search(
    subject: Subject,
    inner: Evaluator,
    selection: protocols.Evaluator | None,
    profile: FaultProfile,
    seed: int,
    options: evolve.SearchOptions | None,
) -> _Run:
    n = len(inner.labels)
    pixels = subject.pixels[torch.arange(n) % subject.batch]

    def clean() -> object:
        with torch.inference_mode():
            return subject.clean(pixels)

    timed = Timed(inner, clean)
    found = evolve.search(
        subject.network,
        profile,
        timed,
        options,
        seed=seed,
        selection=selection,
    )
    judged = sum(count for count, _, _ in timed.calls)
    each, cpu = (sum(call[i] for call in timed.calls) / judged for i in (1, 2))
    wall, used = (float(np.median([r[i] for r in timed.references])) for i in (0, 1))
    return _Run(found, n, each, each / wall, cpu / used)


def _lines(runs: Sequence[_Run], where: str) -> list[Line]:
    each = Spread.of([run.each for run in runs])
    evaluations = round(float(np.mean([run.found.evaluations for run in runs])))
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
            value=float(np.median([run.found.seconds for run in runs])),
            unit="s",
            note="loss model, row costs, genetic part, polish",
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
    space = make_space(network, profile, 0, None)
    costs = [rng.random((ASSIGNED_ROWS, len(layer.members))) for layer in space.layers]
    taken = min(times_of(lambda: assign(space, costs))[0] for _ in range(3))
    return Line(
        "search",
        f"assignment of {ASSIGNED_ROWS} rows, of the search's time",
        seconds=Spread.of([taken]),
        value=100 * taken / float(np.median(seconds)),
        unit="%",
        target=ASSIGNMENT_TARGET,
    )
