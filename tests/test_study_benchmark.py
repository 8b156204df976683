"""`study benchmark`: repeatable, taken up again, its statistics, what others add."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from hascodesign.cli.main import app
from hascodesign.cli.options import cache
from hascodesign.contract.array import identity_schedule
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, Split
from hascodesign.engine.network import Evaluator
from hascodesign.flow.config import board_config, load_config
from hascodesign.flow.flow import Flow
from hascodesign.flow.request import Request
from hascodesign.schedule.problem import Problem
from hascodesign.schedule.space import make_space
from hascodesign.study import benchmark, benchmark_report, methods
from hascodesign.study.benchmark import Benchmark, ChipRow, Outcome
from hascodesign.study.chips import FEW, KINDS
from hascodesign.study.methods import METHODS, SEARCH
from tests import core_cases

SMALL = {
    "board": "pynq-z2", "schedule.evaluations": 6, "schedule.generations": 1,
    "schedule.random_maps": 1,
}  # fmt: skip
QUICK = ("plain", "rule", "zeroed", "words", SEARCH)
judged_by = Flow.evaluator


def few_images(flow: Flow, split: Split, *arguments: Any) -> Any:
    return judged_by(flow, Split(split.images[:150], split.labels[:150]), *arguments)


def study(out: Path, names: tuple[str, ...], kinds: tuple[str, ...] = ("8x1",)) -> Benchmark:
    request = Request(config=load_config(board_config("pynq-z2"), SMALL), out=out, cache=cache())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flow, "evaluator", few_images)
        patch.setattr(methods, "STUDY_EVALUATIONS", 5)
        made = benchmark.run(request, kinds, names, [3])
    benchmark_report.write(made, out)
    return made


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Benchmark]:
    out = tmp_path_factory.mktemp("benchmark")
    return out, study(out, tuple(METHODS))


def test_every_method_is_judged(studied: tuple[Path, Benchmark]) -> None:
    out, made = studied
    (row,) = made.rows
    assert tuple(row.outcomes) == made.methods == tuple(METHODS)
    assert row.faults == 8
    lost = {name: made.healthy - one.correct for name, one in row.outcomes.items()}
    assert lost["plain"] > 50  # of 150: there is something to win
    assert max(lost[SEARCH], lost["written"], lost["fap-assignment"]) < 10
    assert lost["words"] > lost["written"]  # the moves are not all taken
    assert row.outcomes["has"].evaluations == row.outcomes["random"].evaluations == 5
    assert row.outcomes[SEARCH].calibration_loss <= row.outcomes["plain"].calibration_loss
    document = json.loads((out / "benchmark.json").read_bytes())
    assert document["chips"][0]["methods"][SEARCH]["correct"] == row.outcomes[SEARCH].correct
    assert "seconds" not in document["chips"][0]["methods"][SEARCH]


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="numba has one thread only")
def test_the_same_bytes_with_two_threads(tmp_path: Path) -> None:
    before = numba.get_num_threads()
    made = []
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            out = tmp_path / str(threads)
            study(out, QUICK)
            made.append([(out / f"benchmark.{end}").read_bytes() for end in ("json", "png")])
    finally:
        numba.set_num_threads(before)
    assert made[0] == made[1]


def test_what_is_kept_is_read_back_and_added_to(
    studied: tuple[Path, Benchmark], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, made = studied
    asked: list[str] = []

    def judge(_flow: Flow, name: str) -> Outcome:
        asked.append(name)
        return Outcome(1, 1.0, 1.0, 0, 0.0)

    monkeypatch.setattr(benchmark, "_outcome", judge)
    assert study(out, tuple(METHODS)).rows == made.rows  # the times, too
    assert asked == []
    (path,) = (out / "chips").rglob("*.json")
    kept = json.loads(path.read_bytes())
    del kept["outcomes"]["rule"]
    path.write_text(json.dumps(kept))
    again = study(out, tuple(METHODS)).rows[0].outcomes
    assert asked == ["rule"] and again["rule"].correct == 1
    assert again["plain"] == made.rows[0].outcomes["plain"]
    path.write_bytes(b"{")
    study(out, ("plain", "rule"))
    assert asked == ["rule", "plain", "rule"]
    other = replace(KINDS["8x1"], draw=KINDS["16x1"].draw)
    monkeypatch.setattr(benchmark, "KINDS", {"8x1": other})  # another chip by the same name
    study(out, ("plain",))
    assert asked == ["rule", "plain", "rule", "plain"]


def test_the_kinds_are_what_they_say() -> None:
    array = ArraySpec(16, 8, 4, 8, 24)
    for name, (faulty, each) in {
        "4x1": (4, 1), "8x1": (8, 1), "16x1": (16, 1), "16x3": (16, 3), "16x6": (16, 6),
        "sums": (8, 1),
    }.items():  # fmt: skip
        profile = KINDS[name].draw(array, 5, None)
        count = np.bincount([fault.pe for fault in profile.faults], minlength=16)
        assert sorted(count.tolist()) == [0] * (16 - faulty) + [each] * faulty
        sites = {fault.site for fault in profile.faults}
        assert sites == {"psum"} if name == "sums" else sites <= {"product", "psum"}
        half = {"product": 12 // 2, "psum": 24 // 2}
        assert all((fault.bit or 0) >= half[str(fault.site)] for fault in profile.faults)
    clustered = KINDS["clustered"].draw(array, 5, None)
    assert len(clustered.faults) == 24 and len({fault.pe for fault in clustered.faults}) <= 10
    with pytest.raises(ConfigError, match="measured must have the measured list"):
        KINDS["measured"].draw(array, 1, None)
    assert set(FEW) < set(KINDS)


def test_zeroed_words_are_those_of_faulty_multipliers() -> None:
    rng = np.random.default_rng(3)
    spec = ArraySpec(2, 2, 4, 4, 20)
    net = core_cases.random_network(rng, spec, (3, 3, 2), [(4, 3, 1, 0)], pool=False, classes=3)
    profile = FaultProfile(spec, (Fault(1, "sa1", site="product", simd=0, bit=5),))
    codes = core_cases.images(rng, net, 4)
    problem = Problem.of(
        Evaluator(net, profile, codes, np.zeros(4, dtype=np.int64)), make_space(net, profile)
    )
    zeroed = methods.zeroed(problem, identity_schedule(net, spec))
    for before, after in zip(net.layers, zeroed.layers, strict=True):
        expected = before.weights.copy()
        expected[1::2, 0::2] = 0  # odd rows stand on PE 1; even K meet multiplier 0
        np.testing.assert_array_equal(after.weights, expected)
        assert (expected != before.weights).any()


# -------------------------------------------------------------------------------- statistics


def chips(ours: list[int], theirs: list[int]) -> Benchmark:
    """Chips of one kind with 100 held-out images, 99 of them right when healthy."""
    rows = tuple(
        ChipRow("8x1", seed, f"{seed:064x}", 8, {
            "plain": Outcome(b, 1.0, 1.0, 0, 2.0), SEARCH: Outcome(a, 0.1, 0.1, 96, 1.5),
        })
        for seed, (a, b) in enumerate(zip(ours, theirs, strict=True), 1)
    )  # fmt: skip
    return Benchmark("net", "a" * 64, 200, 100, 99, rows, {})


def test_means_intervals_and_the_paired_test_by_hand() -> None:
    one = benchmark_report.summarise(chips([98, 96, 97], [90, 90, 90]), "8x1", SEARCH)
    assert one.lost == pytest.approx(2.0)
    # t(0.975, 2) = 4.302653, deviation 1, 3 chips
    assert one.lost_ci95 == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert (one.lost_most, one.lost_of_19_in_20, one.seconds) == (3.0, 3.0, 1.5)
    # eight wins of different size and no tie: p = 2 / 2^8 exactly
    made = chips([98] * 8, [97, 96, 95, 94, 93, 92, 91, 90])
    plain = benchmark_report.summarise(made, "8x1", "plain")
    assert plain.behind == pytest.approx(4.5) and plain.behind_p == pytest.approx(2 / 2**8)
    assert benchmark_report.paired_p(np.zeros(5)) == 1.0
    text = benchmark_report.markdown(made).decode()
    assert "8 chips, seeds 1 to 8" in text and "-4.50 (p = 0.0078)" in text
    picture = benchmark_report.figure(made)
    assert picture.startswith(b"\x89PNG") and picture == benchmark_report.figure(made)


# ------------------------------------------------------------------------------ others' results


def theirs(made: Benchmark, **change: Any) -> dict[str, Any]:
    document = json.loads(benchmark_report.to_json(made)) | change
    for chip in document["chips"]:
        chip["methods"] = {"retrained": chip["methods"][SEARCH] | {"correct": 95}}
    return dict(document)


def test_methods_of_others_stand_beside_ours(tmp_path: Path) -> None:
    made = chips([98, 96], [90, 91])
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(theirs(made)))
    both = benchmark_report.add(made, path)
    assert both.methods == ("plain", SEARCH, "retrained")
    assert benchmark_report.summarise(both, "8x1", "retrained").lost == pytest.approx(4.0)
    assert "retrained (" in benchmark_report.markdown(both).decode()
    with pytest.raises(ConfigError, match="not here yet, not retrained"):
        benchmark_report.add(both, path)


def _chip(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], None]:
    return lambda document: (change(document["chips"][-1]), None)[1]


WRONG: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "network": (lambda d: d.update(network_sha256="b" * 64), "network_sha256 must be aaa"),
    "images": (lambda d: d.update(heldout_images=50), "heldout_images must be 100"),
    "healthy": (lambda d: d.update(healthy_correct=98), "healthy_correct must be 99"),
    "chip": (_chip(lambda c: c.update(profile_sha256="c" * 64)), "it is another chip"),
    "missing": (lambda d: d["chips"].pop(), "must hold the chip 8x1, seed 2"),
    "method": (_chip(lambda c: c.update(methods={"o": c["methods"]["retrained"]})), "retrained"),
    "correct": (_chip(lambda c: c["methods"]["retrained"].update(correct=101)), "at most 100"),
    "schema": (_chip(lambda c: c["methods"]["retrained"].update(more=1)), "benchmark.schema.json"),
    "name": (_chip(lambda c: c["methods"].update({"a\nb": 1})), "benchmark.schema.json"),
}


@pytest.mark.parametrize("name", WRONG)
def test_results_that_do_not_fit_are_refused(name: str, tmp_path: Path) -> None:
    made = chips([98, 96], [90, 91])
    document = theirs(made)
    WRONG[name][0](document)
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match=WRONG[name][1]) as refused:
        benchmark_report.add(made, path)
    assert "\n" not in str(refused.value) and "theirs.json" in str(refused.value)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "theirs.json"
    path.write_bytes(b"{")
    with pytest.raises(ConfigError, match="must be JSON"):
        benchmark_report.add(chips([98], [90]), path)


def test_what_is_to_be_added_is_read_before_the_study(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(benchmark, "run", None)
    for options, words in (
        (["--add", str(tmp_path / "none.json")], "must be readable"),
        (["--kinds", "8x1,9x9"], "not '9x9'"),
        (["--methods", "all,x"], "not 'all'"),
    ):
        with pytest.raises(ConfigError, match=words):
            app(["study", "benchmark", "--out", str(tmp_path), *options], standalone_mode=False)
    assert not any(tmp_path.iterdir())
