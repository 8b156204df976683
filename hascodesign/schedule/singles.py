"""Every single change of one row run through the rest of the network: exact, where cheap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.types import FaultProfile, IntArray, IntegerNetwork
from hascodesign.engine.classes import HEALTHY
from hascodesign.engine.network import Assignment
from hascodesign.engine.network import Evaluator as NetworkEvaluator
from hascodesign.engine.rows import compute
from hascodesign.schedule.derivatives import Real
from hascodesign.schedule.space import LayerSpace, Space

RUNS = 800  # of a layer, at most
WORK = 3e10  # multiply-accumulates of all its runs, at most


def cheap(network: IntegerNetwork, layer: LayerSpace, images: int) -> bool:
    """Whether every row of a layer can be run on every kind of slot."""
    index = next(m.index for m in network.layers if m.name == layer.name)
    runs = layer.rows * int(layer.kinds.max())
    after = sum(macs(network, number) for number in range(index + 1, len(network.layers)))
    own = macs(network, index) / layer.rows
    return runs <= RUNS and runs * images * (after + own) <= WORK


def macs(network: IntegerNetwork, index: int) -> float:
    """Multiply-accumulates of one layer and image."""
    layer = network.layers[index]
    columns = 1 if layer.conv is None else layer.conv.out_size[0] * layer.conv.out_size[1]
    return float(layer.rows * layer.depth * columns)


class Singles:
    """The network around one schedule, or healthy, and what one row more or less changes.

    Parameters
    ----------
    network, profile, space : what is searched.
    codes : [n, height, width, channels] input codes.
    chromosome : the schedule; None = every row on a healthy slot.
    """

    def __init__(
        self,
        network: IntegerNetwork,
        profile: FaultProfile,
        space: Space,
        codes: IntArray,
        chromosome: IntArray | None,
    ) -> None:
        self.space = space
        labels = np.zeros(len(codes), dtype=np.int64)
        engine = NetworkEvaluator(network, profile, codes, labels, cache_bytes=0)
        schedule = space.decode(space.identity() if chromosome is None else chromosome)
        self._usual = engine.assignments(schedule)
        if chromosome is None:
            self._usual = [Assignment(a.on_array, 0 * a.classes) for a in self._usual]
        self._blocks = engine.blocks
        self._planes: list[NDArray[Any]] = [engine.planes]  # input of each layer, then the logits
        for index, one in enumerate(self._usual):
            self._planes.append(self._compute(index, one.classes, self._planes[index]))

    def changes(self, index: int) -> Real:
        """Logits of each row on each kind of slot less those on a healthy one.

        Returns
        -------
        [R + 1, kinds, classes of images, n]; 0 for no row and for the healthy kind.
        """
        layer = self.space.layers[index]
        places = self._places(layer, index)
        healthy = self._one_by_one(index, HEALTHY)
        out = np.zeros((layer.rows + 1, len(places), *healthy.shape[1:]), dtype=np.float32)
        for kind, place in enumerate(places):
            if place is not None and kind != HEALTHY:
                out[:-1, kind] = self._one_by_one(index, place) - healthy
        return out

    def on_kinds(self, index: int, kinds: IntArray) -> IntArray:
        """Logits [n, classes of images] where the rows [R] of one layer are on other kinds."""
        places = self._places(self.space.layers[index], index)
        classes = np.array([places[kind] for kind in kinds], dtype=np.int64)
        return self._after(index, self._compute(index, classes, self._planes[index])).T

    def _places(self, layer: LayerSpace, index: int) -> Sequence[int | None]:
        """The engine's class of each kind; None where no slot is of that kind."""
        of_slot = self._usual[index].on_array.slot_classes.reshape(-1)
        found: list[int | None] = [None] * (int(layer.kinds.max()) + 1)
        for members, kind in zip(layer.members, layer.kinds.tolist(), strict=True):
            if members.size and found[kind] is None:
                found[kind] = int(of_slot[members[0]])
        return found

    def _one_by_one(self, index: int, place: int) -> IntArray:
        """Logits [R, classes of images, n] with each row alone on another class of slot."""
        usual = self._planes[index + 1]
        values = self._compute(index, np.full(len(usual), place), self._planes[index])
        out = np.empty((len(usual), *self._planes[-1].shape), dtype=np.int64)
        for row in range(len(usual)):
            if np.array_equal(values[row], usual[row]):
                out[row] = self._planes[-1]
                continue
            changed = usual.copy()
            changed[row] = values[row]
            out[row] = self._after(index, changed)
        return out

    def _after(self, index: int, values: NDArray[Any]) -> IntArray:
        """Logits [classes of images, n] where one layer gives ``values``."""
        for later in range(index + 1, len(self._blocks)):
            values = self._compute(later, self._usual[later].classes, values)
        return values

    def _compute(self, index: int, classes: IntArray, planes: NDArray[Any]) -> NDArray[Any]:
        """What all rows of a layer give on these classes of slots."""
        rows = np.arange(classes.size)
        return compute(self._blocks[index], self._usual[index].on_array, rows, classes, planes)
