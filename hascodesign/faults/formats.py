"""Fault profiles as JSON and CSV files, lossless both ways, the same bytes for the same profile."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hascodesign.common import documents, inputs, schemas
from hascodesign.common.inputs import Unreadable, printable
from hascodesign.contract.errors import FaultProfileError
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile
from hascodesign.faults import table
from hascodesign.faults.profile import (
    ARRAY_FIELDS,
    FIELDS,
    check,
    check_array,
    check_count,
    one_of,
    shown,
)

VERSION = 1
_HEAD = ("version", "array", "seed", "source", "conditions", "faults")
_BLANK = re.compile(r"[ \t\r\n]*")


def read(path: Path, words: int | None = None) -> FaultProfile:
    """Profile in a ``.json`` or ``.csv`` file, checked.

    Parameters
    ----------
    path : the file.
    words : words that the network takes in each weight bank, where known.

    Raises
    ------
    FaultProfileError
        One line naming the file and, where one entry is at fault, its number from 0.
    """
    suffix = path.suffix.lower()
    if suffix not in (".json", ".csv"):
        raise FaultProfileError(
            f"{printable(path)}: the name must end in .json or .csv, not {shown(path.suffix)}"
        )
    data = inputs.read(path, inputs.PROFILE)
    try:
        return parse(data, suffix[1:], words)
    except FaultProfileError as error:
        raise FaultProfileError(f"{printable(path)}: {error}") from None


def parse(data: bytes, form: str, words: int | None = None) -> FaultProfile:
    """Profile in the bytes of a file of form ``json`` or ``csv``, checked."""
    text = text_of(data)
    if not text or text.isspace():
        raise FaultProfileError("a profile must stand in the file, which is empty")
    if form != "csv":
        return _checked(json_document(text), words)
    document, lines = table.document(text)
    try:
        return _checked(document, words)
    except FaultProfileError as error:  # who looks at a table counts its lines
        entry = re.match(r"entry (\d+)(?=:)", str(error))
        if entry is None or int(entry[1]) >= len(lines):
            raise
        raise FaultProfileError(f"line {lines[int(entry[1])]}{str(error)[entry.end() :]}") from None


def _checked(document: Any, words: int | None) -> FaultProfile:
    profile = check(from_document(document), words)
    problem = schemas.problem("faults", document)
    if problem is not None:
        raise FaultProfileError(f"the file {problem}")
    return profile


def write_json(profile: FaultProfile) -> bytes:
    """Bytes of the JSON file, one entry per line."""
    check(profile)
    head = {
        "version": VERSION,
        "array": array_object(profile.array),
        "seed": profile.seed,
        "source": profile.source,
        "conditions": dict(sorted(profile.conditions.items())),
    }
    lines = [f"  {json.dumps(key)}: {_compact(value)}," for key, value in head.items()]
    entries = ",\n".join("    " + _compact(fault_object(fault)) for fault in profile.faults)
    lines.append('  "faults": [' + (f"\n{entries}\n  ]" if entries else "]"))
    return ("{\n" + "\n".join(lines) + "\n}\n").encode()


def write_csv(profile: FaultProfile) -> bytes:
    """Bytes of the CSV file: scalars in leading ``# key: value`` lines, a header, the entries."""
    check(profile)
    head: dict[str, Any] = {"version": VERSION}
    head |= {f"array.{k}": v for k, v in array_object(profile.array).items()}
    head |= {"seed": profile.seed, "source": profile.source}
    head |= {f"conditions.{k}": v for k, v in sorted(profile.conditions.items())}
    return table.text(head, [fault_object(fault) for fault in profile.faults]).encode()


def write(profile: FaultProfile, form: str) -> bytes:
    """Bytes of the file of form ``json`` or ``csv``."""
    writers = {"json": write_json, "csv": write_csv}
    if form not in writers:
        raise FaultProfileError(f"the format must be {one_of(tuple(writers))}, not {shown(form)}")
    return writers[form](profile)


def array_object(array: ArraySpec) -> dict[str, Any]:
    """The array's fields in the order of the files."""
    return {name: getattr(array, name) for name in ARRAY_FIELDS}


