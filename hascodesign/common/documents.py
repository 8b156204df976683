"""Text and JSON of the user's files: bounded before it is parsed, one reason for what is not."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from hascodesign.common.inputs import Unreadable

MOST_VALUES = 4_000_000  # commas, brackets and line breaks: each can cost a Python object
HUGE = 10**40  # stands for every longer integer, which no field takes


class Doubled(dict[str, Any]):
    """An object of a JSON text with a key that stands twice; it holds no values."""

    __slots__ = ("key",)
    key: str


def text_of(data: bytes) -> str:
    """UTF-8 text, with or without a byte order mark, of a bounded number of values."""
    if sum(map(data.count, (b",", b"[", b"{", b"\n"))) > MOST_VALUES:
        raise Unreadable(f"must hold at most {MOST_VALUES} values")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(
            f"must be UTF-8, not byte 0x{data[error.start]:02x} at offset {error.start}"
        ) from None


def decoder() -> json.JSONDecoder:
    """Decoder that lets NaN, long integers and doubled keys pass, for their field to refuse."""
    return json.JSONDecoder(
        object_pairs_hook=_pairs, parse_int=_integer, parse_constant=lambda _: math.nan
    )


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    twice = Doubled()
    twice.key = Counter(key for key, _ in pairs).most_common(1)[0][0]
    return twice


def _integer(text: str) -> int:
    return int(text) if len(text) <= 40 else HUGE  # int() refuses thousands of digits
