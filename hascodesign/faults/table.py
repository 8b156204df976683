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


def document(source: str) -> tuple[dict[str, Any], list[int]]:
    """What the CSV text says, in the shape that the JSON form has, and the line of each entry.

    A spreadsheet saves every line with as many cells as the widest has, quotes some, separates by
    the locale's ``,`` or ``;`` and may leave empty lines: all of that is read. What stays wrong is
    refused by the number of its line, from 1.
    """
    numbered, heads, mark = lines_of(source)
    width = numbered[heads][1].count(mark) + 1 if heads < len(numbered) else 1
    result = _head([(n, unpadded(line, mark, width)) for n, line in numbered[:heads]])
    result["faults"] = _entries(numbered[heads:], mark)
    return result, [n for n, _ in numbered[heads + 1 :]]


def lines_of(source: str) -> tuple[list[tuple[int, str]], int, str]:
    """Lines that say something with their numbers, how many are of the head, what parts cells."""
    lines = [line.removesuffix("\r") for line in source.split("\n")]
    if lines.pop():
        raise FaultProfileError("the last line must end with a line break; the file is cut short")
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip(",; \t")]
    heads = next(
        (i for i, (_, line) in enumerate(numbered) if not line.lstrip(' "\t').startswith("#")),
        len(numbered),
    )
    header = numbered[heads][1] if heads < len(numbered) else ""
    mark = ";" if header.count(";") > header.count(",") else ","
    return numbered, heads, mark


def unpadded(line: str, mark: str, width: int) -> str:
    """A line of the head as it was before a spreadsheet filled it up or quoted it."""
    line = line.strip()
    try:
        cells = next(csv.reader([line], delimiter=mark, strict=True))
    except csv.Error:
        return line
    if len(cells) != width and not line.startswith('"'):
        return line
    while cells and not cells[-1]:
        cells.pop()
    return mark.join(cells)


def _head(lines: Sequence[tuple[int, str]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for number, line in lines:
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


def _entries(lines: Sequence[tuple[int, str]], mark: str) -> list[dict[str, Any]]:
    columns: list[str] | None = None
    entries: list[dict[str, Any]] = []
    for number, line in lines:
        try:
            row = next(csv.reader([line], delimiter=mark, strict=True))
        except csv.Error as error:
            raise FaultProfileError(f"line {number}: the line must be CSV: {error}") from None
        cells = [cell.strip() for cell in row]
        if columns is None:
            columns = _columns(cells, number)
            continue
        if len(entries) == MAX_ENTRIES:
            raise FaultProfileError(
                f"line {number}: a profile must have at most {MAX_ENTRIES} entries"
            )
        while len(cells) > len(columns) and not cells[-1]:
            cells.pop()
        if len(cells) != len(columns):
            raise FaultProfileError(
                f"line {number}: a line must have {len(columns)} cells, not {len(cells)}"
            )
        entries.append(_entry(number, dict(zip(columns, cells, strict=True))))
    if columns is None:
        raise FaultProfileError("a line naming the columns must follow the '# key: value' lines")
    return entries


def _columns(header: Sequence[str], number: int) -> list[str]:
    columns = list(header)
    while columns and not columns[-1]:
        columns.pop()
    for name in columns:
        if name not in COLUMNS:
            raise FaultProfileError(
                f"line {number}: a column must be {one_of(COLUMNS)}, not {shown(name)}"
            )
        if columns.count(name) > 1:
            raise FaultProfileError(
                f"line {number}: column {shown(name)} must stand once, not twice"
            )
    return columns


def _entry(line: int, cells: Mapping[str, str]) -> dict[str, Any]:
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
        raise FaultProfileError(f"line {line}: bits_lo and bits_hi must be given together")
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
        and value[-1] not in ",;"  # a reader takes these for cells that a spreadsheet added
        and _read_value(key, value) == value
    ):
        return value
    return json.dumps(value)