def fault_object(fault: Fault) -> dict[str, Any]:
    """The fields that an entry has, in the order of the files."""
    values = {name: getattr(fault, name) for name in FIELDS}
    if fault.p is not None:
        values["p"] = float(fault.p)
    return {name: value for name, value in values.items() if value is not None}


def text_of(data: bytes) -> str:
    """The text of a file, UTF-8."""
    try:
        return documents.text_of(data)
    except Unreadable as error:
        raise FaultProfileError(f"the text {error}") from None


# ----------------------------------------------------------------------------- reading a document


def json_document(text: str) -> Any:
    """What a JSON text says; NaN and integers of any length pass, for their field to refuse."""
    try:
        return documents.decoder().decode(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise FaultProfileError(
            f"{_entry_at(text, error.pos)}the text must be whole JSON: {error.msg} at {where}"
        ) from None
    except RecursionError:
        raise FaultProfileError("the JSON must not be nested so deep") from None


def _entry_at(text: str, position: int) -> str:
    """``entry N: `` where the fault list breaks off in entry N, else nothing."""
    start = text.find('"faults"')
    start = text.find("[", start) + 1 if start >= 0 else 0
    if not 0 < start <= position:
        return ""
    decoder, entry = documents.decoder(), 0
    while True:
        start = _skip(text, start)
        try:
            _, start = decoder.raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            return f"entry {entry}: "
        entry += 1
        start = _skip(text, start)
        if text[start : start + 1] != ",":
            return "" if text[start : start + 1] == "]" else f"entry {entry}: "
        start += 1


def _skip(text: str, start: int) -> int:
    blank = _BLANK.match(text, start)
    return blank.end() if blank else start


def from_document(document: Any) -> FaultProfile:
    """The profile that a document describes, its entries not checked yet."""
    head = object_of(document, "the file", _HEAD, ("version", "array", "faults"))
    if type(head["version"]) is not int or head["version"] != VERSION:
        raise FaultProfileError(f"version must be {VERSION}, not {shown(head['version'])}")
    required = tuple(name for name in ARRAY_FIELDS if name != "wmem_depth")
    array = check_array(ArraySpec(**object_of(head["array"], "array", ARRAY_FIELDS, required)))
    conditions = object_of(head.get("conditions", {}), "conditions", None, ())
    if not isinstance(head["faults"], list):
        raise FaultProfileError(f"faults must be a list, not {shown(head['faults'])}")
    check_count(head["faults"])
    faults = tuple(_fault(entry, value) for entry, value in enumerate(head["faults"]))
    return FaultProfile(array, faults, head.get("seed", 0), head.get("source", ""), conditions)


def _fault(entry: int, value: Any) -> Fault:
    fields = object_of(value, f"entry {entry}", FIELDS, ("pe", "kind"))
    for name, given in fields.items():
        if given is None:
            raise FaultProfileError(
                f"entry {entry}: {name} must have a value or be absent, not null"
            )
    bits = fields.get("bits")
    if isinstance(bits, list):
        fields["bits"] = tuple(bits)
    p = fields.get("p")
    if type(p) is int and p in (0, 1):
        fields["p"] = float(p)
    return Fault(**fields)


def object_of(
    value: Any, name: str, allowed: Sequence[str] | None, required: Sequence[str]
) -> dict[str, Any]:
    """``value`` if it is an object of these keys; ``allowed`` None = any."""
    if not isinstance(value, Mapping):
        raise FaultProfileError(f"{name}: an object must stand here, not {shown(value)}")
    if isinstance(value, documents.Doubled):
        raise FaultProfileError(f"{name}: key {shown(value.key)} must stand once, not twice")
    if allowed is not None:
        for key in value:
            if key not in allowed:
                raise FaultProfileError(
                    f"{name}: unknown key {shown(key)} must be {one_of(allowed)}"
                )
    for key in required:
        if key not in value:
            raise FaultProfileError(f"{name}: key {shown(key)} must be given")
    return dict(value)


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
