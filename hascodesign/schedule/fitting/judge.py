"""Maps judged with every row as it is written for the class of its slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from hascodesign.contract.types import FaultProfile, IntArray, IntegerNetwork
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.network import Evaluator
from hascodesign.engine.planes import Block, Planes, limits_of
from hascodesign.engine.rows import compute
from hascodesign.schedule.fitting.layer import OnClasses
from hascodesign.schedule.fitting.network import written_layer


class WrittenEvaluator(Evaluator):
    """As `Evaluator`, each row the one that was written for its class of slots.

    Schedules must have the passes that the rows were written for: the classes are theirs.

    Parameters
    ----------
    network : as trained.
    profile, codes, labels : as `Evaluator` takes them.
    layers : every row of each layer for every class.
    """

    def __init__(
        self,
        network: IntegerNetwork,
        profile: FaultProfile,
        codes: NDArray[Any],
        labels: IntArray,
        layers: Sequence[OnClasses],
    ) -> None:
        super().__init__(network, profile, codes, labels)
        self._written = [
            _block(block, on_classes) for block, on_classes in zip(self.blocks, layers, strict=True)
        ]
        self._arrays: dict[int, LayerOnArray] = {}

    def _compute(
        self,
        block: Block,
        on_array: LayerOnArray,
        rows: IntArray,
        classes: IntArray,
        planes: Planes,
    ) -> NDArray[Any]:
        written = self._written[block.layer.index]
        if block.layer.index not in self._arrays:
            self._arrays[block.layer.index] = on_array.with_layer(written.layer, block.taken)
        places = classes * block.layer.rows + rows
        return compute(written, self._arrays[block.layer.index], places, classes, planes)


def _block(block: Block, on_classes: OnClasses) -> Block:
    rows = on_classes.rows
    layer = written_layer(block.layer, rows)
    return replace(block, layer=layer, limits=limits_of(layer))
