"""`study baselines`: repeatable, resumed, the same with any number of workers; its statistics."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from hascodesign.cli.options import cache
from hascodesign.common import records
from hascodesign.contract.types import Split
from hascodesign.flow.flow import Flow
from hascodesign.schedule.formats import to_json
from hascodesign.study import baselines, baselines_report
from hascodesign.study.baselines import (
    EXTRA_HARDWARE,
    METHODS,
    BaselinesResult,
    Outcome,
    ProfileRow,
)

FILES = ("baselines.json", "baselines.png")
SMALL = {"evaluations": 10, "generations": 1, "random_maps": 1, "seconds": 3600.0}


judged_by = Flow.evaluator


def few_images(flow: Flow, split: Split, *arguments: Any) -> Any:
    return judged_by(flow, Split(split.images[:120], split.labels[:120]), *arguments)


def small_study(out: Path, threads: int) -> None:
    """One profile with few evaluations on so many threads."""
    request = baselines.request("pynq-z2", None, 4, out, cache(), None)
    sizes = request.config.schedule.model_copy(update=SMALL)
    request = replace(request, config=request.config.model_copy(update={"schedule": sizes}))
    before = numba.get_num_threads()
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(threads):
        patch.setattr(Flow, "evaluator", few_images)
        patch.setattr(baselines, "STUDY_EVALUATIONS", 30)
        patch.setattr(baselines, "cost_evaluations", lambda *_: 5)
        numba.set_num_threads(threads)
        try:
            baselines_report.write(baselines.run(request, (1,), thorough=True), out)
        finally:
            numba.set_num_threads(before)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study") / "one"
    small_study(out, 1)
    return out


def test_every_method_is_judged_within_its_evaluations(studied: Path) -> None:
    report = json.loads((studied / "baselines.json").read_text())
    (profile,) = report["profiles"]
    methods = profile["methods"]
    assert list(methods) == list(METHODS)
    same = methods["search"]["evaluations"]
    assert 6 <= same <= 15
    assert methods["random"]["evaluations"] == methods["genetic"]["evaluations"] == same
    assert methods["genetic_study"]["evaluations"] == 30
    ours = methods["search"]["calibration_loss"]
    for name in set(methods) - EXTRA_HARDWARE - {"search"}:
        assert ours <= methods[name]["calibration_loss"]
    assert methods["fap"]["calibration_loss"] < methods["plain"]["calibration_loss"]
    # the plain order and the assignment are among what its search starts from
    for name in ("fap", "fap_assignment"):
        assert methods["fap_search"]["calibration_loss"] <= methods[name]["calibration_loss"]


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="numba has one thread only")
def test_the_same_seed_gives_the_same_bytes_with_two_workers(studied: Path, tmp_path: Path) -> None:
    small_study(tmp_path / "two", 2)
    for name in FILES:
        assert (tmp_path / "two" / name).read_bytes() == (studied / name).read_bytes()
    path = Path("seed-1", "steps", "schedule.npz")
    one, two = (records.decode((out / path).read_bytes()) for out in (studied, tmp_path / "two"))
    assert to_json(one.schedule) == to_json(two.schedule)
    assert one.loss == two.loss


def test_a_profile_that_is_done_is_read_back(
    studied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "again"
    shutil.copytree(studied, out)
    before = {name: (out / name).read_bytes() for name in (*FILES, "times.json")}
    for name in before:
        (out / name).unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(baselines, "_judge_all")
        small_study(out, 1)
    # the times, too: nothing was computed again
    assert {name: (out / name).read_bytes() for name in before} == before
    assert "seed 1: healthy " in capsys.readouterr().err


# -------------------------------------------------------------------------------- statistics


def outcome(loss: float, correct: int) -> Outcome:
    return Outcome(100, 1.5, loss, correct, loss, correct)


def result(search: list[int], genetic: list[int]) -> BaselinesResult:
    """Profiles with 100 held-out images, 99 of them right when healthy."""
    rows = []
    for seed, (ours, theirs) in enumerate(zip(search, genetic, strict=True), 1):
        each = dict.fromkeys(METHODS, outcome(2.0, 40))
        each |= {
            "search": outcome((100 - ours) / 100, ours),
            "genetic": outcome((100 - theirs) / 100, theirs),
        }
        rows.append(ProfileRow(seed, outcome(0.01, 99), each, ()))
    return BaselinesResult("net", 200, 100, 4, 16, tuple(rows))


def test_means_intervals_and_recovery_by_hand() -> None:
    one = baselines_report.summarise(result([98, 96, 97], [90, 90, 90]), "search")
    assert one.accuracy == pytest.approx(97.0)
    # t(0.975, 2) = 4.302653, deviation 1, 3 profiles
    assert one.accuracy_ci95 == pytest.approx((97 - 4.302653 / 3**0.5, 97 + 4.302653 / 3**0.5))
    assert one.least_accuracy == 96.0
    assert one.recovery == pytest.approx((97 - 40) / (99 - 40))
    assert one.seconds == 1.5


def test_the_paired_test_sees_a_win_and_no_win() -> None:
    # eight wins of different size and no tie: p = 2 / 2^8 exactly
    ours, theirs = [98] * 8, [97, 96, 95, 94, 93, 92, 91, 90]
    won = baselines_report.against(result(ours, theirs), "genetic")
    assert won.accuracy_p == pytest.approx(2 / 2**8)
    assert won.accuracy_won == pytest.approx(4.5)
    assert won.loss_won == pytest.approx(0.045)
    assert (won.calibration_no_worse, won.profiles) == (8, 8)
    lost = baselines_report.against(result(theirs, ours), "genetic")
    assert lost.accuracy_won == pytest.approx(-4.5)
    assert lost.calibration_no_worse == 0
    assert baselines_report.paired_p(np.zeros(5)) == 1.0


def test_the_words_and_the_figure() -> None:
    made = result([98, 96, 97], [90, 91, 99])
    text = baselines_report.markdown(made).decode()
    assert "4 of 16 PEs faulty, 3 profiles" in text
    assert "calibration loss no higher on 2 of 3 profiles" in text
    assert baselines_report.TEST in text
    assert text.count("\n| ") == 1 + len(METHODS)
    picture = baselines_report.figure(made)
    assert picture.startswith(b"\x89PNG") and picture == baselines_report.figure(made)
    stopped = replace(made.rows[0], notes=("Stopped early: the time limit",))
    text = "\n".join(baselines_report.sentences(replace(made, rows=(stopped,))))
    assert "not repeatable: seeds [1]" in text
