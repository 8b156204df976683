"""Table, figure and files of `study benchmark`, and the results that others add."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from rich.table import Table
from scipy.stats import wilcoxon

from hascodesign.common import inputs, schemas
from hascodesign.common.files import usable_folder, write_atomic
from hascodesign.common.stats import mean_interval
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import FloatArray
from hascodesign.study.benchmark import Benchmark, ChipRow, Outcome, needs_hardware
from hascodesign.study.chips import KINDS
from hascodesign.study.methods import METHODS, SEARCH
from hascodesign.study.seeds_report import most

VERSION = 1  # of benchmark.json
TEST = "Wilcoxon signed-rank test, two-sided, paired by chip, ties dropped"
_COLOURS = {"plain": "#d64550", SEARCH: "#2a9d6f"}
_OTHER, _HARDWARE = "#4a86e0", "#8b929c"
HEADS = ("method", "points lost", "19 of 20", "most", "against the search", "evaluations", "s")


@dataclass(frozen=True, slots=True)
class Summary:
    """One method on the chips of one kind; points of held-out accuracy below the healthy one."""

    kind: str
    method: str
    chips: int
    lost: float  # mean
    lost_ci95: tuple[float, float]
    lost_of_19_in_20: float
    lost_most: float
    behind: float  # mean points behind the default search, positive where that is better
    behind_p: float
    evaluations: float
    seconds: float  # processor time, mean


def points(result: Benchmark, rows: Sequence[ChipRow], method: str) -> FloatArray:
    """Points that a method loses against the healthy array on each chip."""
    correct = np.array([row.outcomes[method].correct for row in rows])
    return 100.0 * (result.healthy - correct) / result.heldout


def kinds(result: Benchmark) -> tuple[str, ...]:
    """Kinds of chips that there are, in the order of KINDS."""
    found = {row.kind for row in result.rows}
    return tuple(name for name in KINDS if name in found)


def of_kind(result: Benchmark, kind: str) -> list[ChipRow]:
    """The chips of a kind."""
    return [row for row in result.rows if row.kind == kind]


def summarise(result: Benchmark, kind: str, method: str) -> Summary:
    """One method on the chips of one kind, with 95 % t intervals over chips."""
    rows = of_kind(result, kind)
    lost = points(result, rows, method)
    behind = np.zeros(len(rows))
    if SEARCH in result.methods:
        behind = lost - points(result, rows, SEARCH)
    outcomes = [row.outcomes[method] for row in rows]
    return Summary(
        kind=kind,
        method=method,
        chips=len(rows),
        lost=float(lost.mean()),
        lost_ci95=mean_interval(lost.tolist()),
        lost_of_19_in_20=most(lost.tolist()),
        lost_most=float(lost.max()),
        behind=float(behind.mean()),
        behind_p=paired_p(behind),
        evaluations=sum(one.evaluations for one in outcomes) / len(rows),
        seconds=sum(one.seconds for one in outcomes) / len(rows),
    )


def paired_p(differences: FloatArray) -> float:
    """P of the paired test (`TEST`); 1 where no pair differs."""
    if not np.any(differences):
        return 1.0
    return float(wilcoxon(differences, zero_method="wilcox", method="auto").pvalue)


# -------------------------------------------------------------------------------- others' results


def add(result: Benchmark, path: Path) -> Benchmark:
    """The benchmark with the methods of a results file that others made.

    Raises
    ------
    ConfigError
        A file that does not follow benchmark.schema.json, another network or number of images, a
        chip that is not the one of its kind and seed, a chip that is missing, or a method that is
        there already.
    """
    name = inputs.printable(path)
    document = read(path)
    for key, ours in (
        ("network_sha256", result.network_sha256),
        ("heldout_images", result.heldout),
        ("healthy_correct", result.healthy),
    ):
        if document[key] != ours:
            raise ConfigError(f"{name}: {key} must be {ours}, as here, not {document[key]}")
    theirs = {(one["kind"], one["seed"]): one for one in document["chips"]}
    own = {(row.kind, row.seed): row for row in result.rows}
    new = [method for method in document["chips"][0]["methods"] if method not in METHODS]
    taken = [method for method in new if method in result.added]
    if not new or taken:
        what = f"not {', '.join(taken)}" if taken else "but has none"
        raise ConfigError(f"{name}: must bring methods that are not here yet, {what}")
    rows = []
    for place, row in own.items():
        kind, seed = place
        if place not in theirs:
            raise ConfigError(f"{name}: must hold the chip {kind}, seed {seed}, and does not")
        chip = theirs[place]
        if chip["profile_sha256"] != row.profile_sha256:
            raise ConfigError(
                f"{name}: chip {kind}, seed {seed} must have profile_sha256 {row.profile_sha256},"
                f" not {chip['profile_sha256']}: it is another chip"
            )
        missing = [method for method in new if method not in chip["methods"]]
        if missing:
            raise ConfigError(f"{name}: chip {kind}, seed {seed} must have {missing[0]}, too")
        found = {method: Outcome(**chip["methods"][method], seconds=0.0) for method in new}
        bad = [m for m, one in found.items() if one.correct > result.heldout]
        if bad:
            raise ConfigError(
                f"{name}: {bad[0]} on chip {kind}, seed {seed}: correct must be at most"
                f" {result.heldout}, not {found[bad[0]].correct}"
            )
        rows.append(replace(row, outcomes={**row.outcomes, **found}))
    return replace(result, rows=tuple(rows), added={**result.added, **dict.fromkeys(new, name)})


def read(path: Path) -> dict[str, Any]:
    """A results file that follows benchmark.schema.json.

    Raises
    ------
    ConfigError
        It cannot be read, or does not.
    """
    name = inputs.printable(path)
    try:
        document = json.loads(inputs.read(path, inputs.RESULTS))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: must be JSON: {inputs.one_line(error)}") from None
    problem = schemas.problem("benchmark", document)
    if problem is not None:
        raise ConfigError(f"{name}: {problem}")
    return dict(document)


# ------------------------------------------------------------------------------------------ words


def words(result: Benchmark, method: str) -> str:
    """A method for people."""
    return METHODS[method][0] if method in METHODS else f"{method} ({result.added[method]})"


def cells(result: Benchmark, kind: str) -> list[list[str]]:
    """Cells of a kind's table, one row per method."""
    made = []
    for method in result.methods:
        one = summarise(result, kind, method)
        low, high = one.lost_ci95
        behind = "-" if method == SEARCH else f"{-one.behind:+.2f} (p = {one.behind_p:.2g})"
        made.append(
            [
                words(result, method),
                f"{one.lost:.2f} ({low:.2f} to {high:.2f})",
                f"{one.lost_of_19_in_20:.2f}",
                f"{one.lost_most:.2f}",
                behind if SEARCH in result.methods else "-",
                f"{one.evaluations:,.0f}",
                "-" if method in result.added else f"{one.seconds:.1f}",
            ]
        )
    return made


