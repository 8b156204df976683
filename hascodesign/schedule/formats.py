"""schedule.json to and from bytes, every row and every slot checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from hascodesign.common import documents
from hascodesign.common.inputs import Unreadable
from hascodesign.contract.array import least_passes, wmem_words
from hascodesign.contract.errors import ScheduleError
from hascodesign.contract.types import (
    ArraySpec,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    RowMap,
    Schedule,
    frozen,
)

VERSION = 1
WITH_ROWS = 2  # version of a file that says how rows are written, too
_ARRAY_FIELDS = ("pe", "simd", "weight_bits", "act_bits", "acc_bits", "dataflow", "wmem_depth")


def to_json(schedule: Schedule, written: Sequence[Sequence[str]] | None = None) -> bytes:
    """Bytes of schedule.json: one line per pass, the same bytes for the same schedule.

    ``written`` holds each layer's written rows as JSON; where there are none the file is of
    version 1.
    """
    array = {name: getattr(schedule.array, name) for name in _ARRAY_FIELDS}
    rows: Sequence[Sequence[str] | None] = [None] * len(schedule.layers)
    version, rows = (VERSION, rows) if written is None else (WITH_ROWS, written)
    parts = zip(schedule.layers, rows, strict=True)
    layers = ",\n".join(_layer_text(row_map, texts) for row_map, texts in parts)
    text = f'{{\n  "version": {version},\n  "array": {json.dumps(array)},\n  "layers": [\n'
    return f"{text}{layers}\n  ]\n}}\n".encode()


def _layer_text(row_map: RowMap, written: Sequence[str] | None) -> str:
    passes = ",\n".join(f"        {json.dumps(line.tolist())}" for line in row_map.slots)
    name = json.dumps(row_map.name)
    head = f'      "name": {name},\n      "rows": {row_map.rows},\n      "slots": [\n'
    tail = ""
    if written is not None:
        lines = ",\n".join(f"        {text}" for text in written)
        tail = f',\n      "written": [\n{lines}\n      ]' if written else ',\n      "written": []'
    return f"    {{\n{head}{passes}\n      ]{tail}\n    }}"


def from_json(data: bytes, network: IntegerNetwork, array: ArraySpec) -> Schedule:
    """Schedule of ``network`` on ``array`` from the bytes of a schedule.json.

    Parameters
    ----------
    data : the file's bytes.
    network : the network whose every multiply layer must have its map, in order.
    array : the array that the maps must fit.

    Returns
    -------
    Schedule
        With the layers in the network's order. More passes than the least are legal.

    Raises
    ------
    ScheduleError
        One line with the place, where anything is missing, unknown, doubled or does not fit.
    """
    top = record_of(parse(data), "schedule.json", ("version", "array", "layers"))
    version = top["version"]
    if type(version) is not int or version not in (VERSION, WITH_ROWS):
        fail("version", f"must be {VERSION} or {WITH_ROWS}", version)
    keys = ("name", "rows", "slots") + (("written",) if version == WITH_ROWS else ())
    _check_array(top["array"], array)
    entries = top["layers"]
    if not isinstance(entries, list):
        fail("layers", "must be a list", entries)
    maps = tuple(
        _layer(record_of(entry, f"layers[{i}]", keys), i, network, array)
        for i, entry in enumerate(entries)
    )
    if len(maps) < len(network.layers):
        missing = network.layers[len(maps)].name
        raise ScheduleError(f"schedule.json: layer {missing!r} of the network has no entry")
    schedule = Schedule(array, maps)
    words = wmem_words(network, array, schedule)
    if array.wmem_depth and words > array.wmem_depth:
        raise ScheduleError(
            f"schedule.json: takes {words} words of each weight bank, "
            f"which must be at most the array's wmem_depth of {array.wmem_depth}"
        )
    return schedule


def check(schedule: Schedule, network: IntegerNetwork) -> Schedule:
    """Give ``schedule`` back where it is one of ``network``; raise ScheduleError otherwise."""
    return from_json(to_json(schedule), network, schedule.array)


def parse(data: bytes) -> Any:
    """The file's JSON, no key twice."""
    try:
        return documents.decoder().decode(documents.text_of(data))
    except Unreadable as error:
        raise ScheduleError(f"schedule.json {error}") from None
    except json.JSONDecodeError as error:
        raise ScheduleError(
            f"schedule.json must be JSON: {error.msg}, line {error.lineno} column {error.colno}"
        ) from None
    except RecursionError:
        raise ScheduleError("schedule.json must be JSON that is not nested so deep") from None


