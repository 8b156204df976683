"""`study has`: the experiment of the HAS study, in its own arithmetic.

Every case is one network, one drawn profile, one kind of corruption and one pmax. The schedule is
found on calibration images and judged on held-out images, each map on the same several redraws.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from hascodesign.common.stats import mean_interval
from hascodesign.contract.array import generator
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import FloatArray, IntArray
from hascodesign.study.has import layers
from hascodesign.study.has.faults import (
    BLOCKS,
    KINDS,
    THREADS,
    BlockProfile,
    draw_profile,
    groups_of,
    plain_map,
)
from hascodesign.study.has.forward import FirstLayer, correct, strikes
from hascodesign.study.has.integer import IntegerCase, IntegerOptions
from hascodesign.study.has.integer import run as run_integers
from hascodesign.study.has.model import RECIPES, Images, StudyData, StudyNetwork, load_data, trained
from hascodesign.study.has.rescale import rescaled
from hascodesign.study.has.search import (
    Curves,
    Found,
    measure_curves,
    random_map,
    schedule,
    share_lost,
)

if TYPE_CHECKING:
    from hascodesign.fleet.cluster import Where

Progress = Callable[[str, int, int], None]
Maps = tuple[IntArray | None, ...]
HARM_IMAGES = 60  # whose every partial sum is corrupted once, in the layers after the first
SCALE_IMAGES = 1000  # calibration images that rows are rescaled by, at most
#: Below this loss of the plain order, in points, a ratio of losses says nothing.
LEAST_POINTS = 1.0
INTEGER_SIZES = ("integer_profiles", "integer_images", "integer_evaluations")


@dataclass(frozen=True, slots=True)
class HasOptions:
    """What a user can set about the study.

    Raises
    ------
    ConfigError
        Where a value is out of its range.
    """

    dataset: str = "digits"
    layer: Literal["first", "all"] = "first"
    kinds: tuple[str, ...] = ("invert", "set1")
    pmax: tuple[float, ...] = (0.002, 0.005)
    models: int = 1  # networks, trained from seeds 0, 1, ...
    profiles: int = 2  # of each network
    blocks: str = "lim"
    seed: int = 1  # of profiles, draws and random maps
    images: int = 2000  # calibration images that the search looks at, at most
    redraws: int = 6  # of the faults when judging on held-out images
    random: int = 6  # random maps
    integer_pmax: tuple[float, ...] = ()  # of the part in integers; none = leave it out
    integer_profiles: int = 1
    integer_images: int = 800  # calibration images of its search
    integer_evaluations: int = 150  # of its search; the long one takes ten times as many

    def __post_init__(self) -> None:
        """Check the ranges."""
        _one_of("dataset", (self.dataset,), tuple(RECIPES))
        _one_of("layer", (self.layer,), ("first", "all"))
        _one_of("kinds", self.kinds, KINDS)
        _one_of("blocks", (self.blocks,), tuple(BLOCKS))
        for name in ("models", "profiles", "images", "redraws", "random", *INTEGER_SIZES):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if not self.pmax:
            raise ConfigError("pmax must name one probability or more, not none")
        for pmax in (*self.pmax, *self.integer_pmax):
            if not 0 < pmax < 1:
                raise ConfigError(f"pmax must be above 0 and below 1, not {pmax:g}")


@dataclass(frozen=True, slots=True)
class Mean:
    """Mean accuracy over redraws or maps, with a t interval of that mean, in percent."""

    value: float
    ci95: tuple[float, float]


@dataclass(frozen=True, slots=True)
class HasCase:
    """One network, profile, kind and pmax; accuracies on held-out images."""

    model: int  # seed of the network
    profile: int
    kind: str
    pmax: float
    clean: float  # percent
    plain: Mean
    random: Mean
    assigned: Mean
    scheduled: Mean
    bound: float | None  # of `recovery`, by the separable cost on calibration images
    evaluations: int
    seconds: float  # of the schedule, cost curves included
    rescaled: Mean  # the same function in rows scaled by powers of two, in plain order
    rescaled_scheduled: Mean  # and with a schedule of its own

    @property
    def recovery(self) -> float | None:
        """Share of the loss that is won back; None where the plain order loses under a point."""
        return _recovery(self.clean, self.plain.value, self.scheduled.value)

    @property
    def rescaled_recovery(self) -> float | None:
        """The same of the rescaled rows with their schedule."""
        return _recovery(self.clean, self.plain.value, self.rescaled_scheduled.value)


@dataclass(frozen=True, slots=True)
class HasResult:
    """Every case of one run of the study."""

    options: HasOptions
    heldout: int  # images
    calibration: int  # images that the search looked at
    cases: tuple[HasCase, ...]
    integer: tuple[IntegerCase, ...]  # of the part in integers
    seconds: float  # of the whole study


@dataclass(slots=True)
class _Subject:
    """One network with its images, and what is known of it whatever the profile."""

    options: HasOptions
    network: StudyNetwork
    search: Images
    judge: Images
    kind: str
    on_search: FirstLayer
    on_judge: FirstLayer
    harms: tuple[FloatArray, ...]
    harm_seconds: float


def run(
    options: HasOptions, cache: Path, progress: Progress, where: Where | None = None
) -> HasResult:
    """Train or load the networks, schedule and judge every case.

    Parameters
    ----------
    options : what to study.
    cache : folder of trained networks; it need not exist.
    progress : told of training, and of cases done.
    where : a cluster that does the cases, None for this process: they are the same but for times.

    Raises
    ------
    ConfigError
        The data set is not there.
    """
    # one thread: sums split over threads round as many ways as there are, and idle ones spin
    with threadpool_limits(1):
        return _run(options, cache, progress, where)


def _run(options: HasOptions, cache: Path, progress: Progress, where: Where | None) -> HasResult:
    start = time.monotonic()
    images = load_data(options.dataset)
    networks = [trained(images, model, cache, progress) for model in range(options.models)]
    groups = [
        (options, images, networks[model], model, kind)
        for model in range(options.models)
        for kind in options.kinds
    ]
    total = len(groups) * len(options.pmax) * options.profiles
    progress("cases", 0, total)
    found: dict[tuple[int, int], HasCase] = {}
    for place, case in _spread(groups, where):
        found[place] = case
        progress("cases", len(found), total)
    cases = [found[place] for place in sorted(found)]
    looked = min(options.images, len(images.calibration))
    integer = _integer(options, cache, progress)
    seconds = time.monotonic() - start
    return HasResult(options, len(images.heldout), looked, tuple(cases), integer, seconds)


Group = tuple[HasOptions, StudyData, StudyNetwork, int, str]


def _spread(
    groups: Sequence[Group], where: Where | None
) -> Iterator[tuple[tuple[int, int], HasCase]]:
    """Each case, by the places of its group and in it, as they come."""
    if where is None:
        for place, group in enumerate(groups):
            for number, case in enumerate(_cases(*group)):
                yield (place, number), case
        return
    from hascodesign.fleet import cluster  # noqa: PLC0415  (dask, of an extra)

    for place, made in cluster.spread(where, None, _on_worker, groups):
        for number, case in enumerate(made):
            yield (place, number), case


def _on_worker(*group: Any) -> list[HasCase]:
    return list(_cases(*group))


def _cases(
    options: HasOptions, images: StudyData, network: StudyNetwork, model: int, kind: str
) -> Iterator[HasCase]:
    """All cases of one network and one kind of corruption."""
    scaled = rescaled(
        network, images.calibration.part(0, SCALE_IMAGES), every=options.layer == "all"
    )
    subjects = [_subject(options, images, one, kind) for one in (network, scaled)]
    for pmax in options.pmax:
        seed = _seed(options, "curves")
        curves = [measure_curves(one.on_search, pmax, seed) for one in subjects]
        for profile in range(options.profiles):
            yield _case(subjects, curves, (model, profile, pmax))


def _integer(options: HasOptions, cache: Path, progress: Progress) -> tuple[IntegerCase, ...]:
    if not options.integer_pmax:
        return ()
    sizes = IntegerOptions(
        options.dataset, options.blocks, options.integer_pmax, options.integer_profiles,
        options.seed, options.integer_images, options.integer_evaluations,
    )  # fmt: skip
    return run_integers(sizes, cache, progress)


def _subject(options: HasOptions, images: StudyData, network: StudyNetwork, kind: str) -> _Subject:
    search = images.calibration.part(0, options.images)
    start = time.monotonic()
    harms: tuple[FloatArray, ...] = ()
    if options.layer == "all":
        harms = layers.harms(network, search.part(0, HARM_IMAGES), kind)
    seconds = time.monotonic() - start
    on_search = FirstLayer(network, search, kind)
    on_judge = FirstLayer(network, images.heldout, kind)
    return _Subject(
        options, network, search, images.heldout, kind, on_search, on_judge, harms, seconds
    )


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one network comes to on one profile."""

    clean: float
    means: tuple[Mean, Mean, Mean, Mean]  # plain order, random maps, assignment, schedule
    bound: float | None
    evaluations: int
    seconds: float


