"""The figure of a bench: passes by site, peers, growth."""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hascodesign.bench.result import BenchResult, Line, Point

# readable on white and told apart without colour vision
COLOURS = ("#4a86e0", "#dd8a2d", "#2a9d6f", "#8b6bd1", "#d64550", "#8b929c")
AXES = {"images": "images", "depth": "K", "rows": "rows", "pe": "PEs"}


def figure(result: BenchResult) -> bytes:
    """PNG of the run: passes above, growth below."""
    drawn = Figure(figsize=(11, 8.2), layout="constrained")
    grid = drawn.add_gridspec(2, 2, height_ratios=(1.25, 1))
    _passes(drawn.add_subplot(grid[0, :]), result)
    _growth(drawn.add_subplot(grid[1, 0]), [p for p in result.points if p.axis != "pe"])
    _others(drawn.add_subplot(grid[1, 1]), result)
    drawn.suptitle(f"{result.heading}\n{result.machine.title}", fontsize=9)
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _passes(axes: Axes, result: BenchResult) -> None:
    """Bars by site, one colour for each share; all multipliers hatched; goals as marks."""
    lines = result.of("passes")
    names = list(dict.fromkeys(line.name for line in lines))
    shares = sorted({line.share or 0 for line in lines} - {0})
    width = 0.8 / max(2 * len(shares), 1)
    for line in lines:
        if line.ratio is None:
            continue
        place = float(names.index(line.name))
        wide = width
        colour = COLOURS[-1]
        if line.share:
            order = shares.index(line.share)
            place += (2 * order + (line.multipliers == "all") - len(shares) + 0.5) * width
            colour = COLOURS[order]
        r = line.ratio
        axes.bar(
            place, r.median, wide, color=colour, edgecolor="white", linewidth=0.4,
            hatch="////" if line.multipliers == "all" else "",
        )  # fmt: skip
        axes.plot([place, place], [r.low, r.high], color="black", linewidth=1)
        if line.target is not None:
            axes.plot(
                [place - wide, place + wide], [line.target] * 2, color=COLOURS[4], linewidth=1.6
            )
    for order, share in enumerate(shares):
        axes.bar(0, 0, color=COLOURS[order], label=f"{share} % of the PEs faulty")
    axes.bar(0, 0, facecolor="white", edgecolor="black", hatch="////", label="all multipliers")
    axes.plot([], [], color=COLOURS[4], label="goal, one faulty multiplier")
    axes.axhline(1, color="black", linewidth=0.6, linestyle=":")
    axes.set_yscale("log")
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_ylabel("time to a clean float32 pass")
    axes.set_title("One pass of the faulty network (median; black: quartiles)", fontsize=9)
    axes.legend(fontsize=7, ncols=2, loc="upper left")
    _plain(axes)


def _growth(axes: Axes, points: list[Point]) -> None:
    for order, axis in enumerate(dict.fromkeys(point.axis for point in points)):
        mine = [p for p in points if p.axis == axis]
        largest = mine[-1].cpu.least / mine[-1].size
        axes.plot(
            [p.size for p in mine],
            [p.cpu.least / p.size / largest for p in mine],
            marker="os^v"[order % 4],
            color=COLOURS[order],
            label=f"per {AXES[axis].removesuffix('s')}",
        )
    axes.axhspan(1 / 1.2, 1.2, color="#e8e8e8", zorder=0)
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("images, K or rows of one layer")
    axes.set_ylabel("processor time per unit, largest = 1")
    axes.set_title("Growth (grey: 20 %)", fontsize=9)
    if points:
        axes.legend(fontsize=7)
    _plain(axes)


def _others(axes: Axes, result: BenchResult) -> None:
    """Peers and candidates beside the healthy pass."""
    kept: list[Line] = [line for line in result.of("passes") if line.name == "healthy"]
    kept += [line for line in (*result.of("peers"), *result.of("search")) if line.ratio]
    names = [line.name if len(line.name) < 40 else line.name[:38] + "…" for line in kept]
    values = [line.ratio.median if line.ratio else 0.0 for line in kept]
    axes.barh(range(len(kept)), values, color=COLOURS[0])
    for place, value in enumerate(values):
        axes.annotate(f" {value:.2f}", (value, place), va="center", fontsize=7)
    axes.set_yticks(range(len(kept)), names, fontsize=7)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.6, linestyle=":")
    axes.set_xlim(left=0)
    axes.set_xlabel("time to a clean float32 pass of the same images")
    axes.set_title("Beside the peers", fontsize=9)
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7)
