"""`study voltage`: accuracy against supply voltage and modelled power, plain order and schedule.

Every chip is swept from the highest voltage to the lowest. Its faults nest, so each voltage's
search begins with the schedule of the voltage above, which stays where it still serves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hascodesign.common import files, stats
from hascodesign.common.display import Display
from hascodesign.common.interrupt import whole
from hascodesign.contract import array
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.results import Accuracy
from hascodesign.contract.types import ArraySpec, FaultProfile, IntegerNetwork, Schedule, Split
from hascodesign.faults import bram, voltage
from hascodesign.faults.power import PowerModel
from hascodesign.fleet.work import Shared
from hascodesign.flow.flow import Flow
from hascodesign.flow.request import Request
from hascodesign.flow.store import StepStore

if TYPE_CHECKING:
    from hascodesign.fleet.cluster import Where

#: Volts, from above the first modelled fault to the lowest at which the measured board answered.
VOLTAGES = (0.64, 0.62, 0.60, 0.59, 0.58, 0.57, 0.56, 0.55, 0.54, 0.53)
#: Points of accuracy that a user would give for power.
ALLOWED = 1.0
CHIPS = 5
#: Share of the calibration images that the schedule of the voltage above may lose and stay.
KEPT = 0.001
#: Share of the modelled power at nominal voltage that is to be saved.
GOAL = 0.5
MODELLED, MEASURED = "modelled chips", "measured block RAM"


@dataclass(frozen=True, slots=True)
class ChipPoint:
    """One chip at one voltage; correct answers of the held-out images."""

    faults: int
    plain: int
    scheduled: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """Chips of one kind over all voltages, highest first."""

    name: str
    chips: tuple[str, ...]  # names
    volts: tuple[float, ...]
    points: tuple[tuple[ChipPoint, ...], ...]  # by voltage, then by chip
    n: int  # held-out images
    healthy: int  # of them correct without a fault

    def accuracies(self, order: str, place: int) -> list[float]:
        """Accuracy of each chip at one voltage, percent, of order ``plain`` or ``scheduled``."""
        return [100 * int(getattr(point, order)) / self.n for point in self.points[place]]

    def mean(self, order: str, place: int) -> Accuracy:
        """Mean over the chips; its interval is the wider of that over chips and over images.

        Student's t over the chips, Wilson's of a proportion over the images; 95 % each.
        """
        correct = [int(getattr(point, order)) for point in self.points[place]]
        chips = stats.mean_accuracy(correct, self.n)
        low, high = stats.wilson(round(sum(correct) / len(correct)), self.n)
        return Accuracy(chips.value, self.n, (min(low, chips.ci95[0]), max(high, chips.ci95[1])))

    def lowest(self, order: str, *, every_chip: bool) -> float | None:
        """The voltage down to which the mean, or every chip, stays within ALLOWED points."""
        last = None
        for volts, points in zip(self.volts, self.points, strict=True):
            # in images, so that no rounding decides at the very point
            lost = [self.healthy - int(getattr(point, order)) for point in points]
            counted = max(lost) if every_chip else sum(lost) / len(lost)
            if 100 * counted > ALLOWED * self.n:
                break
            last = volts
        return last

    @property
    def first_fault(self) -> float | None:
        """The highest voltage at which a chip shows a fault."""
        faulty = [
            v for v, at in zip(self.volts, self.points, strict=True) if any(p.faults for p in at)
        ]
        return max(faulty, default=None)


@dataclass(frozen=True, slots=True)
class VoltageResult:
    """The drawn chips, and the measured block RAM list where it is at hand."""

    model: str
    board: str
    array: ArraySpec
    seed: int
    sweeps: tuple[Sweep, ...]
    power: PowerModel
    measured: str  # what was measured and which part of it is shown, or why nothing is
    seconds: float


Draw = Callable[[float], FaultProfile]


def run(
    request: Request,
    measured: Path | None = None,
    chips: int = CHIPS,
    voltages: Sequence[float] = VOLTAGES,
    where: Where | None = None,
) -> VoltageResult:
    """Search and judge at every voltage; the model and its data are prepared once.

    Parameters
    ----------
    request : as for a flow; `out` gets the model's steps and the log.
    measured : folder of the measured block RAM list, None where it is not at hand.
    chips : drawn chips, from the flow's seed on; and stretches of the measured list.
    voltages : volts, from 0.53 to nominal, of the drawn chips; the measured list has its own.
    where : a cluster that does the chips, None for this process: the points are the same.
    """
    start = time.perf_counter()
    if not 1 <= chips <= 1000:
        raise ConfigError(f"the chips must be 1..1000, not {chips}")
    out = files.usable_folder(request.out)
    with Display(out / "study.log") as display:
        flow = Flow(request, StepStore(out / "steps"), display)
        spec = replace(flow.array, wmem_depth=flow.network_words)
        bench = _Bench(flow, spec, where)
        sweeps = [_modelled(bench, spec, chips, sorted(voltages, reverse=True))]
        note = "the measured list is left out: HASCODESIGN_DATA does not hold undervolt-kc705b"
        if measured is not None:
            sweep, note = _measured(bench, spec, chips, measured)
            sweeps.append(sweep)
    return VoltageResult(
        flow.network.name,
        flow.board.name,
        spec,
        request.config.seed,
        tuple(sweeps),
        PowerModel(),
        note,
        time.perf_counter() - start,
    )


@dataclass(frozen=True, slots=True)
class _Deployed:
    """A schedule, and the network with its rows as written for it."""

    schedule: Schedule
    network: IntegerNetwork


class _Bench:
    """Searches on calibration images and judges on held-out ones, profile after profile."""

    def __init__(self, flow: Flow, spec: ArraySpec, where: Where | None = None) -> None:
        from hascodesign.engine.network import Evaluator  # noqa: PLC0415  (numba compiles)

        self.flow, self.where = flow, where
        self.kind = Evaluator
        self.n = len(flow.dataset.heldout.labels)
        self.plain = _Deployed(array.identity_schedule(flow.network, spec), flow.network)
        self.healthy = self.correct(FaultProfile(spec), self.plain)

    def correct(self, profile: FaultProfile, one: _Deployed) -> int:
        """Held-out images that a network under its schedule classifies correctly."""
        return int(self._judge(self.flow.dataset.heldout, profile, one).correct)

    def _judge(self, split: Split, profile: FaultProfile, one: _Deployed) -> Any:
        return self.flow.evaluator(split, self.kind, profile, one.network).judge(one.schedule)

    def search(self, profile: FaultProfile, before: _Deployed) -> _Deployed:
        """The schedule of a profile, its rows written, from that of the voltage above on.

        It stays where it still classifies nearly all calibration images that the healthy array
        does.
        """
        from hascodesign.schedule import evolve  # noqa: PLC0415

        calibration = self.flow.dataset.calibration
        evaluator = self.flow.evaluator(calibration, self.kind, profile)
        healthy = evaluator.healthy_judgement().correct
        if self._judge(calibration, profile, before).correct >= healthy - KEPT * len(
            calibration.labels
        ):
            return before
        chosen = self.flow.config.schedule
        options = evolve.SearchOptions(
            population=chosen.population,
            generations=chosen.generations,
            evaluations=chosen.evaluations,
            seconds=chosen.seconds,
            random_maps=chosen.random_maps,
            extra_passes=chosen.extra_passes,
            moves=chosen.moves,
        )
        seed = self.flow.config.seed
        found = whole(lambda: evolve.search(evaluator, options, seed, starts=[before.schedule]))
        return _Deployed(found.schedule, found.written or self.flow.network)

    def chip(self, draw: Draw, voltages: Sequence[float]) -> list[ChipPoint]:
        """One chip from its highest voltage to its lowest."""
        points: list[ChipPoint] = []
        before, scheduled = FaultProfile(self.plain.schedule.array), self.plain
        point = ChipPoint(0, self.healthy, self.healthy)
        for volts in voltages:
            profile = draw(volts)
            if profile.faults != before.faults:
                scheduled = self.search(profile, scheduled)
                plain = self.correct(profile, self.plain)
                point = ChipPoint(len(profile.faults), plain, self.correct(profile, scheduled))
            before = profile
            points.append(point)
        return points

    def chips(
        self, draws: Sequence[Draw], voltages: Sequence[float]
    ) -> Iterator[tuple[int, list[ChipPoint]]]:
        """Place and points of each chip: one after another, or as a cluster has done them."""
        if self.where is None:
            yield from enumerate(self.chip(draw, voltages) for draw in draws)
            return
        from hascodesign.fleet import cluster  # noqa: PLC0415  (dask, of an extra)

        calls = [(tuple(draw(volts) for volts in voltages), tuple(voltages)) for draw in draws]
        yield from cluster.spread(self.where, Shared.of(self.flow), _on_worker, calls)

    def sweep(
        self, name: str, voltages: Sequence[float], draws: Sequence[tuple[str, Draw]]
    ) -> Sweep:
        """All chips of one kind."""
        display, by_chip = self.flow.display, {}
        display.progress(name, 0, len(draws))
        for place, chip_points in self.chips([draw for _, draw in draws], voltages):
            by_chip[place], last = chip_points, chip_points[-1]
            display.progress(name, len(by_chip), len(draws))
            display.line(
                f"{name}, {draws[place][0]}: {last.faults} faults at {voltages[-1]:.2f} V, plain"
                f" {100 * last.plain / self.n:.2f} %, scheduled"
                f" {100 * last.scheduled / self.n:.2f} %"
            )
        names = tuple(chip for chip, _ in draws)
        points = tuple(zip(*(by_chip[place] for place in range(len(draws))), strict=True))
        return Sweep(name, names, tuple(voltages), points, self.n, self.healthy)


def _on_worker(
    shared: Shared, profiles: Sequence[FaultProfile], voltages: Sequence[float]
) -> list[ChipPoint]:
    """One chip, whose profile at each voltage is given."""
    at = dict(zip(voltages, profiles, strict=True))
    spec = profiles[0].array
    return _Bench(shared.flow(FaultProfile(spec)), spec).chip(at.__getitem__, voltages)


def _modelled(bench: _Bench, spec: ArraySpec, chips: int, voltages: Sequence[float]) -> Sweep:
    """Chips whose cells' thresholds are drawn, one from each seed."""
    first = bench.flow.config.seed

    def draw(seed: int) -> Draw:
        cells = voltage.draw_cells(spec, array.generator(seed, "cells"), seed=seed)
        return lambda volts: voltage.at_voltage(cells, volts)

    seeds = range(first, first + chips)
    return bench.sweep(MODELLED, voltages, [(f"seed {seed}", draw(seed)) for seed in seeds])


