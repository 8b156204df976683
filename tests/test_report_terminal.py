"""The report on the terminal."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from hascodesign.common.stats import accuracy
from hascodesign.report import html, json, terminal
from tests import report_case

RESULT = report_case.result()


def shown(result: object = RESULT) -> list[str]:
    screen = io.StringIO()
    terminal.show(Console(file=screen, width=110), result)
    return screen.getvalue().splitlines()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│┃ ").split("│")]


def test_tables_hold_the_figures() -> None:
    lines = [cells(line) for line in shown()]
    assert ["Faulty, scheduled", "97.78", "95.7 .. 98.9"] in lines
    assert ["faulty", "conv1", "32", "2,048", "0", "1,440", "4.2"] in lines
    assert ["DSP", "128", "220", "58.2", "50"] in lines
    assert ["URAM", "0", "0", "-", "80"] in lines
    assert ["conv0", "1,116", "128", "0", "11.5"] in lines
    assert ["pool2", "261", "-", "-", "-"] in lines


def test_sentences() -> None:
    lines = terminal.sentences(RESULT)
    assert lines[0] == "The schedule recovers 98.1 % of the accuracy that the faults cost."
    assert lines[1] == "Of 4 faults the verified columns exercised 3; 2 changed an accumulator."
    assert lines[2].startswith("3 of 24 codes come of sums exactly on a step")
    assert lines[3].startswith("Each alone, ")
    assert lines[4] == (
        "The HLS C++, compiled by g++, gave 20 images healthy and 20 images faulty:"
        " 123,480 integers, 0 differ."
    )
    assert lines[5:] == [*RESULT.search.notes, *RESULT.whole.notes, *RESULT.resources.notes]
    small = replace(RESULT, accuracy={**RESULT.accuracy, "faulty_identity": accuracy(353, 360)})
    assert terminal.sentences(small)[0].endswith("there is nothing to recover.")


def test_brackets_in_notes_are_not_markup() -> None:
    noted = replace(RESULT, resources=replace(RESULT.resources, notes=("see [red]this[/red]",)))
    assert "see [red]this[/red]" in shown(noted)


def test_masked_faults_and_power_are_said() -> None:
    text = " ".join(shown())
    assert (
        "Each alone, 25.0 % of the faults (4) change no accumulator and 50.0 % no class of 256"
        " calibration images." in text
    )
    assert "power" not in text
    few = replace(RESULT.masking, faults=900)
    power = {"voltage": 0.6, "relative": 0.42, "label": "model, not measured: V^2"}
    text = " ".join(shown(replace(RESULT, masking=few, power=power)))
    assert "(4 drawn of 900)" in text
    assert (
        "At 0.6 V the array takes 42.0 % of its power at nominal voltage; model, not measured: V^2."
        in text
    )
    none = replace(RESULT.masking, faults=0, tried=0, accumulators=1.0, classes=1.0)
    assert "Each alone" not in " ".join(shown(replace(RESULT, masking=none)))


def test_a_win_that_heldout_images_do_not_show_is_said_everywhere() -> None:
    plain = report_case.result().accuracy["faulty_identity"]
    little = accuracy(round(plain.value * 3.6) + 6, 360)
    same = dict(report_case.result().accuracy) | {"scheduled": little}
    result = replace(report_case.result(), accuracy=same)
    words = "wins +1.67 points over the plain order, within the plain order's own 95 % interval"
    assert words in " ".join(terminal.sentences(result))
    assert words in json.build(result)["within_noise"]
    assert words in html.render(result).decode().replace("&#39;", "'")
    much = report_case.result()
    assert json.build(much)["within_noise"] is None
    assert not any("own 95 % interval" in line for line in terminal.sentences(much))
    assert "own 95 % interval" not in html.render(much).decode()


def test_faulty_runs_that_show_nothing_are_said_to() -> None:
    held = RESULT.verification
    quiet = tuple(replace(c, exercised=False, changed_accumulator=False) for c in held.coverage)
    for coverage, words in (
        (quiet, f"None of {len(quiet)} faults changed a value at the verified columns"),
        ((), "The profile holds no fault: the faulty runs repeat the healthy ones."),
    ):
        result = replace(RESULT, verification=replace(held, coverage=coverage))
        assert [words in line for line in terminal.sentences(result)].count(True) == 1
        assert words in json.build(result)["verification"]["note"]
    assert json.build(RESULT)["verification"]["note"] == ""
    assert not any("show nothing" in line for line in terminal.sentences(RESULT))


def test_images_that_equal_logits_decide_are_said() -> None:
    assert not any("largest logit" in line for line in terminal.sentences(RESULT))
    tied = replace(RESULT, equivalence=replace(RESULT.equivalence, tied=3, ties=(0, 0, 0)))
    words = "In 3 of 360 images classes share the largest logit"
    assert [line.startswith(words) for line in terminal.sentences(tied)].count(True) == 1
    assert json.build(tied)["equivalence"]["note"].startswith(words)
    assert words in html.render(tied).decode()
