"""A fault profile as a map of its array: text for a terminal, SVG for a page."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from rich.text import Text

from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, Site


@dataclass(frozen=True, slots=True)
class _Level:
    """How faults up to a share of the site's bits are drawn."""

    name: str
    mark: str  # in the text, where colour may be missing
    style: str  # rich
    colour: str  # SVG


_LEVELS = (
    _Level("lowest third of the site's bits", "-", "green", "#7fbf7b"),
    _Level("middle third", "+", "yellow", "#fdae61"),
    _Level("highest third", "!", "bold red", "#c51b1b"),
)
_DEAD = _Level("dead PE", "X", "bold magenta", "#40004b")
_PER_LINE = 16  # PEs side by side in the text
_LISTED = 20  # entries spelt out below the text's map
_MOST_LANES = 16  # multipliers drawn one by one in the SVG
_MOST_LABELS = 600  # cells of the SVG that carry a number


def significance(array: ArraySpec, fault: Fault) -> float:
    """Place of the fault's highest bit among its site's bits, 0 lowest to 1 highest; dead is 1."""
    if fault.site is None:
        return 1.0
    top = array.site_bits(fault.site) - 1
    bit = fault.bit if fault.bits is None else fault.bits[1]
    return 1.0 if top == 0 or bit is None else bit / top


def render_text(profile: FaultProfile) -> Text:
    """Map of the array as text: one column per PE, one row per site, then counts and entries.

    Each cell holds the number of faults and the mark of the worst; ``.plain`` of the result is
    the text without colours.
    """
    text = Text(_size(profile.array) + "\n")
    if profile.source:
        text.append(f"source      {_printable(profile.source)}\n")
    for key, value in sorted(profile.conditions.items()):
        text.append(f"condition   {key} = {_printable(str(value))}\n")
    text.append(f"seed        {profile.seed}\nfaults      {counts(profile)}\n")
    cells = _by_site(profile)
    for start in range(0, profile.array.pe, _PER_LINE):
        block = range(start, min(start + _PER_LINE, profile.array.pe))
        if profile.array.pe <= 4 * _PER_LINE or any(pe in block for pe, _ in cells):
            text.append_text(_block(profile, cells, block))
    text.append("\n")
    for level in (*_LEVELS, _DEAD):
        text.append(f" {level.mark} ", level.style)
        text.append(f"{level.name}  ")
    text.append("\n\n")
    for entry, fault in enumerate(profile.faults[:_LISTED]):
        text.append(f"entry {entry:<4} {describe(fault)}\n", _level(profile.array, [fault]).style)
    if len(profile.faults) > _LISTED:
        text.append(f"... and {len(profile.faults) - _LISTED} more\n")
    return text


def counts(profile: FaultProfile) -> str:
    """Entries by PE, site and kind in one line."""
    faults = profile.faults
    pes = len({fault.pe for fault in faults})
    total = f"{len(faults)} on {pes} of {profile.array.pe} PEs"
    sites = Counter(fault.site for fault in faults if fault.site is not None)
    kinds = Counter(fault.kind for fault in faults)
    parts = [
        ", ".join(f"{name} {n}" for name, n in sorted(group.items())) for group in (sites, kinds)
    ]
    return "; ".join([total, *filter(None, parts)])


def describe(fault: Fault) -> str:
    """One entry in words."""
    parts = [f"PE {fault.pe}"]
    if fault.site is not None:
        parts.append(fault.site)
    if fault.simd is not None:
        parts.append(f"multiplier {fault.simd}")
    if fault.address is not None:
        parts.append(f"address {fault.address}")
    if fault.bit is not None:
        parts.append(f"bit {fault.bit}")
    if fault.bits is not None:
        parts.append(f"bits {fault.bits[0]} to {fault.bits[1]}")
    parts.append(fault.kind)
    return " ".join(parts) + ("" if fault.p is None else f" p = {fault.p:g}")


