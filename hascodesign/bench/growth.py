"""Time of one layer over images, K, rows and PEs, with a quarter of the PEs faulty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from hascodesign.bench.result import Line, Point
from hascodesign.bench.subject import ARRAY, SEED
from hascodesign.bench.timing import repeated
from hascodesign.contract.array import generator, identity_map
from hascodesign.contract.types import (
    ArraySpec,
    Fault,
    FaultProfile,
    InputQuant,
    IntegerNetwork,
    MultiplyLayer,
    Thresholds,
    frozen,
)
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.slots import pe_faults

LINEAR = 1.2  # greatest ratio of a time to the straight line that counts as linear


@dataclass(frozen=True, slots=True)
class Sizes:
    """One layer on one array."""

    images: int = 1024
    depth: int = 1152  # K
    rows: int = 128
    pe: int = 16


@dataclass(frozen=True, slots=True)
class Sweep:
    """Sizes of one axis; those from ``least`` on count for the linearity."""

    axis: str
    sizes: tuple[int, ...]
    least: int


#: Below ``least`` the fixed cost of a call, about half a millisecond, shows.
SWEEPS = (
    Sweep("images", (128, 256, 512, 1024, 2048, 4096), 512),
    Sweep("depth", (144, 288, 576, 1152, 2304, 4608), 1152),
    Sweep("rows", (16, 32, 64, 128, 256, 512), 64),
    Sweep("pe", (8, 16, 32, 64, 128), 8),
)
QUICK = (Sweep("images", (64, 128), 64),)


def growth(
    repeats: int, told: Callable[[Line], None], sweeps: tuple[Sweep, ...] = SWEEPS
) -> tuple[list[Point], list[Line]]:
    """Points of every sweep, and how far each is from linear.

    PEs beyond the rows' need stay idle, so that axis is expected to be flat and has no goal.
    """
    points, lines = [], []
    for sweep in sweeps:
        mine = []
        for size in sweep.sizes:
            work = layer_work(replace(Sizes(), **{sweep.axis: size}))
            wall, cpu = repeated(work, repeats)
            mine.append(Point(sweep.axis, size, wall, cpu, size >= sweep.least))
        points += mine
        lines.append(_linearity(sweep, mine))
        told(lines[-1])
    return points, lines


def _linearity(sweep: Sweep, points: list[Point]) -> Line:
    """How far the points that count are from a straight line; over PEs and rows, how far from flat.

    A call costs something whatever its size, so a straight line need not go through the origin: the
    note has where it starts, and greatest to least time per unit, in which that cost shows.
    """
    per = 0 if sweep.axis == "pe" else 1
    # the least of the repeats: other work on the machine only ever adds
    counted = [p for p in points if p.counted]
    cpu = [p.cpu.least / p.size**per for p in counted]
    wall = [p.seconds.least / p.size**per for p in counted]
    where = f"over {sweep.axis}, {sweep.least} to {sweep.sizes[-1]}"
    spread = f"{max(cpu) / min(cpu):.2f}, by wall clock {max(wall) / min(wall):.2f}"
    if sweep.axis not in ("images", "depth"):
        what = "time per unit" if per else "time"
        note = f"processor time; by wall clock {max(wall) / min(wall):.2f}"
        unit = f"(greatest to least {what})"
        return Line("growth", where, value=max(cpu) / min(cpu), unit=unit, note=note)
    off, fixed = straight([p.size for p in counted], [p.cpu.least for p in counted])
    return Line(
        "growth",
        where,
        value=off,
        unit="(ratio to a straight line, either way, at most)",
        target=LINEAR,
        note=(
            f"processor time; the line starts at {1e3 * fixed:.2f} ms;"
            f" greatest to least time per unit {spread}"
        ),
    )


def straight(sizes: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Greatest ratio of times to the straight line of least relative error, and its start.

    Parameters
    ----------
    sizes, seconds : of the points, at least two.

    Returns
    -------
    (ratio, 1 or more, of time to line or line to time; seconds of the line at size 0)
    """
    times = np.asarray(seconds)
    slope, start = np.polyfit(sizes, times, 1, w=1 / times)
    line = slope * np.asarray(sizes) + start
    return float(np.maximum(times / line, line / times).max()), float(start)


def layer_work(sizes: Sizes, simd: int = ARRAY.simd) -> Callable[[], object]:
    """The accumulators of one layer with stuck partial sums on a quarter of the PEs."""
    rng = generator(SEED, "bench layer")
    array = array_of(sizes.pe, simd)
    layer = random_layer(rng, sizes.rows, sizes.depth)
    faults = tuple(Fault(pe, "sa1", "psum", None, 9) for pe in range(sizes.pe // 4))
    profile = FaultProfile(array, faults)
    row_map = identity_map(layer, array.pe)
    on_array = LayerOnArray(
        profile, pe_faults(profile), layer, passes=row_map.passes, base=0, layer_index=0
    )
    codes = rng.integers(0, 16, (sizes.depth, sizes.images)).astype(np.uint8)
    rows, counters = np.arange(layer.rows), np.arange(sizes.images)
    return partial(on_array.accumulate, rows, on_array.classes_of(row_map), codes, counters)


def random_layer(rng: np.random.Generator, rows: int, depth: int) -> MultiplyLayer:
    """A dense layer of random 4-bit weights and codes, 15 thresholds a row."""
    spread = 8 * depth**0.5
    steps = np.sort(rng.normal(spread, spread, (rows, 15)).astype(np.int64), axis=1)
    return MultiplyLayer(
        name="dense0",
        index=0,
        weights=frozen(rng.integers(-7, 8, (rows, depth))),
        bias=frozen(np.zeros(rows)),
        weight_bits=4,
        in_bits=4,
        in_signed=False,
        conv=None,
        output=Thresholds(frozen(steps), frozen(np.zeros(rows), bool), 0),
        out_bits=4,
        out_signed=False,
    )


def one_layer(layer: MultiplyLayer) -> IntegerNetwork:
    """The network of this layer alone."""
    source = InputQuant(1.0, 4, False, 0, 15)
    return IntegerNetwork("one layer", source, (1, 1, layer.depth), (layer,), 1.0)


def array_of(pe: int, simd: int) -> ArraySpec:
    """The standard array in another size."""
    return replace(ARRAY, pe=pe, simd=simd)
