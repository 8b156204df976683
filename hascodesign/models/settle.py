"""Codes of a model that hang on the last bit of a float sum, while it runs: decided exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hascodesign.contract import arithmetic
from hascodesign.contract.types import BoolArray, IntArray, IntegerNetwork
from hascodesign.models import parts, quantisers, ties
from hascodesign.models.graph import INPUT, Graph
from hascodesign.models.outputs import descends
from hascodesign.models.places import Shown, as_caught, walk

FEW = 16  # images at a time whose sums are looked at once more
LEAST = -(1 << 62)  # below every sum


class Exactly:
    """What the blocks of a graph make of their sums in rational numbers; made when asked for."""

    def __init__(
        self,
        graph: Graph,
        network: IntegerNetwork,
        shown: Sequence[Shown],
        acc_bits: int | None,
    ) -> None:
        self.network, self.shown, self.acc_bits = network, shown, acc_bits
        self._graph = graph
        self._made: dict[int, tuple[parts.Part, ties.Exact]] = {}

    def of(self, one: Shown) -> tuple[parts.Part, ties.Exact]:
        """Rows of a block, and what stands between their sums and codes."""
        if one.place not in self._made:
            graph = self._graph
            acts = {
                place: quantisers.activation(graph.quantiser(place))
                for place in {INPUT, *(graph.root(taken) for taken in one.block.takes)}
            }
            part = parts.of_block(graph, one.stage, one.place, acts)
            self._made[one.place] = part, ties.Exact(one.block.acting)
        return self._made[one.place]


class Batch:
    """Codes of a batch by the integer graph, to which the model's are held while it runs."""

    def __init__(self, exact: Exactly, images: Any, ours: Sequence[IntArray]) -> None:
        self._exact, self._images, self._ours = exact, images, ours
        self.ties = np.zeros(len(ours), dtype=np.int64)

    def settle(self, place: int, theirs: IntArray) -> IntArray:
        """The model's codes, those by the quantiser's own rule where sums lie on a step."""
        ours = self._ours[place]
        # the images are quantised alike by both, in one division
        if place == 0 or theirs.shape != ours.shape or np.array_equal(theirs, ours):
            return theirs
        one = self._exact.shown[place - 1]
        if not ties.handles(one.block.acting):
            return theirs
        wrong = np.flatnonzero((theirs != ours).reshape(len(ours), -1).any(axis=1))
        settled = theirs.copy()
        for start in range(0, len(wrong), FEW):
            some = wrong[start : start + FEW]
            tied = self._tied(one, some, theirs[some], ours[some])
            settled[some] = np.where(tied, ours[some], theirs[some])
            self.ties[place] += np.count_nonzero(tied)
        return settled

    def _tied(self, one: Shown, images: IntArray, theirs: IntArray, ours: IntArray) -> BoolArray:
        """Where both codes are among those of a sum on a step, ours by the quantiser's rule."""
        part, exact = self._exact.of(one)
        sums, rows = self._sums(one, images)
        places = np.nonzero(theirs != ours)
        tied = np.zeros(ours.shape, dtype=np.bool_)
        found = []
        for row, v, left, right in zip(
            *(array[places].tolist() for array in (rows, sums, theirs, ours)), strict=True
        ):
            code, *others = exact.codes(ties.real_of(part, row, v), row)
            found.append(right == code and left in others)
        tied[places] = found
        return tied

    def _sums(self, one: Shown, images: IntArray) -> tuple[IntArray, IntArray]:
        """ACC + bias behind the codes of some images, and the row of the block that each is of."""
        network, rows = self._exact.network, one.span.stop - one.span.start
        codes = arithmetic.quantise(self._images[images], network.input)
        traces = walk(network, codes, self._exact.acc_bits)
        trace = next(trace for trace in traces if trace.layer.index == one.layer)
        maps = arithmetic.maps_of(trace.layer, trace.acc + trace.layer.bias[:, None])
        sign = np.where(descends(one.block, rows), -1, 1)
        sums = as_caught(one.block, maps[..., one.span] * sign, around=LEAST)
        numbers = as_caught(one.block, np.broadcast_to(np.arange(rows), maps[..., one.span].shape))
        return sums * sign[numbers], numbers
