"""What the engine gives at the columns that are verified, healthy and faulty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hascodesign.contract import arithmetic, array
from hascodesign.contract.types import (
    FaultProfile,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    RowMap,
    Schedule,
)
from hascodesign.engine import gemm
from hascodesign.verify import columns
from hascodesign.verify.coverage import Excitation, excitation
from hascodesign.verify.vectors import Vectors


@dataclass(frozen=True, slots=True)
class _Layer:
    """What stays the same for a layer in both runs."""

    layer: MultiplyLayer
    row_map: RowMap
    order: IntArray  # [T, S]
    base: int  # first word in every weight bank
    count: int  # columns to simulate
    pool: IntArray  # candidate columns


def expectations(
    network: IntegerNetwork,
    schedule: Schedule,
    profile: FaultProfile,
    codes: arithmetic.Codes,
    cycle_budget: int,
    on_chip: Sequence[bool] | None,
) -> tuple[dict[str, list[Vectors]], list[Excitation]]:
    """What the engine gives at the chosen columns, and what the faults do there.

    Parameters
    ----------
    network, schedule, profile, codes, cycle_budget, on_chip : as ``verify`` takes them.

    Returns
    -------
    Per run, "healthy" and "faulty", the vectors of every layer; and per layer its excitation at
    the chosen columns of the faulty run.
    """
    shown = codes[: columns.image_count(network, len(codes))]
    layers = list(_layers(network, schedule, profile, len(shown), cycle_budget, on_chip))

    def run(met: FaultProfile) -> list[Vectors]:
        traces = gemm.trace(network, schedule, met, shown)
        return [_vectors(item, trace) for item, trace in zip(layers, traces, strict=True)]

    healthy, faulty = run(replace(profile, faults=())), run(profile)
    runs: dict[str, list[Vectors]] = {"healthy": [], "faulty": []}
    excited = []
    for item, plain, struck in zip(layers, healthy, faulty, strict=True):
        candidates = excitation(
            profile,
            item.layer,
            item.row_map,
            struck.activations,
            item.base,
            struck.columns,
        )
        rng = array.generator(profile.seed, f"verify, columns of {item.layer.name}")
        both = np.concatenate([plain.codes, struck.codes])
        chosen = columns.choose(candidates, both, item.count, rng)
        runs["healthy"].append(_at(plain, chosen))
        runs["faulty"].append(_at(struck, chosen))
        excited.append(candidates.at(chosen))
    return runs, excited


def _layers(
    network: IntegerNetwork,
    schedule: Schedule,
    profile: FaultProfile,
    images: int,
    cycle_budget: int,
    on_chip: Sequence[bool] | None,
) -> Iterator[_Layer]:
    bases = array.wmem_bases(network, schedule)
    inside = on_chip or [True] * len(bases)
    for layer, row_map, base in zip(network.layers, schedule.layers, bases, strict=True):
        order = array.k_order(layer.depth, profile.array.simd)
        passes, steps = row_map.passes, len(order)
        external = not inside[layer.index]
        count = columns.column_count(passes, steps, profile.array.pe, external, cycle_budget)
        cost = passes * steps * len(profile.faults)
        rng = array.generator(profile.seed, f"verify, candidates of {layer.name}")
        pool = columns.pool(layer, images, count, cost, rng)
        yield _Layer(layer, row_map, order, base, count, pool)


def _vectors(item: _Layer, trace: arithmetic.LayerTrace) -> Vectors:
    """A layer's part of the engine's run, kept at the candidate columns."""
    return Vectors(
        item.layer,
        item.row_map,
        item.order,
        item.base,
        item.pool,
        trace.activations[:, item.pool].astype(np.int64),
        trace.acc[:, item.pool].astype(np.int64),
        trace.codes[:, item.pool].astype(np.int64),
    )


def _at(vectors: Vectors, places: IntArray) -> Vectors:
    return replace(
        vectors,
        columns=vectors.columns[places],
        activations=vectors.activations[:, places],
        acc=vectors.acc[:, places],
        codes=vectors.codes[:, places],
    )