def _case(
    subjects: Sequence[_Subject], curves: Sequence[Curves], which: tuple[int, int, float]
) -> HasCase:
    own, scaled = (
        _outcome(subject, one, which) for subject, one in zip(subjects, curves, strict=True)
    )
    model, number, pmax = which
    plain, drawn, assigned, scheduled = own.means
    return HasCase(
        model=model, profile=number, kind=subjects[0].kind, pmax=pmax, clean=own.clean,
        plain=plain, random=drawn, assigned=assigned, scheduled=scheduled, bound=own.bound,
        evaluations=own.evaluations, seconds=own.seconds,
        rescaled=scaled.means[0], rescaled_scheduled=scaled.means[-1],
    )  # fmt: skip


def _outcome(subject: _Subject, curves: Curves, which: tuple[int, int, float]) -> _Outcome:
    model, number, pmax = which
    options, network = subject.options, subject.network
    rng = generator(options.seed, f"has profile {model} {number} {options.blocks}")
    profile = draw_profile(rng, pmax, options.blocks)
    first = network.layers[0]
    p = profile.slots(groups_of(first.rows), first.tiles, 0)[:, 0]
    found = schedule(subject.on_search, curves, p, pmax, _seed(options, "swaps"))
    start = time.monotonic()
    plain_cost, bound, rest = found.plain_cost, found.bound, _none(network)
    if options.layer == "all":
        cost = layers.costs(network, subject.harms, profile)
        rest = layers.maps(cost)
        plain_cost += sum(float(np.trace(one)) for one in cost)
        bound += sum(
            float(one[np.arange(len(one)), slots].sum())
            for one, slots in zip(cost, rest, strict=True)
            if slots is not None
        )
    seconds = found.seconds + subject.harm_seconds + time.monotonic() - start
    return _Outcome(
        clean=100 * float(subject.on_judge.healthy.mean()),
        means=_judged(subject, profile, found, rest, rng),
        bound=1 - share_lost(bound) / share_lost(plain_cost) if plain_cost > 0 else None,
        evaluations=found.evaluations,
        seconds=seconds,
    )


