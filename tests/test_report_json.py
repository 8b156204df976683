"""report.json: keys, figures and bytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from hascodesign.common.stats import accuracy, wilson
from hascodesign.contract.types import Fault
from hascodesign.report import json as report_json
from hascodesign.report.record import ACCURACIES, describe
from tests import report_case

RESULT = report_case.result()


def test_keys_that_the_format_promises() -> None:
    report = json.loads(report_json.dumps(report_json.build(RESULT)))
    assert list(report) == [
        "version", "command", "seed", "board", "array", "profile", "model", "data", "warnings",
        "equivalence", "accuracy",
        "recovery", "within_noise", "schedule", "verification", "masked", "power",
        "core", "files", "resources", "timing", "steps", "peak_rss_bytes", "sha256",
    ]  # fmt: skip
    assert report["version"] == 1
    assert report["board"] == "pynq-z2"
    assert report["array"] == {
        "pe": 16, "simd": 8, "weight_bits": 4, "act_bits": 8, "acc_bits": 24, "dataflow": "os",
        "wmem_depth": 58,
    }  # fmt: skip
    assert report["profile"] == {
        "origin": "given", "seed": 7, "source": "", "conditions": {},
    }  # fmt: skip
    assert report["data"] == {
        "calibration": 1437, "heldout": 360, "held": "held out of the search",
    }  # fmt: skip
    assert report["warnings"] == ["the images are few"]
    assert report["equivalence"]["differences"] == 0
    assert {"algorithm", "evaluations", "seconds", "loss", "healthy_loss"} <= report[
        "schedule"
    ].keys()
    assert {"used", "available", "percent"} <= report["resources"].keys()
    assert report["steps"][0] == {"name": "load", "seconds": 1.5, "cached": True}
    assert report["peak_rss_bytes"] == 1 << 30


def test_accuracies_stand_in_one_order_whatever_gave_them() -> None:
    stored = dict(sorted(RESULT.accuracy.items()))
    report = report_json.build(replace(RESULT, accuracy=stored))
    assert list(report["accuracy"]) == list(ACCURACIES)


def test_model_counts_weights_biases_and_products() -> None:
    model = report_json.build(RESULT)["model"]
    weights = 16 * 9 + 32 * 144 + 10 * 512
    assert model == {
        "name": "digits-cnn", "dataset": "digits", "parameters": weights + 58,
        "macs": 64 * (16 * 9 + 32 * 144) + 10 * 512, "own_macs": 0, "branch_rows": 0, "note": "",
        "logit_scale": RESULT.network.logit_scale,
    }  # fmt: skip


def test_what_the_array_multiplies_beyond_the_model_is_said() -> None:
    macs = RESULT.network.macs
    held = replace(RESULT.equivalence, own_macs=1000, branch_rows=12)
    model = report_json.build(replace(RESULT, equivalence=held))["model"]
    said = f"The array multiplies {macs:,} times for an image, the model itself 1,000 times"
    assert model["note"].startswith(said) and "12 of its 58 rows carry" in model["note"]
    same = replace(RESULT.equivalence, own_macs=macs)
    assert report_json.build(replace(RESULT, equivalence=same))["model"]["note"] == ""


def test_accuracies_have_value_n_and_interval() -> None:
    entries = report_json.build(RESULT)["accuracy"]
    assert list(entries) == [
        "brevitas", "integer", "faulty_identity", "faulty_random_mean", "faulty_random_best",
        "assignment", "scheduled",
    ]  # fmt: skip
    assert entries["scheduled"] == {
        "value": 100 * 352 / 360, "n": 360, "ci95": list(wilson(352, 360))
    }  # fmt: skip


def test_recovery_is_the_share_of_the_loss() -> None:
    assert report_json.build(RESULT)["recovery"] == pytest.approx((352 - 141) / (356 - 141))
    small = replace(RESULT, accuracy={**RESULT.accuracy, "faulty_identity": accuracy(353, 360)})
    assert report_json.build(small)["recovery"] is None
    worse = replace(RESULT, accuracy={**RESULT.accuracy, "scheduled": accuracy(100, 360)})
    assert report_json.build(worse)["recovery"] == pytest.approx(-41 / 215)


def test_verification_sums_mismatches_and_lists_faults() -> None:
    verified = report_json.build(RESULT)["verification"]
    assert verified["mismatches"] == 0
    assert len(verified["layers"]) == 6
    assert {"name", "columns", "outputs", "mismatches", "cycles", "seconds"} <= verified["layers"][
        0
    ].keys()
    assert verified["faults"][3] == {
        "entry": 3, "fault": "PE 13: dead, every product reads 0", "exercised": False,
        "changed_accumulator": False,
    }  # fmt: skip
    broken = replace(RESULT, verification=report_case.verification(2))
    assert report_json.build(broken)["verification"]["mismatches"] == 12


def test_masked_faults_and_modelled_power() -> None:
    report = report_json.build(RESULT)
    assert report["masked"] == {
        "faults": 4, "tried": 4, "images": 256, "accumulators": 0.25, "classes": 0.5
    }  # fmt: skip
    assert report["power"] is None
    assert report_json.build(replace(RESULT, power={"voltage": 0.6}))["power"] == {"voltage": 0.6}


def test_the_clock_only_where_it_was_asked_for() -> None:
    assert report_json.build(RESULT)["timing"] is None
    assert report_json.build(replace(RESULT, timing={"mhz": 99.5}))["timing"] == {"mhz": 99.5}


def test_resources_in_percent_and_none_where_the_board_has_none() -> None:
    percent = report_json.build(RESULT)["resources"]["percent"]
    assert percent["DSP"] == pytest.approx(100 * 128 / 220)
    assert percent["URAM"] is None


def test_files_are_sorted_with_their_hash() -> None:
    assert report_json.build(RESULT)["files"] == [
        {"path": "faults.json", "sha256": hashlib.sha256(b"{}").hexdigest()},
        {"path": "roms/row_map.mem", "sha256": hashlib.sha256(b"0\n").hexdigest()},
    ]


def test_a_figure_that_is_no_number_cannot_pass() -> None:
    lost = replace(RESULT, search=replace(RESULT.search, loss=float("nan")))
    with pytest.raises(ValueError, match="JSON"):
        report_json.dumps(report_json.build(lost))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(3, "sa1", "product", 5, 11), "PE 3, multiplier 5: product bit 11 stuck at 1"),
        (Fault(3, "sa0", "psum", None, 0), "PE 3: psum bit 0 stuck at 0"),
        (Fault(0, "flip", "wmem", 1, 2, 4), "PE 0, multiplier 1: wmem word 4 bit 2 inverted"),
        (Fault(1, "transient", "act", 0, p=0.25, bits=(2, 5)),
         "PE 1, multiplier 0: act bits 2 to 5 inverted with probability 0.25 at each use"),
        (Fault(1, "transient", "psum", None, 6, p=0.5),
         "PE 1: psum bit 6 inverted with probability 0.5 at each use"),
    ],
)  # fmt: skip
def test_faults_in_words(fault: Fault, words: str) -> None:
    assert describe(fault) == words


def test_rows_written_for_faulty_slots() -> None:
    slots = report_json.build(RESULT)["schedule"]["slots"]
    assert slots["faulty"] == 2
    assert [one["after"] for one in slots["shown"]] == [0.5, 0.25]
    assert slots["shown"][1] == {
        "layer": "conv0", "pe": 3, "place": 0, "row": 5,
        "moves": ["sign", "words 2", "constant -40"], "before": 12.5, "after": 0.25,
    }  # fmt: skip
