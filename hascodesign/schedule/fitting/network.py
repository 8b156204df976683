"""A whole network written for its slots, layer by layer.

Each layer is written on the activations that the faulty layers before it really give, and is to
give the codes of the network as trained, without faults. Fits see one part of the calibration
images; what is kept of them the other part decides, row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract import arithmetic
from hascodesign.contract.array import generator
from hascodesign.contract.types import (
    FaultProfile,
    FloatArray,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    RowMap,
    Schedule,
    Thresholds,
    frozen,
)
from hascodesign.engine.classes import HEALTHY
from hascodesign.engine.network import Evaluator
from hascodesign.engine.planes import Block, Planes, limits_of
from hascodesign.engine.rows import compute
from hascodesign.engine.slots import pe_faults
from hascodesign.schedule.fitting import reconstruct
from hascodesign.schedule.fitting.layer import LayerWriter, OnClasses, Rows, Sample
from hascodesign.schedule.fitting.moves import Moves

IMAGES = 2048  # looked at, at most
CHECKED = 0.3  # share of them that decide what is kept
COLUMNS = 4096  # of a layer that its rows are fitted to, at most
BYTES = 64 << 20  # of a layer's columns at once

Placing = Callable[[MultiplyLayer, FloatArray], RowMap]  # costs [R, classes of the engine]


@dataclass(frozen=True, slots=True)
class Deployed:
    """A network written for an array."""

    network: IntegerNetwork  # as written
    schedule: Schedule  # the map that it is written for
    layers: tuple[OnClasses, ...]  # every row for every class, of each layer


class NetworkWriter:
    """Writes a network for a faulty array.

    Parameters
    ----------
    network : as trained.
    profile : a profile that has been checked.
    codes, labels : calibration images as codes [n, height, width, channels], and classes [n].
    moves : what may be done to a row.
    seed : draws which images and columns are looked at.
    """

    def __init__(
        self,
        network: IntegerNetwork,
        profile: FaultProfile,
        codes: IntArray,
        labels: IntArray,
        moves: Moves,
        seed: int,
    ) -> None:
        self.network, self.profile, self.moves = network, profile, moves
        self._faults = pe_faults(profile)
        order = generator(seed, "fitting images").permutation(len(labels))[:IMAGES]
        self.images = np.sort(order)
        self.checks = generator(seed, "fitting checks").random(len(order)) < CHECKED
        self._rng_seed = seed
        self._passes: tuple[int, ...] = ()
        self._writers: dict[int, LayerWriter] = {}  # of the passes that are asked for
        clean = Evaluator(
            network, replace(profile, faults=()), codes[self.images], labels[self.images]
        )
        self.labels = labels[self.images]
        self.blocks = clean.blocks
        self._clean: list[Planes] = [clean.planes]
        self._clean_arrays = [one.on_array for one in clean.healthy()]
        for block, on_array in zip(self.blocks, self._clean_arrays, strict=True):
            self._clean.append(self._healthy(block, on_array, self._clean[-1]))

    @staticmethod
    def _healthy(block: Block, on_array: Any, planes: Planes) -> NDArray[Any]:
        rows = np.arange(block.layer.rows)
        return compute(block, on_array, rows, np.full_like(rows, HEALTHY), planes)

    def slot_classes(self, index: int, passes: tuple[int, ...]) -> IntArray:
        """The engine's class [passes, P] of each slot of a layer."""
        return self._writer(index, passes).on_array.slot_classes

    def _writer(self, index: int, passes: tuple[int, ...]) -> LayerWriter:
        if passes != self._passes:
            self._passes, self._writers = passes, {}
        if index not in self._writers:
            spec = self.profile.array
            before = zip(self.network.layers[:index], passes, strict=False)
            self._writers[index] = LayerWriter(
                self.profile,
                self._faults,
                self.network.layers[index],
                passes=passes[index],
                base=sum(count * spec.steps(layer.depth) for layer, count in before),
                moves=self.moves,
            )
        return self._writers[index]

    def write(self, passes: tuple[int, ...], place: Placing) -> Deployed:
        """The network written for the map that ``place`` gives, layer by layer.

        Parameters
        ----------
        passes : of each layer.
        place : the map of a layer whose rows leave these errors on each class of slots.
        """
        planes = self._clean[0]
        stages, maps, found = list(self.network.stages), [], []
        for block in self.blocks:
            layer = block.layer
            writer = self._writer(layer.index, passes)
            fitted, checked = self._samples(block, planes)
            on_classes = writer.on_classes(fitted)
            row_map = place(layer, on_classes.error)
            classes = writer.on_array.classes_of(row_map)
            rows = _chosen(writer, on_classes, classes, fitted, checked)
            written = written_layer(layer, rows)
            stages[self.network.stages.index(layer)] = written
            maps.append(row_map)
            found.append(on_classes)
            planes = self._forward(block, writer, written, classes, planes)
        network = replace(self.network, stages=tuple(stages))
        return Deployed(network, Schedule(self.profile.array, tuple(maps)), tuple(found))

    def _forward(
        self,
        block: Block,
        writer: LayerWriter,
        written: MultiplyLayer,
        classes: IntArray,
        planes: Planes,
    ) -> Planes:
        own = replace(block, layer=written, limits=limits_of(written))
        on_array = writer.array_of(written.weights, block.taken)
        return compute(own, on_array, np.arange(written.rows), classes, planes)

    def _samples(self, block: Block, planes: Planes) -> tuple[Sample, Sample]:
        """Columns to fit to and columns to check on, of different images."""
        most = max(1, BYTES // (block.layer.depth * block.layer.positions))
        parts = []
        for which in (~self.checks, self.checks):
            images = np.flatnonzero(which)[:most]
            parts.append(self._sample(block, planes, images))
        return parts[0], parts[1]

    def _sample(self, block: Block, planes: Planes, images: IntArray) -> Sample:
        layer, index = block.layer, block.layer.index
        counters = block.counters(self.images[images])
        rng = generator(self._rng_seed, f"fitting columns of {layer.name}")
        chosen = rng.permutation(len(counters))[:COLUMNS]
        of_k = np.argsort(block.taken)
        codes = block.columns(planes[..., images])[:, chosen]
        clean = block.columns(self._clean[index][..., images])[:, chosen]
        rows = np.arange(layer.rows)
        on_array = self._clean_arrays[index]
        acc = on_array.accumulate(rows, np.full_like(rows, HEALTHY), clean, counters[chosen])
        sums = acc.astype(np.int64) + layer.bias[:, None]
        wanted = sums if layer.output is None else arithmetic.output_codes(layer.output, sums)
        return Sample(np.ascontiguousarray(codes[of_k]), counters[chosen], sums, wanted)


def _chosen(
    writer: LayerWriter, on_classes: OnClasses, classes: IntArray, fitted: Sample, checked: Sample
) -> Rows:
    """Of each row, on its slot, the writing that does best on columns it was not fitted to."""
    rows = len(classes)
    best = writer.trained()
    left = writer.error(best, classes, checked)
    drafts = on_classes.rows.at(classes * rows + np.arange(rows))
    for draft in _drafts(writer, drafts, classes, fitted):
        error = writer.error(draft, classes, checked)
        better = error < left
        best = best.better(draft, better)
        left = np.where(better, error, left)
    return replace(best, error=left)


def _drafts(writer: LayerWriter, drafts: Rows, classes: IntArray, fitted: Sample) -> Iterator[Rows]:
    again = writer.fit(drafts, classes, fitted)
    yield again
    if writer.moves.reconstruction and reconstruct.affordable(writer.layer.depth):
        yield writer.fit(writer.reconstructed(again, classes, fitted), classes, fitted)


def written_layer(layer: MultiplyLayer, rows: Rows) -> MultiplyLayer:
    """The layer with rows as written; its words may take all bits that the array has."""
    written = replace(layer, weights=frozen(rows.weights), bias=frozen(rows.bias))
    if layer.output is None:
        return written
    lowest = layer.output.low if not isinstance(layer.output, Thresholds) else layer.output.lowest
    output = Thresholds(
        frozen(rows.values * rows.direction[:, None]),
        frozen(rows.direction < 0, np.bool_),
        lowest,
    )
    return replace(written, output=output)