def title(result: Benchmark, kind: str) -> str:
    """What a kind's table is of."""
    rows = of_kind(result, kind)
    healthy = 100 * result.healthy / result.heldout
    seeds = f"seeds {rows[0].seed} to {rows[-1].seed}" if len(rows) > 1 else f"seed {rows[0].seed}"
    return (
        f"{result.model}, {kind}: {KINDS[kind].words}; {len(rows)} chips, {seeds}; points below the"
        f" healthy {healthy:.2f} % of {result.heldout} held-out images"
    )


def tables(result: Benchmark) -> list[Table]:
    """A table for each kind, for the terminal."""
    made = []
    for kind in kinds(result):
        shown = Table(title=title(result, kind))
        for head in HEADS:
            shown.add_column(head, justify="left" if head == "method" else "right")
        for row in cells(result, kind):
            shown.add_row(*row)
        made.append(shown)
    return made


# ------------------------------------------------------------------------------------------ files


def write(result: Benchmark, out: Path) -> None:
    """``benchmark.json``, ``benchmark.md``, ``benchmark.png``, and times in ``times.json``.

    The same seeds give the same bytes of benchmark.json, whatever the number of workers.

    Raises
    ------
    ConfigError
        The folder cannot be written to.
    """
    usable_folder(out)
    write_atomic(out / "benchmark.json", to_json(result))
    write_atomic(out / "times.json", times_json(result))
    write_atomic(out / "benchmark.md", markdown(result))
    write_atomic(out / "benchmark.png", figure(result))


