"""Profiles with something changed at random: read or refused in one line, never half."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hascodesign.contract.errors import FaultProfileError
from hascodesign.faults.formats import fault_object, parse, write_csv, write_json
from tests.test_faults_formats import CSV_TEXT, JSON_TEXT, PROFILE, typed

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(-3, 30), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(["sa0", "sa1", "flip", "transient", "dead", "psum", "wmem", "product", "acc"]),
)


@settings(max_examples=4000, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    entry=st.integers(0, 3),
    field=st.sampled_from(["pe", "simd", "site", "bit", "kind", "address", "p", "bits", "extra"]),
    value=VALUES,
)
def test_one_changed_field_is_read_or_named(entry: int, field: str, value: Any) -> None:
    faults = [fault_object(fault) for fault in PROFILE.faults]
    faults[entry][field] = value
    document = json.loads(JSON_TEXT) | {"faults": faults}
    data = json.dumps(document).encode()
    try:
        profile = parse(data, "json")
    except FaultProfileError as error:
        assert str(error).startswith("entry ")
        assert str(error).isprintable()
    else:
        assert typed(parse(write_csv(profile), "csv")) == typed(profile)


@settings(max_examples=4000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_bytes_changed_anywhere_are_read_or_refused_in_one_line(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["json", "csv"]))
    text = bytearray((JSON_TEXT if form == "json" else CSV_TEXT).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        new = data.draw(
            st.one_of(st.binary(max_size=3), st.sampled_from([b",", b'"', b"{", b"\n"]))
        )
        text[at : at + data.draw(st.integers(0, 3))] = new
    check_whole(bytes(text), form)


@settings(max_examples=2500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=60), st.sampled_from(["json", "csv"]))
def test_any_bytes_are_refused_in_one_line(data: bytes, form: str) -> None:
    check_whole(data, form)


def check_whole(data: bytes, form: str) -> None:
    """Either a sound profile, which is then lossless, or one printable line."""
    try:
        profile = parse(data, form)
    except FaultProfileError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 400
    else:
        assert typed(parse(write_json(profile), "json")) == typed(profile)
