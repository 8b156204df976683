"""Tables, figure and files of `study has`, with the study's own figures beside ours."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.table import Table

from hascodesign.common.files import usable_folder, write_atomic
from hascodesign.common.stats import mean_interval
from hascodesign.study.has.experiment import LEAST_POINTS, HasCase, HasResult

#: (dataset, layer, kind, pmax) -> clean, faulty, after the GA: percent of the images it tuned on.
STUDY: Mapping[tuple[str, str, str, float], tuple[float, float, float]] = MappingProxyType(
    {
        ("mnist", "first", "invert", 0.001): (99.2, 88.6, 96.3),
        ("mnist", "first", "invert", 0.002): (99.2, 76.8, 94.4),
        ("mnist", "first", "invert", 0.005): (99.2, 57.6, 87.4),
        ("mnist", "first", "set1", 0.005): (99.2, 56.9, 87.3),
    }
)
#: What the study has of layers and networks that are not run here: layer, kind, pmax, and as above.
STUDY_ELSEWHERE: tuple[tuple[str, str, float, tuple[float, float, float]], ...] = (
    ("MNIST output layer", "dropped bits", 0.5, (99.2, 89.3, 92.3)),
    ("Fashion conv0", "invert", 0.5, (93.1, 85.6, 89.8)),
    ("Fashion conv0 and conv1", "invert", 0.5, (93.1, 63.0, 72.3)),
)
STUDY_HOURS = "27 to 29 hours on an A100"


@dataclass(frozen=True, slots=True)
class Row:
    """Means over all networks and profiles of one kind and pmax, percent."""

    kind: str
    pmax: float
    cases: int
    clean: float
    plain: float
    random: float
    assigned: float
    scheduled: float
    rescaled: float  # rows scaled by powers of two, in plain order
    rescaled_scheduled: float
    recovery: float | None  # mean over the cases that lose a point or more
    recovery_ci95: tuple[float, float] | None
    counted: int  # cases in `recovery`
    bound: float | None  # mean over the same cases
    seconds: float  # the longest schedule
    study: tuple[float, float, float] | None  # clean, faulty, after its GA
    rescaled_recovery: float | None  # mean over the same cases

    @property
    def recovery_of_means(self) -> float | None:
        """Share of the mean loss that is won back: what the study's own figures are."""
        lost = self.clean - self.plain
        return (self.scheduled - self.plain) / lost if lost >= LEAST_POINTS else None

    @property
    def study_recovery(self) -> float | None:
        """Share of the lost accuracy that the study won back."""
        if self.study is None:
            return None
        clean, faulty, after = self.study
        return (after - faulty) / (clean - faulty)


def rows(result: HasResult) -> tuple[Row, ...]:
    """One row per kind and pmax."""
    options = result.options
    found = []
    for kind in options.kinds:
        for pmax in options.pmax:
            cases = [c for c in result.cases if c.kind == kind and c.pmax == pmax]
            study = STUDY.get((options.dataset, options.layer, kind, pmax))
            found.append(_row(kind, pmax, cases, study))
    return tuple(found)


def _row(
    kind: str,
    pmax: float,
    cases: Sequence[HasCase],
    study: tuple[float, float, float] | None,
) -> Row:
    won = [c.recovery for c in cases if c.recovery is not None]
    scaled = [c.rescaled_recovery for c in cases if c.rescaled_recovery is not None]
    bounds = [c.bound for c in cases if c.recovery is not None and c.bound is not None]
    return Row(
        kind, pmax, len(cases),
        clean=_mean([c.clean for c in cases]),
        plain=_mean([c.plain.value for c in cases]),
        random=_mean([c.random.value for c in cases]),
        assigned=_mean([c.assigned.value for c in cases]),
        scheduled=_mean([c.scheduled.value for c in cases]),
        rescaled=_mean([c.rescaled.value for c in cases]),
        rescaled_scheduled=_mean([c.rescaled_scheduled.value for c in cases]),
        recovery=_mean(won) if won else None,
        recovery_ci95=mean_interval(won) if won else None,
        counted=len(won),
        bound=_mean(bounds) if bounds else None,
        seconds=max(c.seconds for c in cases),
        study=study,
        rescaled_recovery=_mean(scaled) if scaled else None,
    )  # fmt: skip


def table(result: HasResult) -> Table:
    """Rows for the terminal: ours, then the study's where it has the row."""
    options = result.options
    shown = Table(
        title=f"HAS study, {options.dataset}, {options.layer} layer(s), float32:"
        f" accuracy on {result.heldout} held-out images, %"
    )
    heads = "kind pmax clean plain random scheduled won-back of-means bound seconds study study-won"
    for head in heads.split():
        shown.add_column(head, justify="left" if head == "kind" else "right")
    for row in rows(result):
        shown.add_row(*_cells(row))
    for layer, kind, pmax, figures in STUDY_ELSEWHERE:
        clean, faulty, after = figures
        won = f"{100 * (after - faulty) / (clean - faulty):.0f}"
        cells = " / ".join(f"{v:g}" for v in figures)
        shown.add_row(f"{layer}, {kind}", f"{pmax:g}", *["-"] * 8, cells, won)
    shown.caption = summary(result)
    return shown


def _cells(row: Row) -> Iterator[str]:
    yield row.kind
    yield f"{row.pmax:g}"
    yield from (f"{v:.2f}" for v in (row.clean, row.plain, row.random, row.scheduled))
    if row.recovery is None or row.recovery_ci95 is None:
        yield "-"
    else:
        low, high = row.recovery_ci95
        yield f"{100 * row.recovery:.1f} ({100 * low:.0f} to {100 * high:.0f})"
    yield "-" if row.recovery_of_means is None else f"{100 * row.recovery_of_means:.1f}"
    yield "-" if row.bound is None else f"{100 * row.bound:.1f}"
    yield f"{row.seconds:.1f}"
    yield "-" if row.study is None else " / ".join(f"{v:g}" for v in row.study)
    yield "-" if row.study_recovery is None else f"{100 * row.study_recovery:.0f}"


