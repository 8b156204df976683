"""The written rows of schedule.json: what differs from the network as trained, row by row.

Each entry says how one row is written: its sign, the words that are not the trained ones times that
sign, its bias, thresholds and direction. A network as trained and its entries give the network as
written, and the other way round.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from hascodesign.common import schemas
from hascodesign.contract.array import row_preloads
from hascodesign.contract.errors import ScheduleError
from hascodesign.contract.types import (
    ArraySpec,
    BoolArray,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    Thresholds,
    frozen,
)
from hascodesign.engine.planes import as_thresholds
from hascodesign.schedule.formats import fail, parse, record_of

KEYS = ("row", "sign", "words", "bias", "descending", "thresholds")
STARTED = (*KEYS, "preload")  # of an array that is built with preloads
_LIMIT = 1 << 60  # biases lie below it, thresholds below four times it


@dataclass(frozen=True, slots=True)
class WrittenRow:
    """One row that is not as trained."""

    row: int
    sign: int  # -1 where the row is negated
    words: tuple[tuple[int, int], ...]  # K index and word, where not the trained one times the sign
    bias: int
    descending: bool  # False in the last layer
    thresholds: tuple[int, ...]  # in the order in which they are passed; none in the last layer
    preload: int | None = None  # None where none is built

    def text(self) -> str:
        """The entry as JSON on one line."""
        values = (
            self.row,
            self.sign,
            [list(pair) for pair in self.words],
            self.bias,
            self.descending,
            list(self.thresholds),
        )
        record = dict(zip(KEYS, values, strict=True))
        if self.preload is not None:
            record["preload"] = self.preload
        return json.dumps(record, separators=(",", ":"))


def rows_of(trained: IntegerNetwork, written: IntegerNetwork) -> list[tuple[WrittenRow, ...]]:
    """The entries of each layer, rows ascending.

    Parameters
    ----------
    trained, written : networks of the same layers.
    """
    return [
        tuple(_rows(one, other)) for one, other in zip(trained.layers, written.layers, strict=True)
    ]


def _rows(trained: MultiplyLayer, written: MultiplyLayer) -> Sequence[WrittenRow]:
    before, after = _staircase(trained), _staircase(written)
    differs = (trained.weights != written.weights).any(axis=1) | (trained.bias != written.bias)
    differs |= row_preloads(trained) != row_preloads(written)
    differs |= (before[0] != after[0]).any(axis=1) | (before[1] != after[1])
    found = []
    for row in np.flatnonzero(differs).tolist():
        old, new = trained.weights[row], written.weights[row]
        sign = -1 if (new == -old).sum() > (new == old).sum() else 1
        moved = np.flatnonzero(new != sign * old)
        words = tuple(zip(moved.tolist(), new[moved].tolist(), strict=True))
        found.append(
            WrittenRow(
                row,
                sign,
                words,
                int(written.bias[row]),
                descending=bool(after[1][row]),
                thresholds=tuple(after[0][row].tolist()),
                preload=None if written.preload is None else int(written.preload[row]),
            )
        )
    return found


def _staircase(layer: MultiplyLayer) -> tuple[IntArray, BoolArray]:
    output = as_thresholds(layer)
    if output is None:
        return np.zeros((layer.rows, 0), dtype=np.int64), np.zeros(layer.rows, dtype=np.bool_)
    return output.values, output.descending


def apply(trained: IntegerNetwork, rows: Sequence[Sequence[WrittenRow]]) -> IntegerNetwork:
    """The network as written, from the network as trained and each layer's entries."""
    if not any(rows):
        return trained
    entries, start = iter(rows), with_thresholds(trained)
    stages = [
        _apply(stage, next(entries)) if isinstance(stage, MultiplyLayer) else stage
        for stage in start.stages
    ]
    return replace(start, stages=tuple(stages))


def with_thresholds(network: IntegerNetwork) -> IntegerNetwork:
    """The network with thresholds for shifts: an array that takes written rows of any layer."""
    stages = tuple(
        replace(stage, output=as_thresholds(stage)) if isinstance(stage, MultiplyLayer) else stage
        for stage in network.stages
    )
    return replace(network, stages=stages)


def _apply(layer: MultiplyLayer, rows: Sequence[WrittenRow]) -> MultiplyLayer:
    if not rows:
        return layer
    weights, bias = layer.weights.copy(), layer.bias.copy()
    values, descending = (part.copy() for part in _staircase(layer))
    for one in rows:
        weights[one.row] *= one.sign
        for k, word in one.words:
            weights[one.row, k] = word
        bias[one.row], descending[one.row] = one.bias, one.descending
        values[one.row] = one.thresholds
    written = replace(layer, weights=frozen(weights), bias=frozen(bias))
    if layer.preload is not None:
        starts = layer.preload.copy()
        starts[[one.row for one in rows]] = [one.preload or 0 for one in rows]
        written = replace(written, preload=frozen(starts))
    output = as_thresholds(layer)
    if output is None:
        return written
    steps = Thresholds(frozen(values), frozen(descending, np.bool_), output.lowest)
    return replace(written, output=steps)


