"""JSON and CSV: lossless both ways, and one line for every file that is not a profile."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hascodesign.contract.errors import FaultProfileError
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile
from hascodesign.faults.formats import (
    array_object,
    parse,
    read,
    write,
    write_csv,
    write_json,
)

ARRAY = ArraySpec(4, 2, 4, 8, 24, "os", 100)
PROFILE = FaultProfile(
    ARRAY,
    (
        Fault(0, "sa0", "wmem", 1, 3, 99),
        Fault(1, "dead"),
        Fault(2, "transient", "psum", None, None, None, 0.1, (6, 14)),
        Fault(3, "flip", "product", 0, 12),
    ),
    7,
    "BIST of board 3, run 2: all patterns",
    {"voltage": 0.55, "temperature_c": 40, "note": "0.55", "warm": True},
)
JSON_TEXT = """{
  "version": 1,
  "array": {"pe": 4, "simd": 2, "weight_bits": 4, "act_bits": 8, "acc_bits": 24, "dataflow": "os", "wmem_depth": 100},
  "seed": 7,
  "source": "BIST of board 3, run 2: all patterns",
  "conditions": {"note": "0.55", "temperature_c": 40, "voltage": 0.55, "warm": true},
  "faults": [
    {"pe": 0, "simd": 1, "site": "wmem", "bit": 3, "kind": "sa0", "address": 99},
    {"pe": 1, "kind": "dead"},
    {"pe": 2, "site": "psum", "kind": "transient", "p": 0.1, "bits": [6, 14]},
    {"pe": 3, "simd": 0, "site": "product", "bit": 12, "kind": "flip"}
  ]
}
"""  # noqa: E501
CSV_TEXT = """# version: 1
# array.pe: 4
# array.simd: 2
# array.weight_bits: 4
# array.act_bits: 8
# array.acc_bits: 24
# array.dataflow: os
# array.wmem_depth: 100
# seed: 7
# source: BIST of board 3, run 2: all patterns
# conditions.note: "0.55"
# conditions.temperature_c: 40
# conditions.voltage: 0.55
# conditions.warm: true
pe,simd,site,bit,kind,address,p,bits_lo,bits_hi
0,1,wmem,3,sa0,99,,,
1,,,,dead,,,,
2,,psum,,transient,,0.1,6,14
3,0,product,12,flip,,,,
"""


def test_the_files_are_these_bytes() -> None:
    assert write_json(PROFILE).decode() == JSON_TEXT
    assert write_csv(PROFILE).decode() == CSV_TEXT
    assert parse(JSON_TEXT.encode(), "json") == PROFILE
    assert parse(CSV_TEXT.encode(), "csv") == PROFILE


def test_a_profile_without_faults() -> None:
    empty = FaultProfile(ARRAY)
    for form in ("json", "csv"):
        assert parse(write(empty, form), form) == empty


def test_what_a_spreadsheet_does_to_the_file_is_read() -> None:
    data = b"\xef\xbb\xbf" + CSV_TEXT.replace("\n", "\r\n").encode()
    assert parse(data, "csv") == PROFILE


def test_optional_keys_take_their_defaults() -> None:
    array = {k: v for k, v in array_object(ARRAY).items() if k != "wmem_depth"}
    data = json.dumps({"version": 1, "array": array, "faults": []}).encode()
    assert parse(data, "json") == FaultProfile(ArraySpec(4, 2, 4, 8, 24))


# ------------------------------------------------------------------------------------- round trip


@st.composite
def profiles(draw: st.DrawFn) -> FaultProfile:
    """Any sound profile of a small array."""
    integers = st.integers
    array = ArraySpec(
        draw(integers(1, 5)),
        draw(integers(1, 3)),
        draw(integers(1, 8)),
        draw(integers(1, 8)),
        draw(integers(16, 32)),
        draw(st.sampled_from(["os", "ws"])),
        draw(st.sampled_from([0, 1, 7])),
    )
    faults: dict[tuple[Any, ...], Fault] = {}
    for pe in range(array.pe):
        if draw(st.integers(0, 5)) == 0:
            faults[(pe,)] = Fault(pe, "dead")
            continue
        for _ in range(draw(integers(0, 3))):
            site = draw(st.sampled_from(array.sites))
            simd = draw(integers(0, array.simd - 1)) if array.has_lane(site) else None
            address = draw(integers(0, (array.wmem_depth or 50) - 1)) if site == "wmem" else None
            bit = draw(integers(0, array.site_bits(site) - 1))
            kind = draw(st.sampled_from(["sa0", "sa1", "flip", "transient"]))
            if kind != "transient":
                place = (pe, site, simd, address, bit)
                faults[place] = Fault(pe, kind, site, simd, bit, address)
                continue
            p = draw(st.floats(0, 1))
            pair = draw(st.booleans())
            faults[(pe, site, len(faults))] = Fault(
                pe,
                "transient",
                site,
                simd,
                None if pair else bit,
                address,
                p,
                (draw(integers(0, bit)), bit) if pair else None,
            )
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    value = st.one_of(
        text,
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
    )
    keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
    return FaultProfile(
        array,
        tuple(faults.values()),
        draw(integers(0, 2**32 - 1)),
        draw(text),
        draw(st.dictionaries(keys, value, max_size=3)),
    )


def typed(profile: FaultProfile) -> str:
    """The profile with every type in sight: 1, 1.0 and True are equal but not the same."""
    return repr((profile.array, profile.faults, profile.seed, profile.source)) + repr(
        sorted(profile.conditions.items())
    )


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(profiles())
@example(FaultProfile(ARRAY, source='"'))
@example(FaultProfile(ARRAY, source=" a\nb: c\r\u2028 ", conditions={"x": "1", "y": "[1]"}))
@example(FaultProfile(ARRAY, source="NaN", conditions={"x": "NaN", "y": "", "z": "# \x85"}))
def test_both_files_hold_the_whole_profile(profile: FaultProfile) -> None:
    from_json = parse(write_json(profile), "json")
    from_csv = parse(write_csv(profile), "csv")
    assert typed(from_json) == typed(profile)
    assert typed(from_csv) == typed(profile)
    assert write_json(from_csv) == write_json(profile)
    assert write_csv(from_json) == write_csv(profile)


# --------------------------------------------------------------------------------------- bad files


def said(data: bytes, form: str) -> str:
    with pytest.raises(FaultProfileError) as caught:
        parse(data, form)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 300
    return text


def with_entry(text: str) -> bytes:
    return JSON_TEXT.replace('{"pe": 1, "kind": "dead"}', text).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "which is empty"),
        (b" \n", "which is empty"),
        (b"\xff\xfe{", "must be UTF-8, not byte 0xff at offset 0"),
        (b"[]", "the file: an object must stand here, not a list"),
        (b"nul", "the text must be whole JSON: Expecting value at line 1 column 1"),
        (b"[" * 100_000, "nested"),
        (JSON_TEXT.replace('"version": 1', '"version": 2').encode(), "version must be 1, not 2"),
        (JSON_TEXT.replace('"version": 1', '"version": true').encode(), "must be 1, not true"),
        (JSON_TEXT.replace('"seed"', '"sed"').encode(), "the file: unknown key 'sed'"),
        (JSON_TEXT.replace('"seed"', '"source"').encode(), "key 'source' must stand once"),
        (JSON_TEXT.replace('"act_bits"', '"pe"').encode(), "array: key 'pe' must stand once"),
        (JSON_TEXT.replace('"act_bits"', '"ab"').encode(), "array: unknown key 'ab'"),
        (JSON_TEXT.replace('"act_bits": 8,', "").encode(), "array: key 'act_bits' must be given"),
        (
            JSON_TEXT.replace("0.55,", "1e999,").encode(),
            "conditions.voltage must be text, a finite",
        ),
        (JSON_TEXT.replace("0.55,", "NaN,").encode(), "conditions.voltage must be text, a finite"),
        (with_entry("3"), "entry 1: an object must stand here, not 3"),
        (with_entry("null"), "entry 1: an object must stand here, not null"),
        (with_entry('{"pe": 1}'), "entry 1: key 'kind' must be given"),
        (with_entry('{"pe": 1, "kind": "dead", "q": 1}'), "entry 1: unknown key 'q'"),
        (with_entry('{"pe": 1, "kind": "dead", "pe": 1}'), "entry 1: key 'pe' must stand once"),
        (with_entry('{"pe": 1, "kind": "dead", "bit": null}'), "entry 1: bit must have a value"),
        (with_entry('{"pe": NaN, "kind": "dead"}'), "entry 1: pe must be an integer, not nan"),
        (with_entry('{"pe": true, "kind": "dead"}'), "entry 1: pe must be an integer, not true"),
        (with_entry('{"pe": "1", "kind": "dead"}'), "entry 1: pe must be an integer, not '1'"),
        (with_entry('{"pe": -1, "kind": "dead"}'), "entry 1: pe must be 0..3, not -1"),
        (with_entry('{"pe": %s, "kind": "dead"}' % ("9" * 9000)), "entry 1: pe must be 0..3"),
        (with_entry('{"pe": {}, "kind": []}'), "entry 1: kind must be sa0, sa1, flip"),
        (with_entry('{"pe": 1, "kind": "dead"'), "entry 1: the text must be whole JSON"),
        (with_entry('{"pe": 0, "kind": "dead"}'), "entry 1: dead must be the only entry of pe 0"),
    ],
)
def test_a_bad_json_file_gives_its_line(data: bytes, words: str) -> None:
    assert words in said(data, "json")


def test_json_cut_short_anywhere_is_refused() -> None:
    for cut in range(len(JSON_TEXT) - 2):
        text = said(JSON_TEXT[:cut].encode(), "json")
        entries = JSON_TEXT[:cut].partition('"faults": [')[2]
        begun = entries.count("{")
        if begun > entries.count("}"):
            assert text.startswith(f"entry {begun - 1}: the text must be whole JSON"), cut


def csv_line(line: str) -> bytes:
    return CSV_TEXT.replace("1,,,,dead,,,,", line).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "which is empty"),
        (CSV_TEXT.encode("utf-16"), "must be UTF-8"),
        (CSV_TEXT[:-1].encode(), "the file is cut short"),
        (CSV_TEXT[: CSV_TEXT.index("# seed")].encode(), "a line naming the columns must follow"),
        (CSV_TEXT.replace("version: 1", "version 1").encode(), "line 1 must be '# key: value'"),
        (CSV_TEXT.replace("# seed", "# sed").encode(), "unknown key 'sed'"),
        (CSV_TEXT.replace("# seed", "# array").encode(), "key must be array.pe or array....,"),
        (CSV_TEXT.replace("# seed", "# array.pe").encode(), "key 'array.pe' must stand once"),
        (CSV_TEXT.replace("# seed", "# faults").encode(), "line 9: key 'faults' must stand"),
        (CSV_TEXT.replace("array.pe: 4", "array.pe: four").encode(), "an integer, not 'four'"),
        (CSV_TEXT.replace("array.pe: 4", "array.pe: 4.0").encode(), "an integer, not 4.0"),
        (CSV_TEXT.replace("seed: 7", "seed: " + "7" * 9000).encode(), "seed must be an integer"),
        (CSV_TEXT.replace("pe,simd", "pe,lane").encode(), "a column must be pe, simd"),
        (CSV_TEXT.replace("pe,simd", "pe,pe").encode(), "column 'pe' must stand once"),
        (csv_line("1,,,,dead,,,"), "line 17: a line must have 9 cells, not 8"),
        (csv_line("1,,,,dead,,,,,x"), "line 17: a line must have 9 cells, not 10"),
        (csv_line('"1,,,,dead,,,,'), "line 17: the line must be CSV"),
        (csv_line("x,,,,dead,,,,"), "line 17: pe must be an integer, not 'x'"),
        (csv_line("1.0,,,,dead,,,,"), "line 17: pe must be an integer, not '1.0'"),
        (csv_line(",,,,dead,,,,"), "line 17: key 'pe' must be given"),
        (csv_line("1,,psum,,transient,,nan,0,1"), "line 17: p must be a number in [0, 1]"),
        (csv_line("1,,psum,,transient,,1_0,0,1"), "line 17: p must be a number in [0, 1]"),
        (csv_line("1,,psum,,transient,,0.5,0,"), "line 17: bits_lo and bits_hi must be given"),
        (csv_line("1,,psum,24,sa0,,,,"), "line 17: bit at site psum must be 0..23, not 24"),
    ],
)
def test_a_bad_csv_file_gives_its_line(data: bytes, words: str) -> None:
    assert words in said(data, "csv")


def test_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_bytes(with_entry('{"pe": 9, "kind": "dead"}'))
    with pytest.raises(FaultProfileError, match=r"map\.json: entry 1: pe must be 0\.\.3, not 9$"):
        read(path)
    path.write_text(JSON_TEXT)
    assert read(path) == PROFILE
    upper = tmp_path / "MAP.CSV"
    upper.write_text(CSV_TEXT)
    assert read(upper, 50 * 2) == PROFILE
    for bad, words in (
        (tmp_path / "none.json", "none.json: the file must be readable: No such file"),
        (tmp_path / "map.txt", "map.txt: the name must end in .json or .csv, not '.txt'"),
        (tmp_path / "two\nlines.json", r"two\nlines.json': the file must be readable"),
        (Path("a\0b.json"), "the file must be readable: bad name"),
    ):
        with pytest.raises(FaultProfileError) as caught:
            read(bad)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_million_entries_are_refused_with_the_limit() -> None:
    entries = b",".join([b'{"pe":1,"kind":"dead"}'] * 1_000_000)
    data = JSON_TEXT.partition("[\n")[0].encode() + b"[" + entries + b"]}"
    assert said(data, "json") == (
        "entry 250000: a profile must have at most 250000 entries, not 1000000"
    )
    lines = CSV_TEXT.replace("1,,,,dead,,,,\n", "1,,,,dead,,,,\n" * 250_000).encode()
    assert "a profile must have at most 250000 entries" in said(lines, "csv")


def spreadsheet(mark: str, *, quoted: bool) -> bytes:
    """The profile as a spreadsheet saves it: padded to the widest line, CRLF, blank lines, BOM."""
    rows = []
    for line in CSV_TEXT.splitlines():
        cells = [line] if line.startswith("#") else line.split(",")
        cells += [""] * (9 - len(cells))
        escaped = cells[0].replace('"', '""')
        if quoted or mark in cells[0] or '"' in cells[0]:
            cells[0] = f'"{escaped}"'
        rows.append(mark.join(cells))
    blank = mark * 8
    return "\r\n".join([blank, *rows[:4], "", *rows[4:12], blank, *rows[12:], "", ""]).encode(
        "utf-8-sig"
    )


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("mark", [",", ";"])
def test_a_csv_saved_by_a_spreadsheet_reads_the_same(mark: str, quoted: bool) -> None:
    assert typed(parse(spreadsheet(mark, quoted=quoted), "csv")) == typed(PROFILE)


def test_an_error_in_a_spreadsheet_names_its_line() -> None:
    data = spreadsheet(";", quoted=False)
    line = next(n for n, row in enumerate(data.split(b"\n"), 1) if row.startswith(b"1;;;;dead"))
    assert said(data.replace(b"1;;;;dead", b"9;;;;dead"), "csv").startswith(
        f"line {line}: pe must be 0..3, not 9"
    )


@pytest.mark.parametrize("source", ["a,", "a;", ",,,,,,,,", 'a, "b";', "#, c"])
def test_a_source_is_not_taken_for_padding(source: str) -> None:
    profile = replace(PROFILE, source=source)
    assert parse(write_csv(profile), "csv").source == source
