"""Records to bytes and back, without pickle: one .npz of arrays and a JSON skeleton."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from hascodesign.contract import build, results, types

_SKELETON = "skeleton"
#: The only classes that a stored record may name.
_RECORDS = {
    name: kind
    for module in (types, build, results)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and is_dataclass(kind)
}


def encode(record: Any) -> bytes:
    """Bytes of a record: a dataclass of the package, tuple, dict, array, bytes or plain value."""
    arrays: dict[str, Any] = {}
    skeleton = json.dumps(_flatten(record, arrays), sort_keys=True).encode()
    buffer = io.BytesIO()
    arrays[_SKELETON] = np.frombuffer(skeleton, dtype=np.uint8)
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def decode(content: bytes) -> Any:
    """The record that :func:`encode` wrote; arrays come back read-only.

    Raises
    ------
    ValueError, KeyError, OSError
        The content is not what `encode` writes.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for array in arrays.values():
        array.setflags(write=False)
    return _build(json.loads(arrays[_SKELETON].tobytes()), arrays)


def digest(*records: Any) -> str:
    """sha256 over the meaning of records, not over how they are packed."""
    total = hashlib.sha256()
    for record in records:
        arrays: dict[str, Any] = {}
        total.update(json.dumps(_flatten(record, arrays), sort_keys=True).encode())
        for array in arrays.values():
            total.update(f"{array.dtype.str}{array.shape}".encode())
            total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _flatten(value: Any, arrays: dict[str, Any]) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        held = {f.name: _flatten(getattr(value, f.name), arrays) for f in fields(value)}
        return {"record": type(value).__name__, "fields": held}
    if isinstance(value, np.ndarray | bytes):
        array = np.frombuffer(value, dtype=np.uint8) if isinstance(value, bytes) else value
        name = f"a{len(arrays)}"
        arrays[name] = array
        return {"bytes" if isinstance(value, bytes) else "array": name}
    if isinstance(value, tuple | list):
        return {"tuple": [_flatten(item, arrays) for item in value]}
    if isinstance(value, Mapping):
        return {"map": [[key, _flatten(item, arrays)] for key, item in sorted(value.items())]}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"a step's record must hold plain values, not {type(value).__name__}")


def _build(value: Any, arrays: Mapping[str, Any]) -> Any:
    if not isinstance(value, dict):
        return value
    if "record" in value:
        kind = _RECORDS[value["record"]]
        return kind(**{name: _build(item, arrays) for name, item in value["fields"].items()})
    if "bytes" in value:
        return arrays[value["bytes"]].tobytes()
    if "array" in value:
        return arrays[value["array"]]
    if "tuple" in value:
        return tuple(_build(item, arrays) for item in value["tuple"])
    return {key: _build(item, arrays) for key, item in value["map"]}
