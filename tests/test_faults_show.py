"""The map of a profile: what stands where, and the same bytes every time."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hascodesign.contract.array import generator
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile
from hascodesign.faults.formats import parse
from hascodesign.faults.generate import by_area
from hascodesign.faults.show import render_svg, render_text, significance

ARRAY = ArraySpec(18, 2, 4, 8, 24)
PROFILE = FaultProfile(
    ARRAY,
    (
        Fault(0, "sa1", "product", 1, 12),
        Fault(0, "sa0", "product", 0, 0),
        Fault(1, "dead"),
        Fault(16, "transient", "psum", p=0.25, bits=(6, 14)),
        Fault(17, "flip", "act", 1, 0),
    ),
    source="a\x1b[31mb\nc",
    conditions={"voltage": 0.55},
)
DOC = Path(__file__).parent.parent / "docs" / "profiles.md"


def test_text_map() -> None:
    text = render_text(PROFILE).plain
    lines = text.splitlines()
    assert r"source      a\x1b[31mb\nc" in lines
    assert "\x1b" not in text
    assert (
        "faults      5 on 4 of 18 PEs; act 1, product 2, psum 1; dead 1, flip 1, sa0 1, sa1 1, "
        "transient 1"
    ) in lines
    first, second = (i for i, line in enumerate(lines) if line.startswith("PE "))
    assert lines[first].split() == ["PE", *map(str, range(16))]
    assert lines[first + 3].split() == ["product", "2!", "X", *["."] * 14]
    assert lines[second].split() == ["PE", "16", "17"]
    assert lines[second + 2].split() == ["act", ".", "1-"]
    assert lines[second + 4].split() == ["psum", "1+", "."]
    assert "entry 3    PE 16 psum bits 6 to 14 transient p = 0.25" in lines
    assert all(len(line) <= 100 for line in lines[2:])


def test_significance() -> None:
    marks = [significance(ARRAY, fault) for fault in PROFILE.faults]
    assert marks == [1.0, 0.0, 1.0, 14 / 23, 0.0]
    assert significance(ArraySpec(1, 1, 1, 1, 16), Fault(0, "sa0", "act", 0, 0)) == 1.0


def test_svg_is_the_same_every_time_and_shows_each_fault() -> None:
    svg = render_svg(PROFILE)
    assert svg == render_svg(PROFILE)
    text = svg.decode()
    assert "<dc:date>" not in text
    assert ">12=1<" in text and ">0=0<" in text and ">6-14?<" in text and ">0^<" in text
    alive = render_svg(FaultProfile(ARRAY, PROFILE.faults[:2])).decode()
    assert text.count("#40004b") == alive.count("#40004b") + 1
    assert "image" not in re.findall(r"<(\w+)", text)


def test_big_arrays_are_drawn_in_bounded_size() -> None:
    array = ArraySpec(1000, 64, 8, 8, 32)
    profile = by_area(array, generator(1, "big"), faulty_pes=900, faults_per_pe=3)
    assert len(render_svg(profile)) < 3_000_000
    dead = FaultProfile(ArraySpec(65536, 1, 8, 8, 32), (Fault(65535, "dead"),))
    assert len(render_text(dead).plain.splitlines()) < 30


def test_the_files_of_the_documentation_are_one_profile() -> None:
    blocks = dict(re.findall(r"```(json|csv)\n(.*?)```", DOC.read_text(), re.S))
    from_json, from_csv = (parse(blocks[form].encode(), form) for form in ("json", "csv"))
    assert from_json == from_csv
    assert {fault.kind for fault in from_json.faults} == {"sa0", "sa1", "flip", "transient", "dead"}
    assert json.loads(blocks["json"])["version"] == 1
