"""The voltage study: what is counted, said and drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec
from hascodesign.faults.power import PowerModel
from hascodesign.flow.config import board_config, load_config
from hascodesign.flow.request import Request
from hascodesign.study import voltage, voltage_report
from hascodesign.study.voltage import ChipPoint, Sweep, VoltageResult

VOLTS = (0.64, 0.6, 0.56, 0.53)


def sweep(*points: tuple[tuple[int, int, int], ...]) -> Sweep:
    """One tuple by voltage, of (faults, plain, scheduled) by chip; 500 images, 480 healthy."""
    made = tuple(tuple(ChipPoint(*chip) for chip in at) for at in points)
    chips = tuple(f"seed {number}" for number in range(len(points[0])))
    return Sweep(voltage.MODELLED, chips, VOLTS, made, 500, 480)


SWEEP = sweep(
    ((0, 480, 480), (0, 480, 480)),
    ((1, 470, 480), (0, 480, 480)),  # plain: mean 5 lost = the point allowed, worst 10
    ((4, 100, 474), (2, 478, 478)),  # schedule: mean 4 lost, worst 6
    ((9, 50, 300), (5, 60, 479)),
)


def result(*sweeps: Sweep) -> VoltageResult:
    spec = ArraySpec(16, 8, 4, 8, 24, "os", 672)
    return VoltageResult(
        "digits-cnn", "pynq-z2", spec, 1, sweeps, PowerModel(), "nothing was measured", 12.5
    )


def test_a_point_is_counted_in_images() -> None:
    assert SWEEP.lowest("plain", every_chip=False) == 0.6
    assert SWEEP.lowest("plain", every_chip=True) == 0.64
    assert SWEEP.lowest("scheduled", every_chip=False) == 0.56
    assert SWEEP.lowest("scheduled", every_chip=True) == 0.6
    assert SWEEP.first_fault == 0.6
    lost = sweep(*[((1, 0, 0),)] * 4)
    assert lost.lowest("plain", every_chip=False) is None
    back = sweep(((0, 480, 480),), ((1, 0, 480),), ((1, 480, 480),), ((1, 480, 480),))
    assert back.lowest("plain", every_chip=False) == 0.64  # all above must hold, too


def test_the_interval_is_the_wider_one() -> None:
    alike = SWEEP.mean("plain", 0)
    assert alike.value == 96.0 and alike.ci95[0] < 94.1 < 97.2 < alike.ci95[1]  # of 500 images
    unlike = SWEEP.mean("plain", 2)
    assert unlike.value == pytest.approx(57.8) and unlike.ci95 == (0.0, 100.0)  # of two chips


def test_sentences_say_what_is_saved_and_that_it_is_a_model() -> None:
    lines = voltage_report.sentences(result(SWEEP))
    saved = {v: f"{PowerModel().power(v).saved:.1%}" for v in VOLTS}
    assert saved[0.56] == "62.5%"
    assert lines[0] == (
        "modelled chips, plain order: within 1 point of healthy accuracy: the mean down to 0.60 V,"
        f" {saved[0.6]} of the modelled power saved; each of 2 chips down to 0.64 V, {saved[0.64]}"
        " of the modelled power saved"
    )
    assert (
        "schedule: within 1 point of healthy accuracy: the mean down to 0.56 V, 62.5%" in lines[1]
    )
    assert lines[2].startswith("modelled chips: the first chip shows a fault at 0.60 V; staying")
    assert saved[0.64] in lines[2]
    less = 1 - PowerModel().power(0.56).relative / PowerModel().power(0.6).relative
    assert lines[3] == (
        "modelled chips: the schedule at the lowest such voltage of its mean takes"
        f" {less:.1%} less modelled power than the plain order at its own"
    )
    assert lines[-2] == "nothing was measured"
    assert "model, not measured" in lines[-1]
    assert not any("less than" in text for text in lines)


def test_less_than_the_goal_is_said_with_its_reason() -> None:
    poor = sweep(((3, 9, 480),), ((7, 9, 90),), ((8, 9, 90),), ((9, 9, 90),))
    high = replace(poor, volts=(0.9, 0.8, 0.7, 0.6))
    (line,) = [t for t in voltage_report.sentences(result(high)) if t.startswith("less")]
    assert line == (
        "less than 50% saved: at 0.80 V the chips have 7 to 7 faults, and the schedule keeps"
        " 18.00 %"
    )
    never = sweep(*[((3, 9, 9),)] * 4)
    lines = voltage_report.sentences(result(never))
    assert "the mean at no voltage; each of 1 chips at no voltage" in lines[1]
    assert any(line.startswith("less than 50% saved: at 0.64 V") for line in lines)


def test_the_measured_list_has_no_share_of_the_power() -> None:
    both = result(SWEEP, replace(SWEEP, name=voltage.MEASURED))
    document = json.loads(voltage_report.to_json(both))
    modelled, measured = document["sweeps"]
    assert modelled["points"][1]["power"] == pytest.approx(0.42)
    assert measured["points"][1]["power"] is None
    assert measured["lowest"]["plain_mean"] == {"volts": 0.6, "power_saved": None}
    assert modelled["lowest"]["scheduled_mean"]["volts"] == 0.56
    assert modelled["points"][2]["scheduled"]["n"] == 500
    assert modelled["points"][2]["chips"][0] == {"faults": 4, "plain": 100, "scheduled": 474}
    assert document["power_model"]["static_share"] == 0.25
    assert document["fault_model"]["logic"]["rate"] == 0.01
    said = [line for line in document["sentences"] if line.startswith(voltage.MEASURED)]
    assert len(said) == 2 and not any("power" in line for line in said)


def test_the_figure_is_the_same_every_time() -> None:
    both = result(SWEEP, replace(SWEEP, name=voltage.MEASURED))
    for form, head in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        drawn = voltage_report.figure(both, form)
        assert drawn.startswith(head)
        assert drawn == voltage_report.figure(both, form)
    text = voltage_report.figure(both, "svg").decode()
    assert "model, not measured" in text and "KC705-B" in text
    assert text.count("plain order") == 1


def listed(folder: Path) -> Path:
    """A list of which one block RAM of the second place loses a quarter of its words at 0.53 V."""
    lines = ["vccbram_volt,bram,address,bit", "0.54,40,3,3"]
    lines += [f"0.53,40,{address},{bit}" for address in range(0, 256) for bit in (2, 3)]
    (folder / "undervolt-kc705b").mkdir()
    (folder / "undervolt-kc705b" / "faults.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.slow
def test_digits_end_to_end(tmp_path: Path) -> None:
    changes = {"schedule.evaluations": 16, "schedule.generations": 2, "schedule.random_maps": 1}
    changes |= {"schedule.population": 4}
    config = load_config(board_config("pynq-z2"), changes)
    request = Request(config, tmp_path / "out", tmp_path / "cache")
    folder = voltage.measured_folder(listed(tmp_path))
    made = voltage.run(request, folder, 1, (0.56, 0.64))
    voltage_report.write(made, request.out)
    modelled, measured = made.sweeps
    assert modelled.volts == (0.64, 0.56) and modelled.healthy > 0.98 * modelled.n
    assert modelled.points[0] == (ChipPoint(0, modelled.healthy, modelled.healthy),)
    assert modelled.points[1][0].faults > 0
    assert modelled.points[1][0].scheduled >= modelled.points[1][0].plain
    assert measured.volts == (0.55, 0.54, 0.53)
    assert measured.chips == ("block RAM 32 on",)
    assert [at[0].faults for at in measured.points] == [0, 1, 204]  # 102 words are used
    assert "27 places for them 1 hold" in made.measured
    assert {p.name for p in request.out.glob("voltage.*")} == {
        "voltage.json", "voltage.svg", "voltage.png"
    }  # fmt: skip


def test_absent_data_is_said(tmp_path: Path) -> None:
    assert voltage.measured_folder(None) is None
    assert voltage.measured_folder(tmp_path) is None
    (tmp_path / "undervolt-kc705b").mkdir()
    with pytest.raises(ConfigError, match=r"measured list must hold faults\.csv"):
        voltage.measured_folder(tmp_path)
    with pytest.raises(ConfigError, match=r"the chips must be 1\.\.1000, not 0"):
        voltage.run(Request(load_config(board_config("pynq-z2"), {}), tmp_path, tmp_path), chips=0)
