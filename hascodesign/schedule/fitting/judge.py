"""Maps judged with every row as it is written for the kind of its slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from hascodesign.contract.types import IntArray
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.network import Evaluator
from hascodesign.engine.planes import Block, Planes, limits_of
from hascodesign.schedule.fitting.layer import OnKinds
from hascodesign.schedule.fitting.rows import written_layer
from hascodesign.schedule.problem import Problem


class WrittenEvaluator(Evaluator):
    """As `Evaluator`, each row the one that was written for its kind of slot.

    Parameters
    ----------
    problem : schedules must have the passes of its space: the classes of slots are theirs.
    layers : every row of each layer for every kind.
    """

    def __init__(self, problem: Problem, layers: Sequence[OnKinds]) -> None:
        super().__init__(
            problem.network, problem.profile, problem.codes, problem.labels, device=problem.device
        )
        self._on_kinds = layers
        self._written = [
            _block(block, on_kinds) for block, on_kinds in zip(self.blocks, layers, strict=True)
        ]
        self._arrays: dict[tuple[int, int, int], LayerOnArray] = {}

    def _compute(
        self,
        block: Block,
        on_array: LayerOnArray,
        rows: IntArray,
        classes: IntArray,
        planes: Planes,
    ) -> NDArray[Any]:
        index = block.layer.index
        written, key = self._written[index], (index, len(on_array.slot_classes), on_array.base)
        if key not in self._arrays:
            self._arrays[key] = on_array.with_layer(written.layer, block.taken)
        places = self._on_kinds[index].of(rows, classes)
        return super()._compute(written, self._arrays[key], places, classes, planes)


def _block(block: Block, on_kinds: OnKinds) -> Block:
    layer = written_layer(block.layer, on_kinds.rows)
    return replace(block, layer=layer, limits=limits_of(layer))
