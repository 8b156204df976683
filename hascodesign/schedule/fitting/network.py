"""A whole network written for its slots, layer by layer.

Each layer is written on the activations that the faulty layers before it really give, and is to
give the codes of the network as trained, without faults. Fits see one part of the calibration
images; what is kept of them the other part decides, row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from hascodesign.common import interrupt
from hascodesign.contract import arithmetic
from hascodesign.contract.array import generator
from hascodesign.contract.results import Move
from hascodesign.contract.types import (
    BoolArray,
    FloatArray,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    RowMap,
    Schedule,
    frozen,
)
from hascodesign.engine.classes import HEALTHY
from hascodesign.engine.planes import Block, Planes, limits_of
from hascodesign.engine.rows import compute
from hascodesign.schedule.fitting import reconstruct
from hascodesign.schedule.fitting.layer import LayerWriter, OnKinds, Sample
from hascodesign.schedule.fitting.rows import Rows, written_layer
from hascodesign.schedule.problem import Problem, some

IMAGES = 2048  # looked at, at most
FEWEST = 256  # looked at, however large the network is
PRODUCTS = 4e10  # of the network on the images that are looked at
CHECKED = 0.3  # share of them that decide what is kept
COLUMNS = 4096  # of a layer that its rows are fitted to, at most
BYTES = 64 << 20  # of a layer's columns at once

Placing = Callable[[int, FloatArray], RowMap]  # of a layer and the error [R, classes] left there


def share(macs: int) -> float:
    """Of ``IMAGES``, that a network of so many products an image can be looked at on."""
    return min(1.0, PRODUCTS / (IMAGES * max(macs, 1)))


def looked_at(macs: int, count: int, seed: int) -> tuple[IntArray, BoolArray]:
    """Places of the calibration images that are looked at, and which of these no fit sees.

    Parameters
    ----------
    macs : products of the network for an image; of a large one fewer images are looked at.
    count : calibration images.
    seed : of the search.
    """
    most = max(min(FEWEST, IMAGES), int(IMAGES * share(macs)))
    images = some(count, most, generator(seed, "fitting images"))
    draws = generator(seed, "fitting checks").random(len(images))
    return images, np.asarray(draws <= max(CHECKED, draws.min(initial=1.0)))  # never none


@dataclass(frozen=True, slots=True)
class Deployed:
    """A network written for an array."""

    network: IntegerNetwork  # as written
    schedule: Schedule  # the map that it is written for
    logits: IntArray  # [n, classes] on the writer's images


class NetworkWriter:
    """Writes a network for a faulty array.

    Parameters
    ----------
    problem : the images are those of calibration.
    moves : what may be done to a row.
    seed : draws which images and columns are looked at.
    """

    def __init__(self, problem: Problem, moves: tuple[Move, ...], seed: int) -> None:
        self.moves, self._seed = moves, seed
        self._images, self.held = looked_at(problem.network.macs, len(problem.labels), seed)
        self.problem = problem.on(self._images)
        self.layers = [
            LayerWriter(problem, index, moves) for index in range(len(problem.network.layers))
        ]
        clean = self.problem.healthy()
        self._blocks, self._clean = clean.blocks, [clean.planes]
        self._clean_arrays = [one.on_array for one in clean.healthy()]
        for block, on_array in zip(self._blocks, self._clean_arrays, strict=True):
            rows = np.arange(block.layer.rows)
            healthy = np.full_like(rows, HEALTHY)
            self._clean.append(compute(block, on_array, rows, healthy, self._clean[-1]))

    def alone(self) -> NetworkWriter:
        """The same for rows as trained."""
        other = copy(self)
        other.moves, other.layers = (), [layer.alone() for layer in self.layers]
        return other

    def assigned(self, place: Placing) -> tuple[Deployed, tuple[OnKinds, ...]]:
        """The network written for the map that ``place`` gives, and all rows on all kinds."""
        found: list[OnKinds] = []

        def rows(index: int, fitted: Sample) -> tuple[RowMap, Rows]:
            on_kinds = self.layers[index].on_kinds(fitted)
            found.append(on_kinds)
            row_map = place(index, on_kinds.error)
            classes = self.layers[index].on_array.classes_of(row_map)
            return row_map, on_kinds.rows.at(on_kinds.of(np.arange(len(classes)), classes))

        deployed = self._write(rows)
        return deployed, tuple(found)

    def on_map(self, schedule: Schedule) -> Deployed:
        """The network written for the slots of a map."""
        if not self.moves:
            logits = self.problem.evaluator().logits(schedule)
            return Deployed(self.problem.network, schedule, logits)

        def rows(index: int, fitted: Sample) -> tuple[RowMap, Rows]:
            row_map, writer = schedule.layers[index], self.layers[index]
            return row_map, writer.written(writer.on_array.classes_of(row_map), fitted)

        return self._write(rows)

    @property
    def healthy_logits(self) -> IntArray:
        """[n, classes] of the network without faults, on the writer's images."""
        return np.ascontiguousarray(self._clean[-1].T)

    def on_healthy_inputs(self) -> tuple[OnKinds, ...]:
        """Every row of every layer on every kind of slot, all layers before it healthy."""
        return tuple(
            writer.on_kinds(self._sample(block, planes, ~self.held))
            for writer, block, planes in zip(self.layers, self._blocks, self._clean, strict=False)
        )

    def _write(self, rows_of: Callable[[int, Sample], tuple[RowMap, Rows]]) -> Deployed:
        planes, written, maps = self._clean[0], [], []
        for block, writer in zip(self._blocks, self.layers, strict=True):
            interrupt.check()
            fitted = self._sample(block, planes, ~self.held)
            row_map, rows = rows_of(block.layer.index, fitted)
            if self.moves:
                rows = _kept(writer, rows, fitted, self._sample(block, planes, self.held))
            layer = written_layer(block.layer, rows)
            own = replace(block, layer=layer, limits=limits_of(layer))
            on_array = writer.on_array.with_layer(layer, block.taken)
            planes = compute(own, on_array, np.arange(layer.rows), rows.slot, planes)
            written.append(replace(layer, weights=frozen(rows.weights)))
            maps.append(row_map)
        network = self.problem.network
        if self.moves:
            network = with_layers(network, written)
        schedule = Schedule(self.problem.profile.array, tuple(maps))
        return Deployed(network, schedule, np.ascontiguousarray(planes.T))

    def _sample(self, block: Block, planes: Planes, which: BoolArray) -> Sample:
        """Columns of some of the images."""
        layer, index = block.layer, block.layer.index
        images = np.flatnonzero(which)[: max(1, BYTES // (layer.depth * layer.positions))]
        counters = block.counters(self._images[images])
        rng = generator(self._seed, f"fitting columns of {layer.name}")
        chosen = rng.permutation(len(counters))[:COLUMNS]
        of_k = np.argsort(block.taken)
        codes = block.columns(planes[..., images])[:, chosen]
        clean = block.columns(self._clean[index][..., images])[:, chosen]
        rows = np.arange(layer.rows)
        on_array = self._clean_arrays[index]
        acc = on_array.accumulate(rows, np.full_like(rows, HEALTHY), clean, counters[chosen])
        sums = acc.astype(np.int64) + layer.bias[:, None]
        wanted = sums if layer.output is None else arithmetic.output_codes(layer.output, sums)
        labels = np.tile(self.problem.labels[images], layer.positions)[chosen]
        codes = np.ascontiguousarray(codes[of_k])
        return Sample(codes, counters[chosen], sums, wanted, labels)


def _kept(writer: LayerWriter, drafts: Rows, fitted: Sample, checked: Sample) -> Rows:
    """Of each row, on its slot, the writing that does best on columns it was not fitted to."""
    best = writer.trained(drafts.slot)
    best = replace(best, error=writer.error(best, checked))
    again = writer.fit(drafts, fitted)
    best = _better(writer, best, again, checked)
    if "reconstruction" in writer.moves and reconstruct.affordable(writer.layer.depth):
        moved = writer.fit(writer.reconstructed(again, fitted), fitted)
        best = _better(writer, best, moved, checked)
    return best


def _better(writer: LayerWriter, best: Rows, draft: Rows, checked: Sample) -> Rows:
    draft = replace(draft, error=writer.error(draft, checked))
    return best.better(draft, np.asarray(draft.error < best.error, dtype=np.bool_))


def with_layers(network: IntegerNetwork, layers: Sequence[MultiplyLayer]) -> IntegerNetwork:
    """The network with other layers in the places of its own."""
    written = iter(layers)
    stages = [next(written) if isinstance(s, MultiplyLayer) else s for s in network.stages]
    return replace(network, stages=tuple(stages))
