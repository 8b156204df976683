"""The plots of the report, as inline SVG that follows the page's own text colour."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from hascodesign.contract.results import Front, SearchResult
from hascodesign.report.record import ACCURACIES, FRONT, FlowResult

# chosen to stand out on white and on near-black alike
GREEN, BLUE, ORANGE, RED, PURPLE, GREY = (
    "#2a9d6f", "#4a86e0", "#dd8a2d", "#d64550", "#8b6bd1", "#8b929c"
)  # fmt: skip
_COLOURS = {
    "brevitas": GREY,
    "integer": GREY,
    "faulty_identity": RED,
    "faulty_random_mean": ORANGE,
    "faulty_random_best": ORANGE,
    "assignment": BLUE,
    "scheduled": GREEN,
}
INK = "#010203"  # a colour of no plot: replaced by the page's own
# inches at which a point of text is a point on the page, 1200 pixels wide: whole and half width
WIDE, HALF = 11.6, 5.4
_STYLE: Any = {  # rcParams
    "svg.fonttype": "none",  # real text, in the page's font
    "svg.hashsalt": "hascodesign",  # the same ids in every run
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's settings for every plot of the page."""
    # in matplotlib these settings are global; the context puts the caller's back
    with mpl.rc_context(_STYLE):
        yield


def to_svg(figure: Figure, label: str) -> Markup:
    """The figure as one <svg> element, the same bytes for the same figure.

    It is marked as safe for a page: matplotlib escapes every text that it draws.
    """
    buffer = io.StringIO()
    figure.savefig(
        buffer,
        format="svg",
        metadata={"Date": None, "Creator": None},
        bbox_inches="tight",
        pad_inches=0.04,
        transparent=True,
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'font(-family)?: ?[^;"]*sans-serif[^;"]*', _page_font, text)
    # the page gives the width; the element keeps its shape through viewBox
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))


def _page_font(match: re.Match[str]) -> str:
    """The same declaration with the page's font for matplotlib's list of fonts."""
    declared = match[0]
    if declared.startswith("font-family"):
        return "font-family: inherit"
    size = re.search(r"[\d.]+px", declared)
    weight = "bold " if "bold" in declared or " 700 " in declared else ""
    return f"font: {weight}{size[0] if size else '9px'} var(--font)"


def accuracy_bars(result: FlowResult) -> Markup:
    """Bars of the held-out accuracies with their intervals."""
    shown = [(k, result.accuracy[k]) for k in ACCURACIES if k in result.accuracy]
    with style():
        figure = Figure(figsize=(WIDE, 0.3 * len(shown) + 0.5))
        axes = figure.add_subplot()
        for place, (key, entry) in enumerate(shown):
            low, high = entry.ci95
            reach = [[max(entry.value - low, 0.0)], [max(high - entry.value, 0.0)]]
            axes.barh(place, entry.value, 0.62, color=_COLOURS[key], alpha=0.9)
            axes.errorbar(
                entry.value, place, xerr=reach, ecolor=INK, elinewidth=1.1, capsize=3, fmt="none"
            )
            axes.text(102, place, f"{entry.value:.2f} %", va="center", fontweight="bold")
            axes.text(111, place, f"{low:.1f} to {high:.1f}", va="center")
        axes.set_yticks(range(len(shown)), [ACCURACIES[key] for key, _ in shown])
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlim(0, 124)
        axes.spines["bottom"].set_bounds(0, 100)
        axes.set_xlabel(f"accuracy on {result.heldout} held-out images, %", x=50 / 124)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        _grid(axes, "x")
        return to_svg(figure, "Held-out accuracies with 95 % confidence intervals")


def convergence(search: SearchResult) -> Markup:
    """Best loss after each generation beside what the baselines reach."""
    lines = baseline_losses(search)
    values = [*search.history, search.loss, *(loss for _, loss, _ in lines)]
    with style():
        figure = Figure(figsize=(0.72 * HALF, 2.5))
        axes = figure.add_subplot()
        last = max(len(search.history), 1)
        for _, loss, colour in lines:
            axes.axhline(loss, color=colour, linewidth=1.1, linestyle=(0, (4, 3)))
        if search.history:
            generations = range(1, len(search.history) + 1)
            axes.step(generations, search.history, where="post", color=GREEN, linewidth=2)
        axes.plot([last], [search.loss], "o", color=GREEN, markersize=5, clip_on=False)
        axes.set_xlim(0 if last == 1 else 1, last)
        smallest = min(values)
        if smallest > 0 and max(values) > 10 * smallest:
            axes.set_yscale("log")
            decades = math.log10(max(values) / smallest)
            axes.yaxis.set_major_locator(
                LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0,))
            )
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_locator(NullLocator())
        axes.margins(y=0.12)
        axes.set_xlabel("generation")
        axes.set_ylabel("calibration loss, nats")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _labels(axes, [*lines, ("scheduled", search.loss, GREEN)])
        _grid(axes, "y")
        return to_svg(figure, "Loss of the best schedule by generation, and the baselines")


