"""The front in report.json and on the page, the power beside it, and `--objectives` refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hascodesign.common import stats
from hascodesign.contract.results import Front, FrontPoint
from hascodesign.contract.types import FaultProfile
from hascodesign.flow import flow
from hascodesign.report import html
from hascodesign.report import json as report_json
from hascodesign.report.record import FlowResult
from tests import report_case
from tests.test_flow import run


def with_front() -> FlowResult:
    result = report_case.result()
    points = (
        FrontPoint(result.search.schedule, 0.09, 0.97, 5, 1.0),
        FrontPoint(report_case.schedule(2), 0.05, 0.99, 6, 1.04),
        FrontPoint(report_case.schedule(3), 0.04, 0.991, 6, 1.31),
    )
    front = Front(("accuracy", "passes", "power"), points, 1, "the least of all", "a model")
    accuracy = dict(result.accuracy)
    for number, correct in enumerate((349, 352, 354)):
        accuracy[f"front_{number:02d}"] = stats.accuracy(correct, 360)
    return replace(result, accuracy=accuracy, search=replace(result.search, front=front))


def test_the_front_is_in_the_report_with_heldout_accuracies() -> None:
    report = json.loads(report_json.dumps(report_json.build(with_front())))
    front = report["schedule"]["front"]
    assert front["objectives"] == ["accuracy", "passes", "power"]
    assert (front["rule"], front["power_model"], front["pick"]) == (
        "the least of all",
        "a model",
        1,
    )
    picked = front["points"][1]
    assert (picked["passes"], picked["power"], picked["loss"]) == (6, 1.04, 0.05)
    assert picked["calibration_accuracy"] == 99.0
    assert picked["heldout"]["value"] == pytest.approx(100 * 352 / 360)
    assert picked["heldout"]["n"] == 360
    own = report_case.schedule(2).layers
    assert picked["slots"] == {m.name: m.slots.tolist() for m in own}
    assert picked["layer_passes"] == {m.name: m.passes for m in own}
    assert not any(name.startswith("front") for name in report["accuracy"])


def test_without_other_objectives_there_is_no_front() -> None:
    assert report_json.build(report_case.result())["schedule"]["front"] is None
    assert "Trade-off" not in html.render(report_case.result()).decode()


def test_the_page_shows_the_front_and_says_which_point_is_rendered() -> None:
    page = html.render(with_front()).decode()
    assert page == html.render(with_front()).decode()
    start = page.index("<h2>Trade-off</h2>")
    section = page[start : page.index("</section>", start)]
    assert "Rendered: the least of all." in section
    assert "passes of all layers" in section
    for words in ("power 100 %", "power 104 %", "power 131 %", "97.78 %", "a model"):
        assert words in section
    assert section.count(">rendered<") == 1


@pytest.mark.parametrize(
    ("conditions", "dynamic", "static", "volts"),
    [
        ({}, 0.75, 0.25, "at 1 V"),
        ({"voltage": 0.6, "generator": "threshold"}, 0.75 * 0.36, 0.25 * 0.6, "at 0.6 V"),
        ({"voltage": 0.6}, 0.75, 0.25, "at 1 V"),
        ({"voltage": "low", "generator": "threshold"}, 0.75, 0.25, "at 1 V"),
    ],
)
def test_the_power_is_that_of_the_profiles_voltage(
    conditions: dict[str, float | str], dynamic: float, static: float, volts: str
) -> None:
    profile = FaultProfile(report_case.ARRAY, conditions=conditions)
    shares = flow.power_shares(profile)
    assert shares.of(1.5) == pytest.approx(1.5 * dynamic + static)
    assert "not measured" in shares.label
    assert volts in shares.label


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--objectives", "accuracy,area"), "'accuracy', 'passes' or 'power', not 'area'"),
        (
            ("--objectives", "passes,power"),
            "accuracy must be among them and each must stand once, not",
        ),
        (("--allowed-points", "-1"), "allowed_points: Input should be greater than or equal to 0"),
    ],
)
def test_wrong_objectives_are_refused_in_one_line(tmp_path, capsys, options, words) -> None:
    assert run("schedule", "--out", tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
