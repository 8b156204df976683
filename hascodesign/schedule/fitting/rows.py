"""Rows as they are written, each for the slot that it is to stand on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.types import (
    BoolArray,
    FloatArray,
    IntArray,
    MultiplyLayer,
    Thresholds,
    frozen,
)
from hascodesign.engine.planes import as_thresholds


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a layer as written; one may come more than once, for other slots."""

    row: IntArray  # [n] number in the layer
    slot: IntArray  # [n] class of the slot, as the layer on the array numbers them
    weights: NDArray[np.int16]  # [n, K]
    bias: IntArray  # [n]
    values: IntArray  # [n, L] thresholds times the direction: ascending
    direction: IntArray  # [n] 1 ascending, -1 descending
    preload: IntArray  # [n] words to start from; bias and thresholds are of sums without them
    error: FloatArray  # [n] mean squared error of the codes on the columns fitted to

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.row)

    def at(self, places: IntArray | slice) -> Rows:
        """The rows at some places."""
        return Rows(**{name: part[places] for name, part in self._parts()})

    def better(self, other: Rows, where: BoolArray) -> Rows:
        """Rows of ``other`` where it is said so."""
        return self.put(np.flatnonzero(where), other.at(np.flatnonzero(where)))

    def put(self, places: IntArray, others: Rows) -> Rows:
        """Other rows at some places."""
        parts = {name: part.copy() for name, part in self._parts()}
        for name, other in others._parts():
            parts[name][places] = other
        return Rows(**parts)

    def negated(self, low: int) -> Rows:
        """Weights, bias and direction turned: the same codes from the negative sums.

        The word ``low`` has no negative; the next one stands there.
        """
        weights = np.minimum(-self.weights, -low - 1).astype(np.int16)
        return replace(self, weights=weights, bias=-self.bias, direction=-self.direction)

    def _parts(self) -> Iterator[tuple[str, NDArray[Any]]]:
        return ((field.name, getattr(self, field.name)) for field in fields(self))


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts."""
    names = [field.name for field in fields(Rows)]
    return Rows(**{name: np.concatenate([getattr(one, name) for one in parts]) for name in names})


def trained(layer: MultiplyLayer, row: IntArray, slot: IntArray) -> Rows:
    """Rows as trained, for slots of some classes."""
    output, n = as_thresholds(layer), len(row)
    values, direction = np.zeros((n, 0), dtype=np.int64), np.ones(n, dtype=np.int64)
    if output is not None:
        direction = np.where(output.descending[row], -1, 1)
        values = output.values[row] * direction[:, None]
    weights = layer.weights[row].astype(np.int16)
    from_0 = np.zeros(n, dtype=np.int64)
    return Rows(row, slot, weights, layer.bias[row], values, direction, from_0, np.zeros(n))


def written_layer(layer: MultiplyLayer, rows: Rows) -> MultiplyLayer:
    """The layer with rows as written; its words may take all bits that the array has."""
    narrow: Any = rows.weights  # no need of 64 bits, of which there would be many
    preload = None if layer.preload is None else frozen(rows.preload)
    written = replace(layer, weights=narrow, bias=frozen(rows.bias), preload=preload)
    output = as_thresholds(layer)
    if output is None:
        return replace(written, bias=frozen(rows.bias - rows.preload))
    steps = Thresholds(
        frozen(rows.values * rows.direction[:, None] + rows.preload[:, None]),
        frozen(rows.direction < 0, np.bool_),
        output.lowest,
    )
    return replace(written, output=steps)