def to_json(result: Benchmark) -> bytes:
    """Every outcome and the means; no times."""
    content: dict[str, Any] = {
        "version": VERSION,
        "model": result.model,
        "network_sha256": result.network_sha256,
        "calibration_images": result.calibration,
        "heldout_images": result.heldout,
        "healthy_correct": result.healthy,
        "test": TEST,
        "summary": [
            _untimed(asdict(summarise(result, kind, method)))
            for kind in kinds(result)
            for method in result.methods
        ],
        "chips": [
            {
                "kind": row.kind,
                "seed": row.seed,
                "profile_sha256": row.profile_sha256,
                "faults": row.faults,
                "methods": {name: _untimed(asdict(one)) for name, one in row.outcomes.items()},
            }
            for row in result.rows
        ],
    }
    return json.dumps(content, indent=2).encode() + b"\n"


def times_json(result: Benchmark) -> bytes:
    """Processor seconds of each method on each chip."""
    content = {
        f"{row.kind}, seed {row.seed}": {
            name: one.seconds for name, one in row.outcomes.items() if name not in result.added
        }
        for row in result.rows
    }
    return json.dumps(content, indent=2).encode() + b"\n"


def _untimed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != "seconds"}


def markdown(result: Benchmark) -> bytes:
    """The tables as a page."""
    lines: list[str] = []
    for kind in kinds(result):
        lines += [f"{title(result, kind)}.", "", f"| {' | '.join(HEADS)} |"]
        lines += ["|---" * len(HEADS) + "|"]
        lines += [*(f"| {' | '.join(row)} |" for row in cells(result, kind)), ""]
    lines.append(f"p: {TEST}.")
    return "\n".join(lines).encode() + b"\n"


def figure(result: Benchmark) -> bytes:
    """Points lost by every method on every chip, with mean and interval, kind by kind; PNG."""
    shown = kinds(result)
    settings: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    # in matplotlib these settings are global; the context puts the caller's back
    with mpl.rc_context(settings):
        height = 1.2 + 0.27 * len(result.methods)
        drawn = Figure(figsize=(4.0 + 2.3 * len(shown), height), layout="constrained")
        panels = drawn.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, kind in zip(panels, shown, strict=True):
            rows = of_kind(result, kind)
            for place, method in enumerate(result.methods):
                lost = points(result, rows, method)
                colour = _HARDWARE if needs_hardware(method) else _COLOURS.get(method, _OTHER)
                spread = np.linspace(-0.22, 0.22, len(lost)) if len(lost) > 1 else np.zeros(1)
                axes.scatter(lost, place + spread, s=8, color=colour, alpha=0.45, linewidths=0)
                low, high = mean_interval(lost.tolist())
                axes.plot([max(low, -1.0), min(high, 110.0)], [place, place], color=colour, lw=1.6)
                axes.plot(lost.mean(), place, "D", color=colour, ms=5, mec="white")
            axes.set_xscale("symlog", linthresh=1.0)
            axes.set_xlim(-1, 110)
            axes.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])
            axes.set_title(kind, fontsize=9)
            axes.grid(axis="x", alpha=0.3)
            axes.set_axisbelow(True)
            axes.tick_params(axis="y", length=0)
        panels[0].set_yticks(range(len(result.methods)), [words(result, m) for m in result.methods])
        panels[0].invert_yaxis()
        drawn.supxlabel("points lost on held-out images (linear up to 1)", fontsize=9)
        buffer = io.BytesIO()
        drawn.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()