def summary(result: HasResult) -> str:
    """What the columns mean."""
    options = result.options
    return (
        f"Means over {options.models} networks x {options.profiles} {options.blocks.upper()}"
        f" profiles; won-back and bound are % of the lost accuracy, over the cases that lose a"
        f" point or more; of-means is won back of the mean accuracies, as the study's own figure;"
        f" seconds: the longest schedule. Study: clean / faulty / after its GA, on"
        f" the images that it tuned on, {STUDY_HOURS}; bound: the least separable cost, on"
        f" {result.calibration} calibration images; a map can pass it."
    )


def rescaled_table(result: HasResult) -> Table:
    """The same cases with rows scaled by powers of two."""
    shown = Table(title="rows scaled by powers of two, the same function: accuracy, %")
    for head in ("kind", "pmax", "clean", "plain", "rescaled", "and scheduled", "won back"):
        shown.add_column(head, justify="left" if head == "kind" else "right")
    for row in rows(result):
        values = (row.clean, row.plain, row.rescaled, row.rescaled_scheduled)
        won = "-" if row.rescaled_recovery is None else f"{100 * row.rescaled_recovery:.1f}"
        shown.add_row(row.kind, f"{row.pmax:g}", *(f"{v:.2f}" for v in values), won)
    shown.caption = "no partial sum passes 2, where a drawn bit would make it explode"
    return shown


def integer_table(result: HasResult) -> Table:
    """The integer part's profiles, one row each."""
    shown = Table(title="the same question in the array's integers: accuracy on held-out images, %")
    heads = "PEs pmax profile healthy plain random scheduled won-back 10x 10x-won seconds"
    for head in heads.split():
        shown.add_column(head, justify="right")
    for c in result.integer:
        values = (c.healthy, c.plain, c.random, c.scheduled)
        won, longer = (
            "-" if v is None else f"{100 * v:.1f}" for v in (c.recovery, c.longer_recovery)
        )
        cells = [f"{v:.2f}" for v in values]
        first = (c.share, f"{c.pmax:g}", str(c.profile))
        shown.add_row(*first, *cells, won, f"{c.longer:.2f}", longer, f"{c.seconds:.1f}")
    return shown


# ------------------------------------------------------------------------------------------ files


def write(result: HasResult, out: Path) -> None:
    """``has.json`` and ``has.svg`` into the folder ``out``, which need not exist.

    Raises
    ------
    ConfigError
        The folder cannot be written to.
    """
    usable_folder(out)
    write_atomic(out / "has.json", to_json(result))
    write_atomic(out / "has.svg", to_svg(result))


def to_json(result: HasResult) -> bytes:
    """Every case, every row, and the study's figures."""
    content: dict[str, Any] = {
        "version": 1,
        "options": asdict(result.options),
        "heldout_images": result.heldout,
        "calibration_images": result.calibration,
        "rows": [
            asdict(row)
            | {"study_recovery": row.study_recovery, "recovery_of_means": row.recovery_of_means}
            for row in rows(result)
        ],
        "cases": [
            asdict(case) | {"recovery": case.recovery, "rescaled_recovery": case.rescaled_recovery}
            for case in result.cases
        ],
        "integer": [
            asdict(c) | {"recovery": c.recovery, "longer_recovery": c.longer_recovery}
            for c in result.integer
        ],
        "seconds": result.seconds,
    }
    return json.dumps(content, indent=2).encode() + b"\n"


def to_svg(result: HasResult) -> bytes:
    """Accuracy over pmax for each kind: clean, plain, random, scheduled, and the study."""
    # in matplotlib these settings are global; the context puts the caller's back
    with mpl.rc_context({"svg.hashsalt": "hascodesign"}):
        return _svg(result)


def _svg(result: HasResult) -> bytes:
    figure = Figure(figsize=(5.2 * len(result.options.kinds), 3.6), layout="constrained")
    found = rows(result)
    for place, kind in enumerate(result.options.kinds):
        axes = figure.add_subplot(1, len(result.options.kinds), place + 1)
        own = sorted((row for row in found if row.kind == kind), key=lambda row: row.pmax)
        pmax = [row.pmax for row in own]
        lines = {
            "clean": ("#8b929c", [row.clean for row in own]),
            "plain order": ("#d64550", [row.plain for row in own]),
            "random maps": ("#dd8a2d", [row.random for row in own]),
            "scheduled": ("#2a9d6f", [row.scheduled for row in own]),
            "rescaled, plain order": ("#b07cc6", [row.rescaled for row in own]),
            "rescaled, scheduled": ("#3a6ea5", [row.rescaled_scheduled for row in own]),
        }
        for name, (colour, values) in lines.items():
            axes.plot(pmax, values, "o-", color=colour, label=name, markersize=4)
        known = [(row.pmax, row.study) for row in own if row.study is not None]
        for column, name, mark in ((1, "study, plain", "x"), (2, "study, its GA", "+")):
            values = [study[column] for _, study in known]
            if values:
                axes.plot([p for p, _ in known], values, mark, color="black", label=name)
        axes.set_xscale("log")
        axes.set_xlabel("pmax")
        axes.set_ylabel("held-out accuracy, %")
        axes.set_title(f"{result.options.dataset}, {kind}")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
