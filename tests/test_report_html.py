"""report.html: one self-contained, repeatable, well-formed page."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from hascodesign.common.stats import accuracy
from hascodesign.contract.array import identity_schedule
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, frozen
from hascodesign.report import array_map, html, plots
from tests import report_case

RESULT = report_case.result()
PAGE = html.render(RESULT).decode()
SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    """Every text of a plot, in order."""
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


class Tags(HTMLParser):
    """Counts opened and closed tags, and gathers what the page would load."""

    VOID = frozenset({"meta", "link", "img", "br", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.loads += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_well_formed_and_loads_nothing() -> None:
    tags = Tags()
    tags.feed(PAGE)
    assert tags.open == []
    assert all(target.startswith("#") for target in tags.loads)
    assert "<script" not in PAGE
    assert not re.search(r"url\((?!#)|@import|<link", PAGE)


def test_page_is_the_same_bytes_again() -> None:
    assert html.render(report_case.result()).decode() == PAGE


def test_page_shows_the_figures() -> None:
    for words in ("97.78 %", "59.7 points", "98.1 %", "0 mismatches", "7,424 integers", "128 / 220",
                  "123,480 integers", "PE 13: dead, every product reads 0",
                  "One seed of the search was the", "dense2 external",
                  "above the guideline of 50 %"):  # fmt: skip
        assert words in PAGE, words
    assert PAGE.count("<svg") == 4


def test_the_page_says_where_the_profile_comes_from() -> None:
    assert "The profile was given, seed 7." in PAGE
    told = replace(RESULT.profile, source="<our> bench", conditions={"volts": 0.9})
    page = html.render(replace(RESULT, profile=told)).decode()
    assert "Its source: &lt;our&gt; bench. Its conditions: volts 0.9." in page


def test_nothing_recovered_is_said_so() -> None:
    small = replace(RESULT, accuracy={**RESULT.accuracy, "faulty_identity": accuracy(353, 360)})
    page = html.render(small).decode()
    assert "the faults cost less than one point" in page


def test_text_from_files_is_escaped() -> None:
    hostile = "<script>alert(1)</script>"
    network = replace(RESULT.network, name=hostile)
    notes = replace(RESULT.resources, notes=(hostile,))
    page = html.render(replace(RESULT, network=network, resources=notes, command=hostile)).decode()
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)") == 5  # title, heading, model, note, command


def test_layer_names_in_plots_are_escaped() -> None:
    schedule = RESULT.search.schedule
    maps = (replace(schedule.layers[0], name="<b>&"), *schedule.layers[1:])
    svg = array_map.array_map(RESULT.profile, replace(schedule, layers=maps))
    assert "<b>" not in svg
    assert "<b>&" in texts(svg)


def test_map_has_every_pe_row_and_fault() -> None:
    schedule = RESULT.search.schedule
    words = texts(array_map.array_map(RESULT.profile, schedule))
    assert words[:1] == ["PE"]
    for expected in ("product 3", "bit 11", "sa1", "psum", "weight 0", "flip", "dead"):
        assert expected in words
    # the last line of the map: the rows of the last layer's pass, idle as a dash
    row = schedule.layers[-1].slots[0].tolist()
    assert words[-16:] == ["–" if r < 0 else str(r) for r in row]
    assert words.count("conv1") == 1


def test_map_of_a_wide_array_keeps_the_faulty_pes() -> None:
    spec = ArraySpec(100, 2, 4, 4, 16)
    profile = FaultProfile(spec, (Fault(99, "dead"), Fault(80, "sa1", "psum", None, 15)))
    shown = array_map.columns_shown(profile)
    assert len(shown) == array_map.MOST_PES
    assert shown[-2:] == (80, 99)
    schedule = identity_schedule(RESULT.network, spec)
    first = schedule.layers[0]
    many = replace(first, slots=frozen(np.tile(first.slots, (11, 1))))
    schedule = replace(schedule, layers=(many, *schedule.layers[1:]))
    assert array_map.left_out(profile, schedule) == [
        "36 of 100 PEs are left out, healthy ones first.",
        "conv0: 3 of 11 passes are left out.",
    ]
    assert "99" in texts(array_map.array_map(profile, schedule))


@pytest.mark.parametrize(
    ("fault", "level"),
    [
        (Fault(0, "sa1", "psum", None, 0), array_map.LOW),
        (Fault(0, "sa1", "psum", None, 7), array_map.LOW),
        (Fault(0, "sa1", "psum", None, 8), array_map.MIDDLE),
        (Fault(0, "sa1", "psum", None, 16), array_map.HIGH),
        (Fault(0, "sa1", "psum", None, 23), array_map.HIGH),
        (Fault(0, "transient", "psum", None, p=0.5, bits=(0, 9)), array_map.MIDDLE),
        (Fault(0, "dead"), array_map.DEAD),
    ],
)
def test_severity_by_third_of_the_site(fault: Fault, level: array_map.Severity) -> None:
    assert array_map.severity(fault, report_case.ARRAY) is level


def test_baselines_of_the_search() -> None:
    lines = {words: loss for words, loss, _ in plots.baseline_losses(RESULT.search)}
    randoms = [b.loss for b in RESULT.search.baselines if b.name.startswith("random_")]
    assert lines == {
        "plain order": 2.31,
        "random, mean": pytest.approx(sum(randoms) / 20),
        "random, best of 20": min(randoms),
        "assignment": 0.44,
    }
    words = texts(plots.convergence(RESULT.search))
    assert "scheduled  0.0872" in words
    assert "assignment  0.44" in words


def test_search_without_generations_or_baselines_still_draws() -> None:
    bare = replace(RESULT.search, history=(), baselines=(), loss=0.0)
    assert "scheduled  0" in texts(plots.convergence(bare))


def test_labels_are_spread_and_stay_inside() -> None:
    assert plots.spread([0.5, 0.2], 0.1) == [0.5, 0.2]
    assert plots.spread([0.99, 0.98, 0.3], 0.1) == pytest.approx([1.0, 0.9, 0.3])
    assert plots.spread([0.0, 0.0], 0.25) == [0.0, 0.25]


def test_bars_name_value_and_interval() -> None:
    words = texts(plots.accuracy_bars(RESULT))
    assert "97.78 %" in words
    assert "95.7 to 98.9" in words
    assert "Faulty, scheduled" in words
    some = {k: v for k, v in RESULT.accuracy.items() if k != "assignment"}
    assert "Faulty, assignment alone" not in texts(
        plots.accuracy_bars(replace(RESULT, accuracy=some))
    )


def test_resources_that_the_board_lacks_have_no_bar() -> None:
    words = texts(plots.resource_bars(RESULT))
    assert "URAM" not in words
    assert "58 %" in words


def test_masked_faults_and_power_are_on_the_page() -> None:
    page = html.render(RESULT).decode()
    assert "25.0 % of the faults (4) change no accumulator and 50.0 % no class" in page
    assert "nominal voltage" not in page
    power = {"voltage": 0.6, "relative": 0.42, "label": "model, not measured: V^2"}
    page = html.render(replace(RESULT, power=power)).decode()
    assert "At 0.6 V the array takes 42.0 % of its power at nominal voltage; model, not" in page


def test_rows_written_for_faulty_slots_are_on_the_page(monkeypatch) -> None:
    page = html.render(RESULT).decode()
    assert "2 rows stand on slots that meet a fault; these are all" in page
    assert "<td>sign, words 2, constant -40</td>" in page and "<td>as trained</td>" in page
    assert page.index('"n">7</td><td>as trained') < page.index("words 2")  # the worst first
    monkeypatch.setattr(html, "SHOWN_SLOTS", 1)
    assert "the 1 with the largest error left are shown" in html.render(RESULT).decode()
    none = html.render(replace(RESULT, slots=())).decode()
    assert "Rows written for faulty slots" not in none
