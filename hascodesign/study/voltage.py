"""`study voltage`: accuracy against supply voltage and modelled power, plain order and schedule."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure
from rich.table import Table

from hascodesign import array, files
from hascodesign.errors import ConfigError
from hascodesign.faults import bram, voltage
from hascodesign.faults.power import PowerModel
from hascodesign.pipeline import Flow
from hascodesign.report import plots
from hascodesign.request import Request
from hascodesign.steps import StepStore
from hascodesign.types import Accuracy, ArraySpec, FaultProfile
from hascodesign.ui import Display

#: Volts, from the guardband down to the lowest at which the measured boards still answered.
VOLTAGES = (0.64, 0.61, 0.60, 0.59, 0.58, 0.57, 0.56, 0.55, 0.54, 0.53)
#: Points of accuracy that a user would give for power.
ALLOWED = 1.0


@dataclass(frozen=True, slots=True)
class Point:
    """One voltage of one source of faults; accuracies of held-out images."""

    volts: float
    faults: int
    power: float  # share of the power at nominal voltage, by the model
    healthy: Accuracy
    plain: Accuracy
    scheduled: Accuracy


@dataclass(frozen=True, slots=True)
class Sweep:
    """One source of faults over all voltages, highest first."""

    name: str
    points: tuple[Point, ...]
    first_fault: float | None  # V, the highest voltage that shows a fault

    def lowest(self, plain: bool) -> Point | None:
        """The lowest voltage down to which all stay within ALLOWED points of healthy."""
        last = None
        for point in self.points:
            kept = point.plain if plain else point.scheduled
            if point.healthy.value - kept.value > ALLOWED:
                break
            last = point
        return last


@dataclass(frozen=True, slots=True)
class VoltageResult:
    """The drawn cells, and the measured block RAM list where it is at hand."""

    sweeps: tuple[Sweep, ...]
    model: str  # the power model in words


Draw = Callable[[ArraySpec, float], FaultProfile]


def run(
    request: Request, measured: Path | None = None, voltages: Sequence[float] = VOLTAGES
) -> VoltageResult:
    """Search and judge at every voltage; the model and its data are prepared once.

    Parameters
    ----------
    request : as for a flow; `out` gets voltage.json, voltage.svg and the steps.
    measured : folder of the measured block RAM list, None where it is not at hand.
    voltages : volts, from 0.53 to nominal.
    """
    out = files.usable_folder(request.out)
    with Display(out / "study.log") as display:
        first = Flow(request, StepStore(out / "steps"), display)
        spec = replace(first.array, wmem_depth=first.network_words)
        seed = request.config.seed
        cells = voltage.draw_cells(spec, array.generator(seed, "cells"), seed=seed)
        sources: dict[str, Draw] = {"drawn cells": lambda _, v: voltage.at_voltage(cells, v)}
        if measured is not None:
            listed = bram.nested_cells(spec, bram.read_map(measured), seed=seed)
            sources["measured block RAM"] = lambda _, v: voltage.at_voltage(listed, v)
        sweeps = [
            _sweep(first, name, draw, sorted(voltages, reverse=True))
            for name, draw in sources.items()
        ]
    result = VoltageResult(tuple(sweeps), PowerModel().label)
    files.write_atomic(out / "voltage.json", _json(result))
    files.write_atomic(out / "voltage.svg", figure(result))
    return result


def _sweep(first: Flow, name: str, draw: Draw, voltages: Sequence[float]) -> Sweep:
    points: list[Point] = []
    for done, volts in enumerate(voltages):
        first.display.progress(f"voltages, {name}", done, len(voltages))
        profile = draw(first.array, volts)
        folder = f"{name.replace(' ', '-')}-{round(volts * 1000)}mV"
        flow = Flow(
            replace(first.request, out=first.request.out / folder),
            StepStore(first.request.out / folder / "steps"),
            first.display,
        )
        flow.share_model(first)
        flow.profile = profile
        accuracy = flow.accuracy
        points.append(
            Point(
                volts,
                len(profile.faults),
                PowerModel().power(volts).relative,
                accuracy["integer"],
                accuracy["faulty_identity"],
                accuracy["scheduled"],
            )
        )
        first.display.line(_line(name, points[-1]))
    first.display.progress(f"voltages, {name}", len(voltages), len(voltages))
    faulty = [p.volts for p in points if p.faults]
    return Sweep(name, tuple(points), max(faulty, default=None))


def _line(name: str, point: Point) -> str:
    return (
        f"{name}, {point.volts:.2f} V: {point.faults} faults, plain {point.plain.value:.2f} %,"
        f" scheduled {point.scheduled.value:.2f} %, modelled power {point.power:.1%}"
    )


def table(result: VoltageResult) -> Table:
    """All points for the terminal."""
    shown = Table(title="held-out accuracy, %, and modelled power")
    for head in ("source", "V", "faults", "power", "healthy", "plain", "scheduled"):
        shown.add_column(head, justify="right")
    for sweep in result.sweeps:
        for p in sweep.points:
            accuracies = (p.healthy.value, p.plain.value, p.scheduled.value)
            cells = (f"{p.volts:.2f}", str(p.faults), f"{p.power:.1%}")
            shown.add_row(sweep.name, *cells, *(f"{a:.2f}" for a in accuracies))
    return shown


def sentences(result: VoltageResult) -> list[str]:
    """What each order reaches, and what the power figures are."""
    lines = []
    for sweep in result.sweeps:
        for plain, order in ((True, "plain order"), (False, "schedule")):
            point = sweep.lowest(plain)
            if point is None:
                lines.append(f"{sweep.name}, {order}: not within {ALLOWED:g} point at any voltage")
                continue
            lines.append(
                f"{sweep.name}, {order}: within {ALLOWED:g} point down to {point.volts:.2f} V,"
                f" {1 - point.power:.1%} of the modelled power saved"
            )
        if sweep.first_fault is not None:
            without = PowerModel().power(sweep.first_fault).saved
            lines.append(
                f"{sweep.name}: first faults seen at {sweep.first_fault:.2f} V; stopping there"
                f" saves {without:.1%}"
            )
    return [*lines, result.model]


def figure(result: VoltageResult) -> bytes:
    """Accuracy against modelled power, with 95 % intervals, one panel per source; SVG."""
    with plots.style():
        drawn = Figure(figsize=(plots.HALF * len(result.sweeps) + 1.5, 3.4))
        axes = drawn.subplots(1, len(result.sweeps), squeeze=False, sharey=True)[0]
        for axis, sweep in zip(axes, result.sweeps, strict=True):
            for name, colour in (("plain", plots.RED), ("scheduled", plots.GREEN)):
                entries: list[Accuracy] = [getattr(p, name) for p in sweep.points]
                values = [e.value for e in entries]
                low = [e.value - e.ci95[0] for e in entries]
                high = [e.ci95[1] - e.value for e in entries]
                power = [100 * p.power for p in sweep.points]
                label = {"plain": "plain order"}.get(name, name)
                axis.errorbar(
                    power,
                    values,
                    yerr=[low, high],
                    color=colour,
                    marker="o",
                    markersize=3,
                    linewidth=1.2,
                    capsize=2,
                    label=label,
                )
            for p in sweep.points[::3]:
                axis.annotate(f"{p.volts:.2f} V", (100 * p.power, 3), ha="center", fontsize=7)
            axis.axhline(sweep.points[0].healthy.value, color=plots.GREY, lw=0.8, ls="--")
            axis.set_title(sweep.name, fontsize=9)
            axis.set_xlabel("power, % of nominal (model)")
            axis.set_ylim(0, 102)
            axis.invert_xaxis()
        axes[0].set_ylabel("held-out accuracy, %")
        axes[0].legend(frameon=False, loc="center left")
        text = plots.to_svg(drawn, "accuracy against modelled power")
    # a file of its own has no page to take its ink from
    page = str(text).replace("currentColor", "#333").replace("<svg", _SVG_HEAD, 1)
    return page.encode() + b"\n"


_SVG_HEAD = '<svg style="background:#fff"'


def _json(result: VoltageResult) -> bytes:
    content = {
        "version": 1,
        "power_model": result.model,
        "allowed_points": ALLOWED,
        "sweeps": [
            {
                "name": sweep.name,
                "first_fault_v": sweep.first_fault,
                "lowest_plain_v": _volts(sweep.lowest(plain=True)),
                "lowest_scheduled_v": _volts(sweep.lowest(plain=False)),
                "points": [asdict(point) for point in sweep.points],
            }
            for sweep in result.sweeps
        ],
    }
    return json.dumps(content, indent=2).encode() + b"\n"


def _volts(point: Point | None) -> float | None:
    return None if point is None else point.volts


def measured_folder(data: Path | None) -> Path | None:
    """The measured list inside the folder of extra data, None where there is none."""
    if data is None:
        return None
    folder = data / "undervolt-kc705b"
    if not folder.is_dir():
        return None
    if not (folder / "faults.csv").is_file():
        raise ConfigError(f"measured list must hold faults.csv: {folder}")
    return folder