def _measured(bench: _Bench, spec: ArraySpec, chips: int, folder: Path) -> tuple[Sweep, str]:
    """The worst stretches of the measured list that can hold the weight banks."""
    listed, seed = bram.read_map(folder), bench.flow.config.seed
    needed, low = bram.brams_of(spec), min(listed.voltages)
    places = (listed.brams - needed) // needed + 1
    faulty = bram.worst_places(spec, listed)
    worst = faulty[:chips]

    def draw(first: int) -> Draw:
        return lambda volts: bram.onto_banks(spec, listed, volts, first=first, seed=seed)

    counts = [len(draw(first)(low).faults) for first in worst]
    voltages = (round(max(listed.voltages) + 0.01, 6), *listed.voltages)
    draws = [(f"block RAM {first} on", draw(first)) for first in worst]
    note = (
        f"{listed.source}: the weight banks take {needed} of its {listed.brams} block RAMs; of the"
        f" {places} places for them {len(faulty)} hold faulty bits at {low:.2f} V, shown are the"
        f" {len(worst)} with the most ({counts[-1]} to {counts[0]}); taken voltage by"
        " voltage as listed"
    )
    return bench.sweep(MEASURED, voltages, draws), note


def measured_folder(data: Path | None) -> Path | None:
    """The measured list inside the folder of extra data, None where there is none."""
    if data is None:
        return None
    folder = data / bram.KC705B
    if not folder.is_dir():
        return None
    if not (folder / "faults.csv").is_file():
        raise ConfigError(f"measured list must hold faults.csv: {folder}")
    return folder
