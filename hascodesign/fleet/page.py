"""fleet.html: one page without any other file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from hascodesign.fleet import report
from hascodesign.fleet.report import Reported
from hascodesign.report import plots
from hascodesign.report.html import page

_TEMPLATE = "fleet.html.j2"


def render(result: Reported) -> bytes:
    """The page: the same bytes for the same result."""
    return page(Path(__file__).with_name(_TEMPLATE), context(result))


def context(result: Reported) -> dict[str, Any]:
    """What the template shows."""
    won = report.recoveries(result)
    return {
        "result": result,
        "about": result.about,
        "sentences": report.sentences(result),
        "yields": report.yields(result),
        "worst": report.worst(result),
        "cost": report.cost(result),
        "recovered": 100 * sum(won) / len(won) if won else None,
        "integers": sum(row.integers for row in result.verified.values()),
        "differ": sum(row.differ for row in result.verified.values()),
        "yield_svg": yield_curve(result),
        "chips_svg": by_faults(result),
    }


def yield_curve(result: Reported) -> Markup:
    """Share of the chips within x points of the healthy network, plain and scheduled."""
    with plots.style():
        figure = Figure(figsize=(plots.WIDE, 3.2))
        axes = figure.add_subplot()
        kinds = (
            ("scheduled", True, plots.GREEN, "left"),
            ("plain order", False, plots.RED, "right"),
        )
        most = 0.0
        for words, scheduled, colour, side in kinds:
            lost = np.sort(result.lost(scheduled=scheduled))
            most = max(most, float(lost[-1]))
            share = 100 * np.arange(1, len(lost) + 1) / len(lost)
            x = np.concatenate([[lost[0]], lost, [110.0]])
            y = np.concatenate([[0.0], share, [100.0]])
            axes.step(x, y, where="post", color=colour, linewidth=2)
            middle = len(lost) // 2
            axes.annotate(
                words,
                (float(lost[middle]), float(share[middle])),
                (8 if side == "left" else -8, 0),
                textcoords="offset points",
                ha=side,
                va="bottom",
                color=colour,
                fontweight="bold",
            )
        axes.set_xscale("symlog", linthresh=1.0, linscale=1.0)
        ticks = [0, 0.5, 1, 2, 5, 10, 20, 50, 100]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xlim(min(0.0, *result.lost(scheduled=True)), min(100.0, 1.2 * most + 0.5))
        axes.set_ylim(0, 102)
        axes.set_xlabel("points below the healthy network, at most")
        axes.set_ylabel("share of the chips, %")
        axes.grid(color=plots.GREY, alpha=0.3, linewidth=0.6)
        return plots.to_svg(
            figure, "Share of the chips within so many points of the healthy network"
        )


def by_faults(result: Reported) -> Markup:
    """Held-out accuracy of each chip by its faulty PEs."""
    rows = [row for _, row in result.done]
    with plots.style():
        figure = Figure(figsize=(plots.WIDE, 2.8))
        axes = figure.add_subplot()
        places = np.array([row.faulty_pes for row in rows], dtype=float)
        # chips of as many faulty PEs stand side by side
        turn = (np.arange(len(rows)) * 0.618) % 1.0 - 0.5
        for offset, colour, counts in (
            (-0.18, plots.RED, [row.plain_correct for row in rows]),
            (0.18, plots.GREEN, [row.scheduled_correct for row in rows]),
        ):
            accuracy = 100 * np.array(counts) / rows[0].heldout
            axes.plot(
                places + offset + 0.3 * turn, accuracy, "o", color=colour, markersize=2.6, alpha=0.7
            )
        healthy = 100 * rows[0].healthy_correct / rows[0].heldout
        axes.axhline(healthy, color=plots.GREY, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.set_xticks(sorted({int(place) for place in places}))
        axes.set_ylim(0, 103)
        axes.set_xlabel("faulty PEs")
        axes.set_ylabel("held-out accuracy, %")
        axes.grid(axis="y", color=plots.GREY, alpha=0.3, linewidth=0.6)
        return plots.to_svg(figure, "Accuracy of each chip by its faulty PEs")
