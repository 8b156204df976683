"""The map of the array: its PEs side by side, their faults, and the rows that sit on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, RowMap, Schedule
from hascodesign.report.plots import GREEN, GREY, INK, ORANGE, PURPLE, RED, WIDE, style, to_svg

MOST_PES = 64  # columns that can still be read
MOST_PASSES = 8  # of one layer
_LONG_LABELS = 20  # PEs up to which a fault fits its column in words
_SHORT = {"wmem": "wm", "weight": "w", "act": "a", "product": "p", "psum": "Σ", "acc": "acc"}
_KIND = {"sa0": "=0", "sa1": "=1", "flip": "inv", "transient": "~"}


@dataclass(frozen=True, slots=True)
class Severity:
    """How high in its site's bits a fault sits."""

    words: str
    colour: str


LOW = Severity("lowest third of the site's bits", GREEN)
MIDDLE = Severity("middle third", ORANGE)
HIGH = Severity("highest third", RED)
DEAD = Severity("dead PE", PURPLE)
SEVERITIES = (LOW, MIDDLE, HIGH, DEAD)


def severity(fault: Fault, spec: ArraySpec) -> Severity:
    """Where the fault's bit (of a range the highest) sits in its site."""
    if fault.kind == "dead" or fault.site is None:
        return DEAD
    bit = fault.bits[1] if fault.bits is not None else fault.bit or 0
    third = 3 * bit // spec.site_bits(fault.site)
    return (LOW, MIDDLE, HIGH)[min(third, 2)]


def columns_shown(profile: FaultProfile) -> tuple[int, ...]:
    """PEs that the map shows: all, or of a very wide array those with faults first."""
    pes = range(profile.array.pe)
    if len(pes) <= MOST_PES:
        return tuple(pes)
    faulty = sorted({fault.pe for fault in profile.faults})[:MOST_PES]
    rest = [pe for pe in pes if pe not in set(faulty)]
    return tuple(sorted([*faulty, *rest[: MOST_PES - len(faulty)]]))


def left_out(profile: FaultProfile, schedule: Schedule) -> list[str]:
    """What the map does not show, in sentences."""
    notes = []
    hidden = profile.array.pe - len(columns_shown(profile))
    if hidden:
        notes.append(f"{hidden} of {profile.array.pe} PEs are left out, healthy ones first.")
    notes += [
        f"{row_map.name}: {row_map.passes - MOST_PASSES} of {row_map.passes} passes are left out."
        for row_map in schedule.layers
        if row_map.passes > MOST_PASSES
    ]
    return notes


def array_map(profile: FaultProfile, schedule: Schedule) -> Markup:
    """SVG: one column per PE; its faults on top, then a line per layer and pass with its row.

    Parameters
    ----------
    profile : the faults.
    schedule : the rows on the PEs, of the same array.
    """
    shown = columns_shown(profile)
    faults: dict[int, list[Fault]] = {pe: [] for pe in shown}
    for fault in profile.faults:
        if fault.pe in faults:
            faults[fault.pe].append(fault)
    lines = sum(min(row_map.passes, MOST_PASSES) for row_map in schedule.layers)
    head = 3.4  # the PEs' numbers, and three lines of a fault
    height = head + lines + 0.45 * len(schedule.layers)
    with style():
        figure = Figure(figsize=(WIDE, 0.25 * height))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_xlim(-1.9, len(shown))
        axes.set_ylim(height, 0)
        axes.axis("off")
        worst = {
            pe: max((severity(f, profile.array) for f in entries), key=SEVERITIES.index)
            for pe, entries in faults.items()
            if entries
        }
        _heads(axes, shown, faults, worst, head)
        top = head
        for row_map in schedule.layers:
            top = _layer(axes, row_map, shown, worst, top + 0.45)
        return to_svg(figure, "Map of the array: faults and the rows on each PE")


def _heads(
    axes: Axes,
    shown: Sequence[int],
    faults: Mapping[int, Sequence[Fault]],
    worst: Mapping[int, Severity],
    head: float,
) -> None:
    axes.text(-0.25, 0.5, "PE", ha="right", va="center", fontweight="bold")
    axes.text(-0.25, (1.0 + head) / 2, "faults", ha="right", va="center")
    size = 8 if len(shown) <= 32 else 5
    for column, pe in enumerate(shown):
        axes.text(
            column + 0.5, 0.5, str(pe), ha="center", va="center", fontweight="bold", size=size
        )
        if not faults[pe]:
            _cell(axes, column, 1.0, head - 1.0, GREY, 0.10)
            continue
        _cell(axes, column, 1.0, head - 1.0, worst[pe].colour, 0.95)
        for line, words in enumerate(_words(faults[pe], len(shown) <= _LONG_LABELS)):
            step = (head - 1.3) / 3
            axes.text(
                column + 0.5, 1.15 + step * (line + 0.5), words, ha="center", va="center",
                color="white", size=6.6 if len(shown) <= _LONG_LABELS else 4.5,
            )  # fmt: skip


def _words(faults: Sequence[Fault], long: bool) -> list[str]:
    """At most three lines for a PE's faults."""
    if len(faults) > 1:
        lines = [_short(fault) for fault in faults[:3]]
        if len(faults) > 3:
            lines[2] = f"+{len(faults) - 2}"
        return lines
    fault = faults[0]
    if fault.kind == "dead":
        return ["", "dead"]
    if not long:
        return ["", _short(fault)]
    lane = "" if fault.simd is None else f" {fault.simd}"
    bit = f"bit {fault.bit}" if fault.bits is None else f"{fault.bits[0]}..{fault.bits[1]}"
    return [f"{fault.site}{lane}", bit, fault.kind]


def _short(fault: Fault) -> str:
    if fault.site is None:
        return "dead"
    bit = fault.bit if fault.bits is None else fault.bits[1]
    return f"{_SHORT[fault.site]}{bit}{_KIND[fault.kind]}"


def _layer(
    axes: Axes,
    row_map: RowMap,
    shown: Sequence[int],
    worst: Mapping[int, Severity],
    top: float,
) -> float:
    """Draw the passes of one layer from ``top`` down; returns where the next one starts."""
    passes = row_map.slots[:MOST_PASSES, list(shown)].tolist()
    size = 7.5 if len(shown) <= 32 else 4.5
    axes.text(-0.25, top + 0.5, row_map.name[:14], ha="right", va="center", size=8)
    for line, rows in enumerate(passes):
        for column, row in enumerate(rows):
            bad = worst.get(shown[column])
            colour, alpha = (GREY, 0.10) if bad is None else (bad.colour, 0.28)
            _cell(axes, column, top + line, 1.0, colour, alpha)
            axes.text(
                column + 0.5, top + line + 0.5, "–" if row < 0 else str(row),
                ha="center", va="center", size=size, color=GREY if row < 0 else INK,
            )  # fmt: skip
    return top + len(passes)


def _cell(axes: Axes, column: int, top: float, height: float, colour: str, alpha: float) -> None:
    axes.add_patch(
        Rectangle(
            (column + 0.03, top + 0.04), 0.94, height - 0.08, facecolor=colour, alpha=alpha, lw=0
        )
    )
