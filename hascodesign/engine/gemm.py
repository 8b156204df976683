"""Exact accumulators of a faulty array, fast: BLAS where it is exact, a kernel where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.arithmetic import Codes, LayerTrace, walk
from hascodesign.contract.array import wmem_bases
from hascodesign.contract.types import (
    FaultProfile,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    RowMap,
    Schedule,
)
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.slots import pe_faults


def accumulate(
    profile: FaultProfile,
    layer: MultiplyLayer,
    row_map: RowMap,
    activations: NDArray[Any],
    *,
    layer_index: int | None = None,
    wmem_base: int,
    columns: IntArray | None = None,
    order: IntArray | None = None,
) -> IntArray:
    """ACC of one layer on the faulty array; same integers as ``reference.accumulate``.

    Parameters
    ----------
    profile : a profile that has been checked.
    layer : the layer; its weights [R, K].
    row_map : which row each PE computes in each pass.
    activations : X [K, N] codes.
    layer_index : word of the transient draw; the layer's own index where None.
    wmem_base : first word of this layer in every weight bank.
    columns : [N] column counters of the transient draw; 0..N-1 where None.
    order : [T, S] K index per step and multiplier, -1 for padding; the default order where None.

    Returns
    -------
    [R, N] accumulators in natural row order.
    """
    index = layer.index if layer_index is None else layer_index
    on_array = LayerOnArray(
        profile, pe_faults(profile), layer, passes=row_map.passes, base=wmem_base,
        layer_index=index, order=order,
    )  # fmt: skip
    classes = on_array.classes_of(row_map)
    counters = np.arange(activations.shape[1]) if columns is None else columns
    codes = np.ascontiguousarray(np.asarray(activations).astype(np.int64) & 0xFF, dtype=np.uint8)
    rows = np.arange(layer.rows)
    return on_array.accumulate(rows, classes, codes, counters).astype(np.int64)


def trace(
    network: IntegerNetwork, schedule: Schedule, profile: FaultProfile, codes: Codes
) -> Iterator[LayerTrace]:
    """Every multiply layer of a run on the faulty array, in turn: what it took and gave.

    Parameters
    ----------
    network, schedule : what runs, and where its rows stand.
    profile : a checked profile of the schedule's array; without faults, the healthy run.
    codes : [n, height, width, channels] input codes; their columns count from 0.
    """
    bases = wmem_bases(network, schedule)

    def on_array(layer: MultiplyLayer, activations: Codes) -> IntArray:
        row_map, base = schedule.layers[layer.index], bases[layer.index]
        return accumulate(profile, layer, row_map, activations, wmem_base=base)

    return walk(network, codes, on_array)
