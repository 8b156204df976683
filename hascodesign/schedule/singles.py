"""Every single change of one row run through the rest of the network: exact, where cheap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hascodesign.engine.network import Assignment
from hascodesign.engine.network import Evaluator as NetworkEvaluator
from hascodesign.schedule.derivatives import Real
from hascodesign.schedule.space import HEALTHY, LayerSpace, Space
from hascodesign.types import FaultProfile, IntArray, IntegerNetwork

RUNS = 800  # of a layer, at most
WORK = 3e10  # multiply-accumulates of all its runs, at most
CACHE = 64 << 20  # bytes of rows kept between runs


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
        self._engine = NetworkEvaluator(network, profile, codes, labels, cache_bytes=CACHE)
        schedule = space.decode(space.identity() if chromosome is None else chromosome)
        self._usual = self._engine.assignments(schedule)
        if chromosome is None:
            self._usual = [Assignment(a.on_array, 0 * a.classes) for a in self._usual]

    def changes(self, index: int) -> Real:
        """Logits of each row on each kind of slot less those on a healthy one.

        Returns
        -------
        [R + 1, kinds, classes of images, n]; 0 for no row and for the healthy kind.
        """
        layer = self.space.layers[index]
        places = self._places(layer, index)
        shape = (layer.rows + 1, len(places), *self._logits(index, 0, None).shape)
        out = np.zeros(shape, dtype=np.float32)
        for row in range(layer.rows):
            healthy = self._logits(index, row, HEALTHY)
            for kind, place in enumerate(places):
                if place is not None and kind != HEALTHY:
                    out[row, kind] = self._logits(index, row, place) - healthy
        return out

    def on_kinds(self, index: int, kinds: IntArray) -> IntArray:
        """Logits [n, classes of images] where the rows [R] of one layer are on other kinds."""
        usual = self._usual[index]
        places = self._places(self.space.layers[index], index)
        classes = np.array([places[kind] for kind in kinds], dtype=np.int64)
        changed = list(self._usual)
        changed[index] = Assignment(usual.on_array, classes)
        return self._engine.run(changed)

    def _places(self, layer: LayerSpace, index: int) -> Sequence[int | None]:
        """The engine's class of each kind; None where no slot is of that kind."""
        of_slot = self._usual[index].on_array.slot_classes.reshape(-1)
        found: list[int | None] = [None] * (int(layer.kinds.max()) + 1)
        for members, kind in zip(layer.members, layer.kinds.tolist(), strict=True):
            if members.size and found[kind] is None:
                found[kind] = int(of_slot[members[0]])
        return found

    def _logits(self, index: int, row: int, place: int | None) -> IntArray:
        """Logits [classes of images, n] with one row on another class of slot."""
        usual = self._usual[index]
        classes = usual.classes.copy()
        if place is not None:
            classes[row] = place
        changed = list(self._usual)
        changed[index] = Assignment(usual.on_array, classes)
        return self._engine.run(changed).T