# ------------------------------------------------------------------------------------- from a file


def from_json(data: bytes, network: IntegerNetwork, array: ArraySpec) -> IntegerNetwork | None:
    """The network as written of a schedule.json that ``formats.from_json`` has taken.

    Returns
    -------
    None where the file writes no row.

    Raises
    ------
    ScheduleError
        One line with the place, where an entry does not fit the network or the array.
    """
    document = parse(data)
    entries = document["layers"]
    rows = [
        tuple(_read(entry.get("written", []), f"layers[{index}].written", layer, array))
        for index, (entry, layer) in enumerate(zip(entries, network.layers, strict=True))
    ]
    problem = schemas.problem("schedule", document)
    if problem is not None:
        raise ScheduleError(f"schedule.json {problem}")
    return apply(network, rows) if any(rows) else None


def _read(value: Any, where: str, layer: MultiplyLayer, array: ArraySpec) -> list[WrittenRow]:
    if not isinstance(value, list):
        fail(where, "must be a list", value)
    found = [_entry(one, f"{where}[{i}]", layer, array) for i, one in enumerate(value)]
    for number, (one, after) in enumerate(pairwise(found)):
        if after.row <= one.row:
            fail(f"{where}[{number + 1}].row", f"must be above {one.row}", after.row)
    return found


def _entry(value: Any, where: str, layer: MultiplyLayer, array: ArraySpec) -> WrittenRow:
    started = isinstance(value, dict) and "preload" in value
    record = record_of(value, where, STARTED if started else KEYS)
    row = _whole(record["row"], f"{where}.row", 0, layer.rows - 1)
    sign = record["sign"]
    if type(sign) is not int or sign not in (-1, 1):
        fail(f"{where}.sign", "must be 1 or -1", sign)
    half = 1 << (array.weight_bits - 1)
    words = _words(record["words"], f"{where}.words", layer, half)
    kept = sign * layer.weights[row]
    kept[[k for k, _ in words]] = 0
    if kept.max(initial=0) >= half:
        fail(f"{where}.sign", f"must be 1 where a word of row {row} is {-half}", sign)
    bias = _whole(record["bias"], f"{where}.bias", -_LIMIT, _LIMIT)
    if type(record["descending"]) is not bool:
        fail(f"{where}.descending", "must be true or false", record["descending"])
    steps = _thresholds(record, where, layer)
    preload = _preload(record.get("preload", 0), f"{where}.preload", layer, array)
    return WrittenRow(row, sign, words, bias, record["descending"], steps, preload)


def _preload(value: Any, where: str, layer: MultiplyLayer, array: ArraySpec) -> int | None:
    half = 1 << (array.acc_bits - 1)
    word = _whole(value, where, -half, half - 1)
    if layer.preload is None and word:
        fail(where, "must be 0 on an array without preloads (--preload builds them)", word)
    return None if layer.preload is None else word


def _words(value: Any, where: str, layer: MultiplyLayer, half: int) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list):
        fail(where, "must be a list", value)
    found: list[tuple[int, int]] = []
    for number, pair in enumerate(value):
        place = f"{where}[{number}]"
        if not isinstance(pair, list) or len(pair) != 2:
            fail(place, "must be a K index and a word", pair)
        least = found[-1][0] + 1 if found else 0
        k = _whole(pair[0], f"{place}[0]", least, layer.depth - 1)
        found.append((k, _whole(pair[1], f"{place}[1]", -half, half - 1)))
    return tuple(found)


def _thresholds(record: dict[str, Any], where: str, layer: MultiplyLayer) -> tuple[int, ...]:
    place, value = f"{where}.thresholds", record["thresholds"]
    count = _staircase(layer)[0].shape[1]
    if not isinstance(value, list) or len(value) != count:
        fail(place, f"must be a list of {count}", value)
    steps = [_whole(t, f"{place}[{i}]", -4 * _LIMIT, 4 * _LIMIT - 1) for i, t in enumerate(value)]
    if steps != sorted(steps, reverse=record["descending"]):
        fail(place, "must stand in the order in which they are passed", value)
    if not count and record["descending"]:
        fail(f"{where}.descending", "must be false in the last layer", True)
    return tuple(steps)


def _whole(value: Any, where: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        fail(where, f"must be a whole number from {low} to {high}", value)
    return int(value)