def _judged(
    subject: _Subject,
    profile: BlockProfile,
    found: Found,
    rest: Maps,
    rng: np.random.Generator,
) -> tuple[Mean, Mean, Mean, Mean]:
    """Held-out accuracy of the plain order, random maps, the assignment and the schedule."""
    options, network = subject.options, subject.network
    seeds = [_seed(options, f"judge {n}") for n in range(options.redraws)]
    everything = options.layer == "all"
    plain: Maps = tuple(plain_map(layer.rows) for layer in network.layers)
    drawn = [
        tuple(
            random_map(rng, layer.rows, groups_of(layer.rows) * THREADS) for layer in network.layers
        )
        for _ in range(options.random)
    ]

    def accuracy(maps: Maps, seed: int) -> float:
        kept = maps if everything else (maps[0], *_none(network))
        struck = strikes(network, profile, subject.kind, kept)
        if everything or struck[0] is None:
            return 100 * float(correct(network, subject.judge, struck, seed).mean())
        right = subject.on_judge.correct(struck[0].p[:, 0], profile.pmax, seed)
        return 100 * float(right.mean())

    randoms = [accuracy(maps, seeds[n % len(seeds)]) for n, maps in enumerate(drawn)]
    return (
        _mean([accuracy(plain, seed) for seed in seeds]),
        _mean(randoms),
        _mean([accuracy((found.assigned, *rest), seed) for seed in seeds]),
        _mean([accuracy((found.slots, *rest), seed) for seed in seeds]),
    )


def _none(network: StudyNetwork) -> Maps:
    return (None,) * (len(network.layers) - 1)


def _mean(values: Sequence[float]) -> Mean:
    low, high = mean_interval(values)
    return Mean(sum(values) / len(values), (max(low, 0.0), min(high, 100.0)))


def _recovery(clean: float, plain: float, scheduled: float) -> float | None:
    return (scheduled - plain) / (clean - plain) if clean - plain >= LEAST_POINTS else None


def _seed(options: HasOptions, purpose: str) -> int:
    return int(generator(options.seed, f"has {purpose}").integers(1 << 48))


def _one_of(name: str, given: Sequence[str], known: Sequence[str]) -> None:
    if not given:
        raise ConfigError(f"{name} must be one of {', '.join(known)}, not none")
    for value in given:
        if value not in known:
            raise ConfigError(f"{name} must be one of {', '.join(known)}, not {value}")
