"""The CSV form of a fault profile: text to the document that JSON gives, and back."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hascodesign.contract.errors import FaultProfileError
from hascodesign.faults.profile import ARRAY_FIELDS, MAX_ENTRIES, one_of, shown

# two columns for the pair `bits`: spreadsheets read "6-14" as a date and "6:14" as a time
COLUMNS = ("pe", "simd", "site", "bit", "kind", "address", "p", "bits_lo", "bits_hi")
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?|[+-]?(nan|inf)", re.I)


def text(head: Mapping[str, Any], faults: Sequence[Mapping[str, Any]]) -> str:
    """CSV text of the scalars ``head`` and the entries, lines ended by a single line feed."""
    out = io.StringIO()
    for key, value in head.items():
        out.write(f"# {key}: {_written(key, value)}\n")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for fault in faults:
        lo, hi = fault.get("bits", ("", ""))
        row = {**fault, "bits_lo": lo, "bits_hi": hi}
        writer.writerow([row.get(name, "") for name in COLUMNS])
    return out.getvalue()


def document(source: str) -> dict[str, Any]:
    """What the CSV text says, in the shape that the JSON form has."""
    lines = [line.removesuffix("\r") for line in source.split("\n")]
    if lines.pop():
        raise FaultProfileError("the last line must end with a line break; the file is cut short")
    heads = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    result = _head(lines[:heads])
    result["faults"] = _entries(lines[heads:])
    return result


def _head(lines: Sequence[str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for number, line in enumerate(lines, 1):
        key, colon, value = line[1:].partition(":")
        path = key.strip().split(".", 1)
        if not colon:
            raise FaultProfileError(f"line {number} must be '# key: value', not {shown(line)}")
        target = result
        if path[0] in ("array", "conditions"):
            target = result.setdefault(path[0], {})
            if len(path) == 1:
                known = " or ".join(f"{path[0]}.{n}" for n in (ARRAY_FIELDS[0], "..."))
                raise FaultProfileError(f"line {number}: key must be {known}, not {shown(path[0])}")
        name = path[-1] if len(path) == 2 and target is not result else ".".join(path)
        if name in target or (target is result and name == "faults"):
            raise FaultProfileError(f"line {number}: key {shown(key.strip())} must stand once")
        target[name] = _read_value(name if target is result else "", value.strip())
    return result


def _entries(lines: Sequence[str]) -> list[dict[str, Any]]:
    rows = csv.reader(lines, strict=True)
    entry = -1
    entries: list[dict[str, Any]] = []
    try:
        columns = _columns(next(rows, []))
        for entry, row in enumerate(filter(None, rows)):
            if entry == MAX_ENTRIES:
                raise FaultProfileError(
                    f"entry {entry}: a profile must have at most {entry} entries"
                )
            if len(row) != len(columns):
                raise FaultProfileError(
                    f"entry {entry}: a line must have {len(columns)} cells, not {len(row)}"
                )
            entries.append(_entry(entry, dict(zip(columns, map(str.strip, row), strict=True))))
    except csv.Error as error:
        raise FaultProfileError(f"entry {entry + 1}: the line must be CSV: {error}") from None
    return entries


def _columns(header: Sequence[str]) -> list[str]:
    columns = [name.strip() for name in header]
    if not columns:
        raise FaultProfileError("a line naming the columns must follow the '# key: value' lines")
    for name in columns:
        if name not in COLUMNS:
            raise FaultProfileError(f"a column must be {one_of(COLUMNS)}, not {shown(name)}")
        if columns.count(name) > 1:
            raise FaultProfileError(f"column {shown(name)} must stand once, not twice")
    return columns


def _entry(entry: int, cells: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, cell in cells.items():
        if not cell:
            continue
        number: Any = cell
        if name == "p" and _NUMBER.fullmatch(cell):
            number = float(cell)
        elif name not in ("p", "site", "kind") and _INTEGER.fullmatch(cell):
            number = int(cell)
        values[name] = number
    lo, hi = values.pop("bits_lo", None), values.pop("bits_hi", None)
    if (lo is None) != (hi is None):
        raise FaultProfileError(f"entry {entry}: bits_lo and bits_hi must be given together")
    if lo is not None:
        values["bits"] = [lo, hi]
    return values


def _read_value(name: str, value: str) -> Any:
    """A scalar of the head: text where it is not JSON; ``source`` is always text."""
    if name == "source" and not value.startswith('"'):
        return value
    try:
        return json.loads(value, parse_constant=lambda _: math.nan)
    except (ValueError, RecursionError):
        return value


def _written(key: str, value: Any) -> str:
    """The scalar bare where it reads back as itself, else as JSON."""
    if (
        isinstance(value, str)
        and value
        and value.isprintable()
        and value == value.strip()
        and _read_value(key, value) == value
    ):
        return value
    return json.dumps(value)