def render_svg(profile: FaultProfile) -> bytes:
    """Map of the array as SVG: one column per PE, one row per site and multiplier.

    The same profile gives the same bytes on one version of matplotlib: no date, fixed ids.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({"svg.hashsalt": "hascodesign", "svg.fonttype": "none"})
        figure = _figure(profile)
        FigureCanvasSVG(figure)
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": "hascodesign"})
    return out.getvalue()


def _figure(profile: FaultProfile) -> Figure:
    array = profile.array
    lanes = array.simd if array.simd <= _MOST_LANES else 1
    rows = _rows(profile, lanes)
    height = 1.8 + 0.16 * sum(n for _, n in rows)
    width = min(max(6.0, 2 + 0.3 * array.pe), 24.0)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    _draw_cells(axes, profile, rows, lanes)
    title = _size(array).replace(", weights", "\nweights")
    axes.set_title(f"{title}\n{counts(profile)}", fontsize=8, loc="left")
    figure.legend(
        handles=[Patch(color=v.colour, label=v.name) for v in (*_LEVELS, _DEAD)],
        loc="outside lower left",
        ncols=2,
        fontsize=7,
        frameon=False,
    )
    return figure


def _draw_cells(
    axes: mpl.axes.Axes, profile: FaultProfile, rows: Sequence[tuple[Site, int]], lanes: int
) -> None:
    array, base, total = profile.array, {}, 0
    for site, height in rows:
        base[site] = total
        axes.axhline(total, color="#888888", linewidth=0.6)
        total += height
    for pe in range(array.pe + 1 if array.pe <= 256 else 0):
        axes.axvline(pe, color="#dddddd", linewidth=0.4)
    cells: dict[tuple[int, int], list[Fault]] = {}
    for fault in profile.faults:
        if fault.site is None:
            axes.add_patch(Rectangle((fault.pe, 0), 1, total, color=_DEAD.colour, linewidth=0))
            continue
        lane = fault.simd if fault.simd is not None and lanes > 1 else 0
        cells.setdefault((fault.pe, base[fault.site] + lane), []).append(fault)
    for (pe, row), faults in sorted(cells.items()):
        level = _level(array, faults)
        axes.add_patch(Rectangle((pe, row), 1, 1, facecolor=level.colour, edgecolor="white"))
        if len(cells) <= _MOST_LABELS:
            ink = "white" if level is _LEVELS[-1] else "black"
            label = _label(faults[0]) if len(faults) == 1 else f"{len(faults)} faults"
            axes.text(pe + 0.5, row + 0.5, label, fontsize=5, ha="center", va="center", color=ink)
    axes.set(xlim=(0, array.pe), ylim=(total, 0))
    axes.set_xlabel(
        "PE; multiplier 0 on top; 12=1: bit 12 stuck at 1, ^ inverted, ? transient", fontsize=7
    )
    step = -(-array.pe // 32)
    axes.set_xticks(
        [pe + 0.5 for pe in range(0, array.pe, step)], map(str, range(0, array.pe, step))
    )
    axes.set_yticks([base[site] + n / 2 for site, n in rows], [site for site, _ in rows])
    axes.tick_params(labelsize=7, length=0)


def _label(fault: Fault) -> str:
    """Bit and kind of the one fault of a cell, short."""
    mark = {"sa0": "=0", "sa1": "=1", "flip": "^", "transient": "?", "dead": ""}[fault.kind]
    bits = (fault.bit,) if fault.bits is None else fault.bits
    return "-".join(map(str, bits)) + mark


def _rows(profile: FaultProfile, lanes: int) -> list[tuple[Site, int]]:
    """Sites from the top of the picture with the number of rows that each takes."""
    return [(site, lanes if profile.array.has_lane(site) else 1) for site in _sites(profile)]


def _sites(profile: FaultProfile) -> list[Site]:
    """Sites of the dataflow; weight memory only where it has a fault."""
    present = {fault.site for fault in profile.faults}
    return [site for site in profile.array.sites if site != "wmem" or site in present]


def _by_site(profile: FaultProfile) -> dict[tuple[int, Site | None], list[Fault]]:
    cells: dict[tuple[int, Site | None], list[Fault]] = {}
    for fault in profile.faults:
        cells.setdefault((fault.pe, fault.site), []).append(fault)
    return cells


def _block(
    profile: FaultProfile,
    cells: Mapping[tuple[int, Site | None], Sequence[Fault]],
    pes: range,
) -> Text:
    wide = max(4, len(str(pes[-1])) + 1)
    text = Text("\nPE      " + "".join(f"{pe:>{wide}}" for pe in pes) + "\n")
    for site in _sites(profile):
        text.append(f"{site:<8}")
        for pe in pes:
            faults = cells.get((pe, None)) or cells.get((pe, site), [])
            level = _level(profile.array, faults)
            number = "" if level is _DEAD else str(len(faults)) if len(faults) < 100 else "++"
            cell = number + level.mark if faults else "."
            text.append(f"{cell:>{wide}}", level.style if faults else "dim")
        text.append("\n")
    return text


def _level(array: ArraySpec, faults: Iterable[Fault]) -> _Level:
    """The level of the worst of some faults of one cell."""
    worst = 0.0
    for fault in faults:
        if fault.kind == "dead":
            return _DEAD
        worst = max(worst, significance(array, fault))
    return _LEVELS[min(2, int(worst * 3))]


def _size(array: ArraySpec) -> str:
    depth = f", {array.wmem_depth} words a bank" if array.wmem_depth else ""
    return (
        f"{array.pe} PEs x {array.simd} multipliers, dataflow {array.dataflow}, weights "
        f"{array.weight_bits} bit, activations {array.act_bits} bit, accumulator "
        f"{array.acc_bits} bit{depth}"
    )


def _printable(text: str) -> str:
    """``text`` without anything that a terminal obeys."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
