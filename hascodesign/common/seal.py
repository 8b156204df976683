"""JSON that vouches for itself: its last field is a digest of all its other bytes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

FIELD = "sha256"
_BLANK = b"0" * 64
_END = re.compile(rb'"%s": "([0-9a-f]{64})"\n}\n\Z' % FIELD.encode())


def sealed(content: Mapping[str, Any]) -> bytes:
    """A file's bytes, with the sha256 of the same bytes whose digest reads 64 zeros.

    Raises
    ------
    ValueError
        A figure that is not a number: JSON has no word for it. Or the field is taken.
    """
    if FIELD in content:
        raise ValueError(f"{FIELD!r} is the seal's own field")
    blank = json.dumps({**content, FIELD: _BLANK.decode()}, indent=2, allow_nan=False)
    found = blank.encode() + b"\n"
    place = len(found) - len(_BLANK) - len(b'"\n}\n')
    digest = hashlib.sha256(found).hexdigest().encode()
    return found[:place] + digest + found[place + len(_BLANK) :]


def is_sealed(content: bytes) -> bool:
    """Whether a file's bytes are those that were sealed."""
    end = _END.search(content)
    if end is None:
        return False
    blank = content[: end.start(1)] + _BLANK + content[end.end(1) :]
    return hashlib.sha256(blank).hexdigest().encode() == end[1]
