"""Table, figure and files of `study baselines`."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table
from scipy.stats import wilcoxon

from hascodesign.common.files import usable_folder, write_atomic
from hascodesign.common.stats import mean_interval
from hascodesign.contract.results import LEAST_POINTS
from hascodesign.contract.types import FloatArray
from hascodesign.study.baselines import (
    EXTRA_HARDWARE,
    METHODS,
    SEARCH,
    BaselinesResult,
    Outcome,
)

TEST = "Wilcoxon signed-rank test, two-sided, paired by profile, ties dropped"
_COLOURS = {"plain": "#d64550", SEARCH: "#2a9d6f"}
_OTHER, _EXTRA = "#4a86e0", "#8b929c"


@dataclass(frozen=True, slots=True)
class Summary:
    """One method over all profiles; accuracies in percent, losses in nats, of held-out images."""

    name: str
    accuracy: float
    accuracy_ci95: tuple[float, float]
    least_accuracy: float
    loss: float
    loss_ci95: tuple[float, float]
    recovery: float | None  # mean over profiles that cost the plain order a point or more
    recovery_ci95: tuple[float, float] | None
    calibration_loss: float
    evaluations: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Against:
    """The search against one method, paired by profile."""

    name: str
    profiles: int
    calibration_no_worse: int  # profiles on which the search's calibration loss is no higher
    accuracy_won: float  # mean points of held-out accuracy
    accuracy_p: float
    loss_won: float  # mean nats of held-out loss
    loss_p: float


def outcomes(result: BaselinesResult, name: str) -> list[Outcome]:
    """Outcome of a method under each profile; ``healthy`` is the network without faults."""
    return [row.healthy if name == "healthy" else row.outcomes[name] for row in result.rows]


def percents(result: BaselinesResult, name: str) -> FloatArray:
    """Held-out accuracy of a method under each profile, percent."""
    correct = [one.heldout_correct for one in outcomes(result, name)]
    return 100.0 * np.array(correct) / result.heldout


def summarise(result: BaselinesResult, name: str) -> Summary:
    """Means of one method over all profiles, with 95 % t intervals."""
    own, accuracy = outcomes(result, name), percents(result, name)
    plain, healthy = percents(result, "plain"), percents(result, "healthy")
    counted = healthy - plain >= LEAST_POINTS
    won = ((accuracy - plain)[counted] / (healthy - plain)[counted]).tolist()
    losses = [one.heldout_loss for one in own]
    return Summary(
        name=name,
        accuracy=float(accuracy.mean()),
        accuracy_ci95=_reach_of(accuracy),
        least_accuracy=float(accuracy.min()),
        loss=_mean(losses),
        loss_ci95=mean_interval(losses),
        recovery=_mean(won) if won else None,
        recovery_ci95=mean_interval(won) if won else None,
        calibration_loss=_mean([one.calibration_loss for one in own]),
        evaluations=_mean([one.evaluations for one in own]),
        seconds=_mean([one.seconds for one in own]),
    )


def against(result: BaselinesResult, name: str) -> Against:
    """The default search held against one method."""
    ours, theirs = outcomes(result, SEARCH), outcomes(result, name)
    pairs = list(zip(ours, theirs, strict=True))
    accuracy = percents(result, SEARCH) - percents(result, name)
    loss = np.array([b.heldout_loss - a.heldout_loss for a, b in pairs])
    return Against(
        name=name,
        profiles=len(pairs),
        calibration_no_worse=sum(a.calibration_loss <= b.calibration_loss for a, b in pairs),
        accuracy_won=float(accuracy.mean()),
        accuracy_p=paired_p(accuracy),
        loss_won=float(loss.mean()),
        loss_p=paired_p(loss),
    )


def paired_p(differences: FloatArray) -> float:
    """P of the paired test (`TEST`); 1 where no pair differs."""
    if not np.any(differences):
        return 1.0
    return float(wilcoxon(differences, zero_method="wilcox", method="auto").pvalue)


def rivals(result: BaselinesResult) -> tuple[str, ...]:
    """Every method but the search that needs no extra hardware."""
    left_out = EXTRA_HARDWARE | {SEARCH}
    return tuple(name for name in result.methods if name not in left_out)


# ------------------------------------------------------------------------------------------ words


def rows(result: BaselinesResult) -> list[list[str]]:
    """Cells of the table, one row per method."""
    made = []
    for name in result.methods:
        own = summarise(result, name)
        won = "-"
        if own.recovery is not None and own.recovery_ci95 is not None:
            won = f"{own.recovery:.3f} ({_reach(own.recovery_ci95, 3)})"
        made.append(
            [
                METHODS[name],
                f"{own.accuracy:.2f} ({_reach(own.accuracy_ci95, 2)})",
                f"{own.least_accuracy:.2f}",
                f"{own.loss:.3g} ({own.loss_ci95[0]:.3g} to {own.loss_ci95[1]:.3g})",
                won,
                f"{own.evaluations:,.0f}",
                f"{own.seconds:.1f}",
            ]
        )
    return made


HEADS = ("method", "accuracy, %", "least", "loss, nats", "recovery", "evaluations", "seconds")


def table(result: BaselinesResult) -> Table:
    """Every method for the terminal."""
    shown = Table(title=title(result))
    for head in HEADS:
        shown.add_column(head, justify="left" if head == "method" else "right")
    for cells in rows(result):
        shown.add_row(*cells)
    return shown


def title(result: BaselinesResult) -> str:
    """What the table is of."""
    healthy = summarise(result, "healthy")
    return (
        f"{result.model}, {result.faulty_pes} of {result.pe} PEs faulty, {len(result.rows)}"
        f" profiles: mean and 95 % interval on {result.heldout} held-out images; healthy"
        f" {healthy.accuracy:.2f} %, {healthy.loss:.3g} nats"
    )


def sentences(result: BaselinesResult) -> list[str]:
    """The paired tests, the comparison on calibration data, and what stopped a search."""
    lines = []
    for name in rivals(result):
        one = against(result, name)
        lines.append(
            f"search against {METHODS[name]}: calibration loss no higher on"
            f" {one.calibration_no_worse} of {one.profiles} profiles; held-out"
            f" {one.accuracy_won:+.2f} points (p = {one.accuracy_p:.2g}),"
            f" {-one.loss_won:+.3g} nats (p = {one.loss_p:.2g})"
        )
    lines.append(f"p: {TEST}")
    stopped = [row.seed for row in result.rows if any("Stopped" in note for note in row.notes)]
    if stopped:
        lines.append(f"stopped by the clock, not repeatable: seeds {stopped}")
    return lines


# ------------------------------------------------------------------------------------------ files


def write(result: BaselinesResult, out: Path) -> None:
    """``baselines.json``, ``baselines.md``, ``baselines.png``, and the times in ``times.json``.

    The same seeds give the same bytes of all but the times and the page that shows them.

    Raises
    ------
    ConfigError
        The folder cannot be written to.
    """
    usable_folder(out)
    write_atomic(out / "baselines.json", to_json(result))
    write_atomic(out / "times.json", times_json(result))
    write_atomic(out / "baselines.md", markdown(result))
    write_atomic(out / "baselines.png", figure(result))


def to_json(result: BaselinesResult) -> bytes:
    """Every outcome, the means and the tests; no times."""
    content: dict[str, Any] = {
        "version": 1,
        "model": result.model,
        "calibration_images": result.calibration,
        "heldout_images": result.heldout,
        "faulty_pes": result.faulty_pes,
        "pe": result.pe,
        "test": TEST,
        "methods": [_untimed(asdict(summarise(result, name))) for name in result.methods],
        "search_against": [asdict(against(result, name)) for name in rivals(result)],
        "profiles": [
            {
                "seed": row.seed,
                "healthy": _untimed(asdict(row.healthy)),
                "notes": list(row.notes),
                "methods": {name: _untimed(asdict(row.outcomes[name])) for name in result.methods},
            }
            for row in result.rows
        ],
    }
    return json.dumps(content, indent=2).encode() + b"\n"


def times_json(result: BaselinesResult) -> bytes:
    """Seconds that each method took for each profile."""
    content = {
        str(row.seed): {name: row.outcomes[name].seconds for name in result.methods}
        for row in result.rows
    }
    return json.dumps(content, indent=2).encode() + b"\n"


def _untimed(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != "seconds"}


def markdown(result: BaselinesResult) -> bytes:
    """The table and the sentences as a page."""
    lines = [f"{title(result)}.", "", f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    lines += [f"| {' | '.join(cells)} |" for cells in rows(result)]
    lines += ["", *(f"* {line}" for line in sentences(result))]
    return "\n".join(lines).encode() + b"\n"


def figure(result: BaselinesResult) -> bytes:
    """Held-out accuracy and points short of healthy: every profile, mean and interval; PNG."""
    settings: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    # in matplotlib these settings are global; the context puts the caller's back
    with mpl.rc_context(settings):
        drawn = Figure(figsize=(11.0, 4.2), layout="constrained")
        left, right = drawn.subplots(1, 2, sharey=True)
        for place, name in enumerate(result.methods):
            short = percents(result, "healthy") - percents(result, name)
            _points(left, place, name, percents(result, name), (0.0, 100.0))
            _points(right, place, name, short, (-100.0, 100.0))
        words = [METHODS[name] for name in result.methods]
        left.set_yticks(range(len(words)), words)
        left.invert_yaxis()
        left.set_xlim(0, 101)
        left.set_xlabel("held-out accuracy, %")
        right.set_xscale("symlog", linthresh=1.0)
        right.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        right.set_xlim(-1, 110)
        right.set_xlabel("points below the healthy network (linear up to 1)")
        for axes in (left, right):
            axes.grid(axis="x", alpha=0.3)
            axes.set_axisbelow(True)
            axes.tick_params(axis="y", length=0)
        drawn.suptitle(
            f"{result.model}, {result.faulty_pes} of {result.pe} PEs faulty,"
            f" {len(result.rows)} profiles: every profile, the mean and its 95 % interval",
            fontsize=10,
        )
        buffer = io.BytesIO()
        drawn.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def _points(
    axes: Axes, place: int, name: str, values: FloatArray, ends: tuple[float, float]
) -> None:
    colour = _EXTRA if name in EXTRA_HARDWARE else _COLOURS.get(name, _OTHER)
    spread = np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.zeros(1)
    axes.scatter(values, place + spread, s=9, color=colour, alpha=0.45, linewidths=0)
    mean, reach = float(values.mean()), mean_interval(values.tolist())
    low, high = max(reach[0], ends[0]), min(reach[1], ends[1])
    axes.errorbar(
        mean,
        place,
        xerr=[[mean - low], [high - mean]],
        fmt="D",
        color=colour,
        markersize=5,
        markeredgecolor="white",
        elinewidth=1.6,
        capsize=3,
    )


def _reach(interval: tuple[float, float], digits: int) -> str:
    return f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"


def _reach_of(percent: FloatArray) -> tuple[float, float]:
    low, high = mean_interval(percent.tolist())
    return max(low, 0.0), min(high, 100.0)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