def trade_off(result: FlowResult, front: Front) -> Markup:
    """Held-out accuracy of each point of a front by its passes, its modelled power beside it."""
    entries = [result.accuracy[f"{FRONT}{number:02d}"] for number in range(len(front.points))]
    same = [point.passes for point in front.points]
    with style():
        figure = Figure(figsize=(WIDE, 2.8))
        axes = figure.add_subplot()
        for number, (point, entry) in enumerate(zip(front.points, entries, strict=True)):
            # points with as many passes stand side by side
            before, together = same[:number].count(same[number]), same.count(same[number])
            place = same[number] + before * min(0.27, 0.8 / together)
            picked = number == front.pick
            colour = GREEN if picked else BLUE
            low, high = entry.ci95
            reach = [[max(entry.value - low, 0.0)], [max(high - entry.value, 0.0)]]
            axes.errorbar(place, entry.value, yerr=reach, ecolor=colour, capsize=3, fmt="none")
            axes.plot(place, entry.value, "D" if picked else "o", color=colour, markersize=6)
            words = f"{entry.value:.2f} %\npower {100 * point.power:.0f} %"
            axes.annotate(
                f"{words}\nrendered" if picked else words,
                (place, entry.value),
                (7, 0),
                textcoords="offset points",
                va="center",
                color=colour,
                fontsize=8,
                fontweight="bold" if picked else "normal",
            )
        axes.set_xlim(min(same) - 0.2, max(same) + 0.8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(y=0.15)
        axes.set_xlabel("passes of all layers")
        axes.set_ylabel("held-out accuracy, %")
        _grid(axes, "y")
        return to_svg(figure, "Accuracy, passes and modelled power of the front")


def baseline_losses(search: SearchResult) -> list[tuple[str, float, str]]:
    """(words, calibration loss, colour) of plain order, random maps and assignment."""
    named = {baseline.name: baseline.loss for baseline in search.baselines}
    randoms = [loss for name, loss in named.items() if name.startswith("random_")]
    lines = [("plain order", named.get("identity"), RED)]
    if randoms:
        lines.append(("random, mean", math.fsum(randoms) / len(randoms), ORANGE))
        lines.append((f"random, best of {len(randoms)}", min(randoms), PURPLE))
    lines.append(("assignment", named.get("assignment"), BLUE))
    return [(words, loss, colour) for words, loss, colour in lines if loss is not None]


def resource_bars(result: FlowResult) -> Markup:
    """Bars of what the array takes of the board, with the guideline on each."""
    held, percent = result.resources, result.percent
    names = [name for name, share in percent.items() if share is not None]
    with style():
        figure = Figure(figsize=(HALF, 0.36 * len(names) + 0.5))
        axes = figure.add_subplot()
        for place, name in enumerate(names):
            share, guide = percent[name] or 0.0, held.guideline[name]
            axes.barh(place, 100, 0.5, color=GREY, alpha=0.18)
            axes.barh(place, min(share, 100), 0.5, color=ORANGE if share > guide else BLUE)
            axes.plot([guide, guide], [place - 0.36, place + 0.36], color=INK, linewidth=1.3)
            text = f"{share:.1f} %" if share < 10 else f"{share:.0f} %"
            axes.text(103, place, text, va="center", fontweight="bold")
            axes.text(123, place, f"{held.used[name]:,} / {held.available[name]:,}", va="center")
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlim(0, 160)
        axes.spines["bottom"].set_bounds(0, 100)
        axes.set_xlabel("% of the board; the mark is the guideline for timing", x=50 / 160)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        return to_svg(figure, "Resources as a share of the board")


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Places in 0..1 moved as little as a simple sweep can so that all are ``gap`` apart."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    heights = list(places)
    floor = 0.0
    for index in order:
        heights[index] = max(heights[index], floor)
        floor = heights[index] + gap
    ceiling = 1.0
    for index in reversed(order):
        heights[index] = min(heights[index], ceiling)
        ceiling = heights[index] - gap
    return heights


def _labels(axes: Axes, lines: Sequence[tuple[str, float, str]]) -> None:
    """Words beside the right end of each line, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    log = axes.get_yscale() == "log"
    scale = math.log if log else float
    bottom, top = scale(low), scale(high)
    heights = spread([(scale(loss) - bottom) / (top - bottom) for _, loss, _ in lines], 0.085)
    for index, (words, loss, colour) in enumerate(lines):
        axes.text(
            1.015, heights[index], f"{words}  {loss:.3g}", transform=axes.transAxes,
            va="center", color=colour, fontweight="bold" if words == "scheduled" else "normal",
        )  # fmt: skip


def _grid(axes: Axes, axis: Literal["x", "y"]) -> None:
    axes.set_axisbelow(True)
    axes.grid(axis=axis, color=GREY, alpha=0.3, linewidth=0.6)
