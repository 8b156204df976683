"""The voltage study's figure, table, sentences and JSON."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from hascodesign.common import files
from hascodesign.contract.results import Accuracy
from hascodesign.faults.power import PowerModel
from hascodesign.faults.voltage import BRAM_CURVE, LOGIC_CURVE
from hascodesign.study.voltage import ALLOWED, GOAL, MEASURED, MODELLED, Sweep, VoltageResult

_ORDERS = {"plain": ("plain order", "#d64550"), "scheduled": ("schedule", "#2a9d6f")}
_GREY = "#8b929c"
_STYLE: Any = {  # rcParams
    "svg.hashsalt": "hascodesign",  # the same ids in every run
    "svg.fonttype": "none",
    "font.size": 8,
    "axes.spines.right": False,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}


def write(result: VoltageResult, folder: Path) -> None:
    """voltage.json, voltage.svg and voltage.png in ``folder``."""
    files.write_atomic(folder / "voltage.json", to_json(result))
    for form in ("svg", "png"):
        files.write_atomic(folder / f"voltage.{form}", figure(result, form))


# --------------------------------------------------------------------------------------- words


def table(result: VoltageResult) -> Table:
    """All points for the terminal, means over the chips."""
    shown = Table(title=f"{result.model}: held-out accuracy, %, mean of the chips (95 % interval)")
    for head in ("source", "V", "modelled power", "faults", "plain order", "schedule"):
        shown.add_column(head, justify="right")
    for sweep in result.sweeps:
        for place, volts in enumerate(sweep.volts):
            power = _power(result.power, sweep, volts)
            counts = [point.faults for point in sweep.points[place]]
            cells = (
                "-" if power is None else f"{power:.1%}",
                f"{min(counts)} to {max(counts)}",
                *(_interval(sweep.mean(order, place)) for order in _ORDERS),
            )
            shown.add_row(sweep.name, f"{volts:.2f}", *cells)
    return shown


def _interval(entry: Accuracy) -> str:
    return f"{entry.value:.2f} ({entry.ci95[0]:.1f} to {entry.ci95[1]:.1f})"


def _power(model: PowerModel, sweep: Sweep, volts: float) -> float | None:
    """Share of the nominal power; None where only the block RAM's supply is lowered."""
    return model.power(volts).relative if sweep.name == MODELLED else None


def sentences(result: VoltageResult) -> list[str]:
    """What each order reaches, what that saves, and how the figures came about."""
    lines = []
    for sweep in result.sweeps:
        lines += [_reached(result.power, sweep, order) for order in _ORDERS]
        first = sweep.first_fault
        if first is not None and sweep.name == MODELLED:
            above = [v for v in sweep.volts if v > first]
            kept = f"{result.power.power(min(above)).saved:.1%}" if above else "none"
            lines.append(
                f"{sweep.name}: the first chip shows a fault at {first:.2f} V; staying above it"
                f" saves {kept} of the modelled power"
            )
        lines += _gained(result.power, sweep)
    short = _goal(result)
    return [*lines, *([short] if short else []), result.measured, result.power.label]


def _reached(power: PowerModel, sweep: Sweep, order: str) -> str:
    head = f"{sweep.name}, {_ORDERS[order][0]}: "
    parts = []
    for every_chip in (False, True):
        volts = sweep.lowest(order, every_chip=every_chip)
        who = f"each of {len(sweep.chips)} chips" if every_chip else "the mean"
        if volts is None:
            parts.append(f"{who} at no voltage")
        elif sweep.name == MODELLED:
            saved = power.power(volts).saved
            parts.append(f"{who} down to {volts:.2f} V, {saved:.1%} of the modelled power saved")
        else:
            parts.append(f"{who} down to {volts:.2f} V")
    return f"{head}within {ALLOWED:g} point of healthy accuracy: " + "; ".join(parts)


def _gained(power: PowerModel, sweep: Sweep) -> list[str]:
    """What the schedule takes beside the plain order, each at its lowest voltage."""
    plain, scheduled = (sweep.lowest(order, every_chip=False) for order in _ORDERS)
    if plain is None or scheduled is None or sweep.name != MODELLED:
        return []
    less = 1 - power.power(scheduled).relative / power.power(plain).relative
    return [
        f"{sweep.name}: the schedule at the lowest such voltage of its mean takes {less:.1%} less"
        " modelled power than the plain order at its own"
    ]


def _goal(result: VoltageResult) -> str | None:
    """How far the schedule gets, and why, where less than the goal is saved."""
    sweep = result.sweeps[0]
    volts = sweep.lowest("scheduled", every_chip=False)
    saved = 0.0 if volts is None else result.power.power(volts).saved
    if saved >= GOAL:
        return None
    below = [place for place, v in enumerate(sweep.volts) if volts is None or v < volts]
    head = f"less than {GOAL:.0%} saved"
    if not below:
        return f"{head}: no lower voltage was asked for"
    place = below[0]
    counts = [point.faults for point in sweep.points[place]]
    return (
        f"{head}: at {sweep.volts[place]:.2f} V the chips have {min(counts)} to {max(counts)}"
        f" faults, and the schedule keeps {sweep.mean('scheduled', place).value:.2f} %"
    )


# -------------------------------------------------------------------------------------- figure


