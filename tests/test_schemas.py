"""The published schemas: what they say is what the readers say, and the readers ask them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from hascodesign.common import schemas
from hascodesign.contract.array import identity_schedule
from hascodesign.contract.errors import ConfigError, FaultProfileError, ScheduleError
from hascodesign.contract.types import ArraySpec
from hascodesign.faults import commands, formats
from hascodesign.faults.profile import (
    ARRAY_FIELDS,
    ARRAY_RANGES,
    DATAFLOWS,
    FIELDS,
    KINDS,
    MAX_ENTRIES,
    MAX_SEED,
    MAX_TEXT,
    SITES,
)
from hascodesign.schedule import formats as schedules
from hascodesign.schedule import written
from tests.schedule_stand_in import array, dense_network

FAULTS = json.loads((schemas.FOLDER / "faults.schema.json").read_text())
SCHEDULE = json.loads((schemas.FOLDER / "schedule.schema.json").read_text())
ARRAY = ArraySpec(4, 2, 4, 4, 16, "ws", 64)
PROFILE: dict[str, Any] = {
    "version": 1, "array": formats.array_object(ARRAY), "seed": 3, "source": "tester",
    "conditions": {"vccint_v": 0.6, "hot": True, "board": "A"},
    "faults": [
        {"pe": 0, "simd": 1, "site": "product", "bit": 3, "kind": "sa1"},
        {"pe": 1, "simd": 0, "site": "wmem", "address": 7, "bit": 2, "kind": "flip"},
        {"pe": 2, "site": "acc", "kind": "transient", "p": 0.25, "bits": [1, 5]},
        {"pe": 2, "simd": 0, "site": "psum", "kind": "transient", "p": 1, "bit": 4},
        {"pe": 3, "kind": "dead"},
    ],
}  # fmt: skip
NETWORK = dense_network([6, 3], 5, seed=1)


def schedule() -> dict[str, Any]:
    document = json.loads(schedules.to_json(identity_schedule(NETWORK, array())))
    document["version"] = 2
    for layer, steps in zip(document["layers"], (7, 0), strict=True):
        layer["written"] = [
            {"row": 1, "sign": -1, "words": [[0, 3], [4, -2]], "bias": 5, "descending": steps > 0,
             "thresholds": list(range(steps))[::-1]},
        ]  # fmt: skip
    return document


def read_profile(document: Any) -> None:
    formats.parse(json.dumps(document).encode(), "json")


def read_schedule(document: Any) -> None:
    data = json.dumps(document).encode()
    schedules.from_json(data, NETWORK, array())
    written.from_json(data, NETWORK, array())


def breakages(value: Any) -> list[tuple[str, Any]]:
    """A document with one thing wrong, each time another: a key gone, one more, another type."""
    found = []

    def visit(place: list[Any], here: Any) -> None:
        def changed(name: str, change) -> None:
            other = copy.deepcopy(value)
            inner = other
            for step in place:
                inner = inner[step]
            change(inner)
            found.append((f"{name} at {'.'.join(map(str, place))}", other))

        if isinstance(here, dict) and place[-1:] != ["conditions"]:
            changed("one more", lambda inner: inner.update(colour="red"))
            for key in here:
                changed(f"{key} null", lambda inner, key=key: inner.update({key: None}))
        for key, inner in here.items() if isinstance(here, dict) else enumerate(here):
            if isinstance(inner, dict | list):
                changed(f"{key} text", lambda at, key=key: at.__setitem__(key, "text"))
                visit([*place, key], inner)
            elif type(inner) is int:
                changed(f"{key} half", lambda at, key=key: at.__setitem__(key, 0.5))
                changed(f"{key} text", lambda at, key=key: at.__setitem__(key, "1"))
            elif isinstance(inner, str):
                changed(f"{key} number", lambda at, key=key: at.__setitem__(key, 3))

    visit([], value)
    return found


#: Where a scalar of any kind may stand, and what else only the network or the array can tell.
FREE = ("at conditions", "p half", "p text")


@pytest.mark.parametrize(
    ("name", "document", "read"),
    [("faults", PROFILE, read_profile), ("schedule", schedule(), read_schedule)],
    ids=["faults", "schedule"],
)
def test_what_a_schema_refuses_the_reader_refuses_in_its_own_words(name, document, read) -> None:
    read(document)
    assert schemas.problem(name, document) is None
    count = 0
    for what, broken in breakages(document):
        if any(words in what for words in FREE):
            continue
        assert schemas.problem(name, broken), what
        with pytest.raises(ConfigError) as caught:
            read(broken)
        assert "must follow" not in str(caught.value), what
        count += 1
    assert count > 60


def test_the_readers_ask_the_schema(monkeypatch) -> None:
    monkeypatch.setattr(schemas, "problem", lambda name, _document: f"must follow {name}")
    with pytest.raises(FaultProfileError, match="the file must follow faults"):
        read_profile(PROFILE)
    with pytest.raises(ScheduleError, match=r"schedule\.json must follow schedule"):
        read_schedule(schedule())


def test_the_schema_of_profiles_has_the_reader_s_names_and_ranges() -> None:
    shape = FAULTS["definitions"]
    sizes = shape["array"]["properties"]
    assert tuple(sizes) == ARRAY_FIELDS and tuple(sizes["dataflow"]["enum"]) == DATAFLOWS
    ranges = {name: (one["minimum"], one["maximum"]) for name, one in sizes.items() if name in
              ARRAY_RANGES}  # fmt: skip
    assert ranges == ARRAY_RANGES
    assert tuple(shape["site"]["enum"]) == SITES
    kinds = [*shape["permanent"]["properties"]["kind"]["enum"], "transient", "dead"]
    assert tuple(kinds) == KINDS
    keys = set(shape["permanent"]["properties"]) | set(shape["transient"]["properties"])
    assert keys == set(FIELDS)
    top = FAULTS["properties"]
    assert top["seed"]["maximum"] == MAX_SEED and top["source"]["maxLength"] == MAX_TEXT
    assert top["faults"]["maxItems"] == MAX_ENTRIES
    entry = SCHEDULE["definitions"]["written"]["properties"]
    assert tuple(entry) == written.STARTED
    assert tuple(SCHEDULE["definitions"]["written"]["required"]) == written.KEYS


@pytest.mark.parametrize("method", ["by-area", "uniform", "clustered", "dead", "lim", "inf"])
def test_every_drawn_profile_follows_the_schema(method: str) -> None:
    spec = ArraySpec(8, 4, 4, 8, 24, "ws", 32)
    content = commands.draw(spec, 3, method)
    assert schemas.problem("faults", json.loads(content)) is None


def test_the_example_of_the_docs_follows_the_schema() -> None:
    page = (Path(__file__).parent.parent / "docs" / "profiles.md").read_text()
    text = page.split("```json")[1].split("```")[0]
    assert schemas.problem("faults", json.loads(text)) is None
