"""The study's question in the array's integer arithmetic: how much is there to win?

Profiles LIM and INF of transient faults on the partial sums, on all PEs and on a quarter of them;
the package's own search finds the maps. Beside each stands the best map that ten times the search
finds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hascodesign.common.interrupt import whole
from hascodesign.contract import arithmetic
from hascodesign.contract.array import check_widths, generator, identity_schedule, wmem_words
from hascodesign.contract.results import SearchResult
from hascodesign.contract.types import (
    ArraySpec,
    FaultProfile,
    IntegerNetwork,
    Schedule,
    Split,
)
from hascodesign.engine.network import Evaluator
from hascodesign.faults import transient
from hascodesign.models import integer, load
from hascodesign.schedule import evolve

Progress = Callable[[str, int, int], None]
ARRAY = ArraySpec(pe=16, simd=8, weight_bits=4, act_bits=8, acc_bits=24)
MODELS = {"digits": "digits-cnn", "mnist": "mnist-cnn"}
SHARES = {"all": 1, "quarter": 4}  # one PE in so many is faulty
TIMES = 10  # how much longer the long search is


@dataclass(frozen=True, slots=True)
class IntegerOptions:
    """Sizes of the integer part."""

    dataset: str
    blocks: str  # lim or inf
    pmax: tuple[float, ...]
    profiles: int
    seed: int
    images: int  # calibration images that the search looks at, at most
    evaluations: int  # of the search; the long one takes TIMES as many


@dataclass(frozen=True, slots=True)
class IntegerCase:
    """One profile; accuracies in percent of the held-out images, losses on calibration images."""

    share: str  # of the PEs that are faulty
    pmax: float
    profile: int
    healthy: float
    plain: float
    random: float  # mean over the search's random maps
    scheduled: float
    longer: float  # the map of ten times the search
    healthy_loss: float  # nats
    plain_loss: float
    scheduled_loss: float
    longer_loss: float
    evaluations: int
    seconds: float
    notes: tuple[str, ...]

    @property
    def recovery(self) -> float | None:
        """Share of the lost accuracy that is won back; None below one point of loss."""
        return _share(self.plain, self.healthy, self.scheduled, 1.0)

    @property
    def longer_recovery(self) -> float | None:
        """The same of the map of ten times the search."""
        return _share(self.plain, self.healthy, self.longer, 1.0)


@dataclass(frozen=True, slots=True)
class _Subject:
    options: IntegerOptions
    network: IntegerNetwork
    search: Split
    judge: Split


def run(options: IntegerOptions, cache: Path, progress: Progress) -> tuple[IntegerCase, ...]:
    """Search and judge every profile.

    Parameters
    ----------
    options : what to study.
    cache : folder of trained networks; it need not exist.
    progress : told of cases done.
    """
    loaded = load.load_bundled(MODELS[options.dataset], None, cache, progress)
    network = integer.integerise(loaded.model, loaded.name, loaded.in_shape, ARRAY.acc_bits)
    check_widths(network, ARRAY)
    shown, count = loaded.dataset.calibration, options.images
    searched = Split(shown.images[:count], shown.labels[:count])
    subject = _Subject(options, network, searched, loaded.dataset.heldout)
    cases: list[IntegerCase] = []
    total = len(SHARES) * len(options.pmax) * options.profiles
    for share in SHARES:
        for pmax in options.pmax:
            for number in range(options.profiles):
                progress("integer cases", len(cases), total)
                cases.append(_case(subject, share, pmax, number))
    progress("integer cases", total, total)
    return tuple(cases)


def draw(
    network: IntegerNetwork, options: IntegerOptions, share: str, pmax: float, number: int
) -> FaultProfile:
    """Profile of one case: p even in [0, pmax] on one PE in SHARES[share]."""
    array = replace(ARRAY, wmem_depth=wmem_words(network, ARRAY))
    rng = generator(options.seed, f"has integer {number} {options.blocks}")
    make = transient.inf if options.blocks == "inf" else transient.lim
    profile = make(array, rng, pmax=pmax, seed=options.seed + number)
    faulty = set(rng.permutation(array.pe)[: array.pe // SHARES[share]].tolist())
    kept = tuple(fault for fault in profile.faults if fault.pe in faulty)
    return replace(profile, faults=kept)


def _case(subject: _Subject, share: str, pmax: float, number: int) -> IntegerCase:
    options, network = subject.options, subject.network
    profile = draw(network, options, share, pmax, number)
    searched = _evaluator(network, profile, subject.search)
    sizes = evolve.SearchOptions(evaluations=options.evaluations)
    short = whole(lambda: evolve.search(searched, sizes, options.seed))
    longer = replace(
        sizes,
        evaluations=TIMES * options.evaluations,
        generations=TIMES * sizes.generations,
        plateau=TIMES * sizes.plateau,
    )
    long = whole(lambda: evolve.search(searched, longer, options.seed))
    plain = identity_schedule(network, profile.array)
    randoms = [b.schedule for b in short.baselines if b.name.startswith("random_")]
    judge = _evaluator(network, profile, subject.judge)
    percent = _percent(judge, [plain, short.schedule, long.schedule, *randoms])
    healthy, healthy_loss = judge.healthy_judgement(), searched.healthy_judgement().loss
    return IntegerCase(
        share, pmax, number,
        healthy=100 * healthy.accuracy, plain=percent[0],
        random=sum(percent[3:]) / len(randoms),
        scheduled=percent[1], longer=percent[2],
        healthy_loss=healthy_loss, plain_loss=_loss(short, "identity"),
        scheduled_loss=short.loss, longer_loss=long.loss,
        evaluations=short.evaluations, seconds=short.seconds, notes=short.notes,
    )  # fmt: skip


def _evaluator(network: IntegerNetwork, profile: FaultProfile, split: Split) -> Evaluator:
    return Evaluator(
        network, profile, arithmetic.quantise(split.images, network.input), split.labels
    )


def _percent(judge: Evaluator, schedules: list[Schedule]) -> list[float]:
    return [100 * judgement.accuracy for judgement in judge.judge_many(schedules)]


def _loss(result: SearchResult, name: str) -> float:
    return next(baseline.loss for baseline in result.baselines if baseline.name == name)


def _share(plain: float, healthy: float, reached: float, least: float) -> float | None:
    lost = healthy - plain
    return (reached - plain) / lost if abs(lost) > least else None
