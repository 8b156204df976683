"""The published JSON schemas of the files that users write, and what does not follow them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from hascodesign.common.inputs import printable

FOLDER = Path(__file__).resolve().parent.parent / "schemas"


@lru_cache
def _validator(name: str) -> Callable[[Any], Any]:
    import fastjsonschema  # noqa: PLC0415  (start-up time)

    check: Callable[[Any], Any] = fastjsonschema.compile(
        json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    )
    return check


def problem(name: str, document: Any) -> str | None:
    """How a document breaks a schema, None where it follows it.

    A reader asks when its own checks, whose words tell more, have found nothing: so whoever writes
    a file by the schema knows all keys, types and fixed ranges that the reader knows.

    Parameters
    ----------
    name : ``faults``, ``schedule`` or ``benchmark``.
    document : as JSON gives it.
    """
    import fastjsonschema  # noqa: PLC0415  (start-up time)

    try:
        _validator(name)(document)
    except fastjsonschema.JsonSchemaValueException as error:
        return f"must follow {name}.schema.json: {printable(str(error.message)[:200])}"
    return None