def figure(result: VoltageResult, form: str) -> bytes:
    """Accuracy against modelled power, and of the measured list against voltage.

    ``form`` is svg or png; the same result gives the same bytes on one version of matplotlib.
    """
    with mpl.rc_context(_STYLE):
        drawn = Figure(figsize=(4.2 * len(result.sweeps), 3.2), layout="constrained")
        panels = drawn.subplots(1, len(result.sweeps), squeeze=False)[0]
        for axes, sweep in zip(panels, result.sweeps, strict=True):
            _panel(axes, result.power, sweep)
        panels[0].set_ylabel(f"{result.model}, held-out accuracy, %")
        panels[0].legend(loc="lower left", bbox_to_anchor=(0.0, 0.12))
        out = io.BytesIO()
        metadata = {"Date": None, "Creator": "hascodesign"} if form == "svg" else {"Software": None}
        drawn.savefig(out, format=form, dpi=110, metadata=metadata)
    return out.getvalue()


def _panel(axes: Axes, power: PowerModel, sweep: Sweep) -> None:
    by_power = sweep.name == MODELLED
    places = [100 * power.power(v).relative if by_power else v for v in sweep.volts]
    for order, (words, colour) in _ORDERS.items():
        entries = [sweep.mean(order, place) for place in range(len(sweep.volts))]
        for chip in range(len(sweep.chips)):
            own = [sweep.accuracies(order, place)[chip] for place in range(len(sweep.volts))]
            axes.plot(places, own, color=colour, linewidth=0.6, alpha=0.35)
        axes.errorbar(
            places,
            [entry.value for entry in entries],
            yerr=_reach(entries),
            color=colour,
            marker="o",
            markersize=3,
            linewidth=1.5,
            elinewidth=0.7,
            capsize=2,
            label=words,
        )
        lowest = sweep.lowest(order, every_chip=False)
        if lowest is not None and by_power:
            at = 100 * power.power(lowest).relative
            axes.axvline(at, color=colour, linewidth=0.8, linestyle=":")
    axes.axhline(100 * sweep.healthy / sweep.n, color=_GREY, linewidth=0.8, linestyle="--")
    lowest_seen = min(
        min(sweep.mean(order, place).ci95[0], *sweep.accuracies(order, place))
        for order in _ORDERS
        for place in range(len(sweep.volts))
    )
    # where nothing is lost, the intervals should still be seen
    far = lowest_seen < 80
    axes.set_ylim(0 if far else math.floor(lowest_seen) - 1, 103 if far else 100.5)
    axes.invert_xaxis()
    axes.grid(axis="y", color=_GREY, alpha=0.25, linewidth=0.5)
    if by_power:
        axes.set_xlabel("power of the array, % of nominal (model, not measured)")
        axes.set_title(f"{len(sweep.chips)} {sweep.name}: thin lines; mean, 95 % interval")
        ticks = axes.secondary_xaxis("top")
        chosen = [(place, v) for place, v in zip(places, sweep.volts, strict=True)]
        ticks.set_xticks([p for p, _ in chosen], [f"{v:.2f}" for _, v in chosen], rotation=60)
        ticks.set_xlabel("supply, V", fontsize=7)
        ticks.tick_params(labelsize=6)
    else:
        axes.set_xlabel("supply of the block RAM, V (faults measured, KC705-B)")
        axes.set_title(f"{sweep.name}, the {len(sweep.chips)} worst places for the weights")
    axes.spines["top"].set_visible(by_power)


def _reach(entries: Sequence[Accuracy]) -> list[list[float]]:
    low = [max(entry.value - entry.ci95[0], 0.0) for entry in entries]
    return [low, [max(entry.ci95[1] - entry.value, 0.0) for entry in entries]]


# ---------------------------------------------------------------------------------------- JSON


def to_json(result: VoltageResult) -> bytes:
    """Everything the study found, with the constants of its models."""
    power = result.power
    content = {
        "version": 1,
        "model": result.model,
        "board": result.board,
        "array": asdict(result.array),
        "seed": result.seed,
        "allowed_points": ALLOWED,
        "power_model": {
            "words": power.label,
            "nominal_v": power.nominal,
            "static_share": power.static_share,
            "dynamic_exponent": 2,
            "static_exponent": 1,
        },
        "fault_model": {"weight_memory": asdict(BRAM_CURVE), "logic": asdict(LOGIC_CURVE)},
        "measured": result.measured,
        "sweeps": [_sweep_object(power, sweep) for sweep in result.sweeps],
        "sentences": sentences(result),
        "seconds": result.seconds,
    }
    return json.dumps(content, indent=1, allow_nan=False).encode() + b"\n"


def _sweep_object(power: PowerModel, sweep: Sweep) -> dict[str, Any]:
    lowest = {}
    for order in _ORDERS:
        for every_chip, name in ((False, "mean"), (True, "every_chip")):
            volts = sweep.lowest(order, every_chip=every_chip)
            share = None if volts is None else _power(power, sweep, volts)
            saved = None if share is None else 1 - share
            lowest[f"{order}_{name}"] = {"volts": volts, "power_saved": saved}
    return {
        "name": sweep.name,
        "supply": "block RAM" if sweep.name == MEASURED else "whole array",
        "chips": list(sweep.chips),
        "heldout": sweep.n,
        "healthy": 100 * sweep.healthy / sweep.n,
        "first_fault_v": sweep.first_fault,
        "lowest": lowest,
        "points": [
            {
                "volts": volts,
                "power": _power(power, sweep, volts),
                **{order: asdict(sweep.mean(order, place)) for order in _ORDERS},
                "chips": [asdict(point) for point in sweep.points[place]],
            }
            for place, volts in enumerate(sweep.volts)
        ],
    }
