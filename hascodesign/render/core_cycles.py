"""Cycles of the accelerator: how fast a column's codes come, and how fast its results leave."""

from __future__ import annotations

import numpy as np

from hascodesign.contract.types import ArraySpec, IntegerNetwork, MaxPool, MultiplyLayer

#: Share of an image's cycles from which on more lanes, or a second run, are worth their LUTs.
WORTH = 0.02
STAGE_ENDS = 50  # cycles of a layer's beginning and end, at most about
MOST_NARROW_LANES = 8  # that are taken for convolutions with fewer channels than SIMD
MOST_LANES = 32  # that are taken without being asked for


def drain_cycles(spec: ArraySpec, lanes: int) -> int:
    """Cycles in which a column's P results leave.

    Lanes that want one bank wait for each other, hence a share of the time in hand. With a lane
    for each PE a column is taken while the next is captured.
    """
    if lanes == 1:
        return spec.pe + 1
    return 1 if lanes == spec.pe else 5 * spec.pe // (4 * lanes) + 1


def feed_cycles(spec: ArraySpec, layer: MultiplyLayer, runs: int) -> int:
    """Cycles in which a column's codes are read: T, and more where steps cross kernel rows.

    A step that touches r rows of the kernel takes ceil(r / runs) cycles.
    """
    if layer.conv is None:
        return spec.steps(layer.depth)
    row = layer.conv.kernel[1] * layer.conv.in_shape[2]
    first = np.arange(0, layer.depth, spec.simd)
    last = np.minimum(first + spec.simd, layer.depth) - 1
    touched = last // row - first // row + 1
    return int((-(-touched // runs)).sum())


def wide_convolutions(network: IntegerNetwork, spec: ArraySpec) -> list[MultiplyLayer]:
    """Convolutions with as many channels as multipliers of a PE, or more."""
    return [
        layer
        for layer in network.layers
        if layer.conv is not None and layer.conv.in_shape[2] >= spec.simd
    ]


def pooling_cycles(pool: MaxPool, spec: ArraySpec) -> int:
    """Words that a pooling of its own reads."""
    height, width, channels = pool.out_shape
    return height * width * pool.kernel[0] * pool.kernel[1] * -(-channels // spec.simd)


def lanes_and_runs(network: IntegerNetwork, spec: ArraySpec) -> tuple[int, int]:
    """Results a cycle, and runs of codes read in one, that are built where nobody asks otherwise.

    The fewest that hide the drain behind every convolution with channels >= SIMD, and read its
    steps in a cycle each. For the narrower ones the lanes are doubled, up to
    ``MOST_NARROW_LANES``, and the runs too, while that saves a share ``WORTH`` of an image.
    """
    runs = _wide_runs(network, spec)
    lanes = _narrow_lanes(network, spec, runs)
    if runs == 1:
        more = _narrow_lanes(network, spec, 2)
        if _saves(_cycles(network, spec, lanes, 1), _cycles(network, spec, more, 2)):
            return more, 2
    return lanes, runs


def runs_with(network: IntegerNetwork, spec: ArraySpec, lanes: int) -> int:
    """Runs of codes read in one cycle that are worth their room where so many results leave."""
    if _wide_runs(network, spec) == 2:
        return 2
    one, two = (_cycles(network, spec, lanes, runs) for runs in (1, 2))
    return 2 if _saves(one, two) else 1


def _narrow_lanes(network: IntegerNetwork, spec: ArraySpec, runs: int) -> int:
    lanes = _wide_lanes(network, spec)
    while lanes < min(spec.pe & -spec.pe, MOST_NARROW_LANES) and _saves(
        _cycles(network, spec, lanes, runs), _cycles(network, spec, 2 * lanes, runs)
    ):
        lanes *= 2
    return lanes


def _wide_lanes(network: IntegerNetwork, spec: ArraySpec) -> int:
    wide = [spec.steps(layer.depth) for layer in wide_convolutions(network, spec)]
    least = min(wide, default=2 * spec.pe)
    lanes = 1
    while drain_cycles(spec, lanes) > least and lanes < min(spec.pe & -spec.pe, MOST_LANES):
        lanes *= 2
    return lanes


def _wide_runs(network: IntegerNetwork, spec: ArraySpec) -> int:
    rows = (
        layer.conv.kernel[1] * layer.conv.in_shape[2]
        for layer in wide_convolutions(network, spec)
        if layer.conv is not None
    )
    return 2 if any(row % spec.simd for row in rows) else 1


def _saves(before: int, after: int) -> bool:
    return before - after >= WORTH * before


def _cycles(network: IntegerNetwork, spec: ArraySpec, lanes: int, runs: int) -> int:
    """Cycles of the multiply layers, without spare passes and streamed weights."""
    drain = drain_cycles(spec, lanes)
    return sum(
        -(-layer.rows // spec.pe)
        * layer.positions
        * max(feed_cycles(spec, layer, runs), drain if layer.conv is not None else 1)
        for layer in network.layers
    )