def record_of(value: Any, where: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """``value`` where it is an object of exactly these keys."""
    if not isinstance(value, dict):
        fail(where, "must be an object", value)
    if isinstance(value, documents.Doubled):
        raise ScheduleError(f"{_place(where)}: key {_short(value.key)} must stand once, not twice")
    for key in value:
        if key not in keys:
            raise ScheduleError(f"{_place(where)}: unknown key {_short(key)}")
    for key in keys:
        if key not in value:
            raise ScheduleError(f"{_place(where)}: key {key!r} is missing")
    return value


def _check_array(value: Any, array: ArraySpec) -> None:
    record = record_of(value, "array", _ARRAY_FIELDS)
    for name in _ARRAY_FIELDS:
        want, got = getattr(array, name), record[name]
        # the depth of the weight banks only limits a schedule, and is held against it later
        same = name == "wmem_depth" or got == want
        if type(got) is not type(want) or not same:
            fail(f"array.{name}", f"must be the array's {want!r}", got)


def _layer(record: dict[str, Any], index: int, network: IntegerNetwork, array: ArraySpec) -> RowMap:
    where = f"layers[{index}]"
    if index >= len(network.layers):
        raise ScheduleError(
            f"schedule.json: {where} must not be there, "
            f"the network has {len(network.layers)} multiply layers"
        )
    layer = network.layers[index]
    if record["name"] != layer.name:
        fail(f"{where}.name", f"must be {layer.name!r}", record["name"])
    if type(record["rows"]) is not int or record["rows"] != layer.rows:
        fail(f"{where}.rows", f"must be {layer.rows}", record["rows"])
    slots = _slots(record["slots"], f"{where}.slots", layer, array.pe)
    return RowMap(layer.name, layer.rows, slots)


def _slots(value: Any, where: str, layer: MultiplyLayer, pe: int) -> IntArray:
    least = least_passes(layer.rows, pe)
    if not isinstance(value, list) or len(value) < least:
        fail(where, f"must be a list of at least {least} passes", value)
    seen: dict[int, str] = {}
    for number, line in enumerate(value):
        place = f"{where}[{number}]"
        if not isinstance(line, list) or len(line) != pe:
            fail(place, f"must be a list of {pe} rows, one per PE", line)
        for column, row in enumerate(line):
            _see(row, f"{place}[{column}]", layer.rows, seen)
    for row in range(layer.rows):
        if row not in seen:
            raise ScheduleError(f"schedule.json: {where}: row {row} must stand once, not never")
    return frozen(np.array(value, dtype=np.int64))


def _see(row: Any, place: str, rows: int, seen: dict[int, str]) -> None:
    if type(row) is not int or not -1 <= row < rows:
        fail(place, f"must be a row from 0 to {rows - 1} or -1 for idle", row)
    if row in seen:
        raise ScheduleError(
            f"schedule.json: {place}: row {row} must stand once, it stands at {seen[row]} too"
        )
    if row >= 0:
        seen[row] = place


def fail(where: str, must: str, got: Any) -> NoReturn:
    """Refuse what a place holds."""
    raise ScheduleError(f"{_place(where)} {must}, not {_short(got)}")


def _place(where: str) -> str:
    return where if where == "schedule.json" else f"schedule.json: {where}"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)} keys"
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
