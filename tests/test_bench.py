"""The bench: what it compares with what, on small sizes; no time is asserted."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hascodesign.bench import growth, memory, passes, peers, plot, result, run, subject, timing
from hascodesign.bench.machine import describe
from hascodesign.bench.result import BenchResult, Line, Point
from hascodesign.bench.timing import Spread
from hascodesign.cli.main import app
from hascodesign.common.display import silent
from hascodesign.contract.arithmetic import walk
from hascodesign.contract.errors import ConfigError, StepFailed
from hascodesign.faults.profile import check

CLEAN = Spread.of([0.1, 0.2, 0.3])


def a_result(**changes):
    made = BenchResult(
        describe(), "bench", "mnist-cnn", 1000, "random", 3, CLEAN,
        (Line("passes", "healthy", share=0, seconds=CLEAN, ratio=CLEAN, target=1.2),),
        (Point("images", 64, CLEAN, CLEAN, True), Point("images", 128, CLEAN, CLEAN, True)),
    )  # fmt: skip
    return replace(made, **changes)


def test_spread_has_the_quartiles():
    spread = Spread.of([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (spread.median, spread.low, spread.high, spread.least, spread.n) == (3, 2, 4, 1, 5)
    assert spread.scaled(10).high == 40 and spread.scaled(10).n == 5


def test_work_and_reference_take_turns(monkeypatch):
    """Each ratio is to the mean of the reference runs just before and after."""
    now, cpu = [0.0], [0.0]
    taken = {"reference": iter([9, 1, 3, 2, 4]), "work": iter([9, 4, 5, 9])}
    order = []

    def step(name):
        order.append(name)
        now[0] += (seconds := next(taken[name]))
        cpu[0] += seconds * (3 if name == "work" else 1)

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(timing.time, "process_time", lambda: cpu[0])
    compared = timing.compare(lambda: step("reference"), lambda: step("work"), 3)
    assert order[2:] == ["reference", *["work", "reference"] * 3]
    # 4 / 2, 5 / 2.5, 9 / 3
    assert (compared.ratio.median, compared.ratio.high) == (2.0, 2.5)
    assert compared.ratio.least == 4 / 1 and compared.ratio.n == 3
    assert compared.cpu_ratio.median == 3 * 2.0
    assert compared.seconds.median == 5 and compared.reference.median == 2.5


def test_cases_cover_every_site_and_share():
    cases = passes.cases()
    assert {case.site for case in cases} == {"weight", "wmem", "act", "product", "psum", "acc"}
    assert len({(case.name, case.share, case.everywhere) for case in cases}) == len(cases)
    for case in cases:
        profile = case.profile()
        check(profile, words=100)
        faulty = {fault.pe for fault in profile.faults}
        assert len(faulty) == case.share * profile.array.pe // 100
        each = profile.array.simd if case.everywhere else 1
        assert len(profile.faults) == each * len(faulty)
        assert not (case.at_foot and case.everywhere)
    wanted = [case for case in cases if case.target is not None]
    assert {case.name for case in wanted if case.share == 25} == {
        "weight (os)", "wmem (os)", "act (os)", "product (os)", "psum (os)", "transient psum (os)",
    }  # fmt: skip


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return subject.make_subject("digits-cnn", 20, tmp_path_factory.mktemp("cache"), silent)


def test_clean_network_has_the_shapes_of_the_integer_one(digits):
    """Conv, pool and dense layers in the same order give maps of the same size."""
    sizes = []
    for part in digits.clean:
        if isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
            part.register_forward_hook(lambda _m, _i, out: sizes.append(out[0].numel()))
    assert digits.clean_forward().shape == (20, 10)

    def accumulate(layer, activations):
        return np.zeros((layer.rows, activations.shape[1]), dtype=np.int64)

    traces = list(walk(digits.network, digits.codes[:1], accumulate))
    assert sizes == [trace.acc.size for trace in traces]


def test_random_weights_do_without_data(monkeypatch, tmp_path):
    monkeypatch.delenv("HASCODESIGN_DATA", raising=False)
    made = subject.make_subject("mnist-mlp", 12, tmp_path, silent)
    assert made.source == "random weights and images"
    assert made.codes.shape == (12, 28, 28, 1) and made.codes.max() > 200
    # the settled scales spread the activations: thresholds are not all on one side
    again = subject.make_subject("mnist-mlp", 12, tmp_path, silent)
    for one, other in zip(made.network.layers, again.network.layers, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)
    with torch.inference_mode():
        assert made.brevitas(made.pixels).shape == (12, 10)


def test_missing_pytorchfi_is_one_line(digits, monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda _name: None)
    told = []
    lines = peers.peers(digits, 1, told.append)
    assert lines == told and len(lines) == 2
    assert "pip install --no-deps pytorchfi" in lines[1].note and lines[1].ratio is None


def test_pytorchfi_changes_the_chosen_neurons(digits):
    pytest.importorskip("pytorchfi")
    layers = len(digits.network.layers)
    clean = digits.clean_forward()
    one = peers._injected(digits, 1)()
    assert (one != clean).any(dim=1).sum() <= 1
    every = peers._injected(digits, digits.batch * layers)
    assert (every() != clean).any(dim=1).all()
    assert torch.equal(every(), every())


def test_parts_of_an_earlier_run_are_kept(tmp_path):
    path = tmp_path / "bench.json"
    earlier = a_result()
    path.write_bytes(earlier.to_json())
    peer = (Line("peers", "Brevitas forward", ratio=CLEAN),)
    joined = run.with_earlier(a_result(lines=peer, points=()), path)
    assert joined.lines == (*earlier.lines, *peer) and joined.points == earlier.points
    newer = a_result(lines=(replace(earlier.lines[0], target=9.0),))
    assert run.with_earlier(newer, path).lines == newer.lines
    other = a_result(lines=peer, images=7)
    assert run.with_earlier(other, path) == other
    path.write_text("{}")
    assert run.with_earlier(other, path) == other


def test_tables_and_verdicts():
    slow = Line(
        "passes", "act (os)", 25, "one", CLEAN, CLEAN.scaled(20), CLEAN.scaled(5), CLEAN, target=2.0
    )
    fast = Line("memory", "flow", value=1.5, unit="GB", target=2.0)
    text = result.markdown(a_result(lines=(slow, fast)))
    assert (
        "| act (os) | 25 % | one | 200 ms | 4.00 | 3.00-5.00 | 2.00 | 1.00 | 0.20 | 2 | missed |"
        in text
    )
    assert "| flow | 1.5 GB | 2 | reached |" in text
    assert slow.met is False and fast.met is True and replace(fast, target=None).met is None
    assert plot.figure(a_result(lines=(slow, fast))).startswith(b"\x89PNG")


def test_quick_bench_runs(tmp_path):
    arguments = ["bench", "--quick", "--out", str(tmp_path)]
    parts = [f"--part={part}" for part in ("passes", "peers", "growth", "rtl")]
    done = CliRunner().invoke(app, [*arguments, *parts])
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "bench.json").read_bytes())
    groups = {line["group"] for line in told["lines"]}
    assert groups == {"passes", "peers", "growth", "rtl"}
    assert all(line["ratio"] for line in told["lines"] if line["group"] == "passes")
    assert told["machine"]["processor"] and told["machine"]["packages"]["torch"]
    assert told["network"] == "digits-cnn" and len(told["points"]) == 2
    assert all(line["target"] is None for line in told["lines"])
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert "healthy" in (tmp_path / "bench.md").read_text()


def test_quick_search_and_memory(digits, tmp_path, monkeypatch):
    peaks = iter([200e6, 300e6])
    monkeypatch.setattr(memory, "_peak", lambda _arguments: next(peaks))
    options = run.quick(run.Options(parts=("search", "memory")))
    found = run.run(options, tmp_path, tmp_path)
    names = [line.name for line in found.lines]
    assert names[0].startswith("candidate map") and "assignment of 512 rows" in names[3]
    assert found.lines[0].note == "24 evaluations" and "34 of 50" in names[0]
    assert found.lines[-1].value == 1.5 and found.lines[-1].note == "200 MB and 300 MB"


def test_peak_is_the_childs():
    """Of the child, not of this process: it takes 64 MB more where it holds 64 MB more."""
    script = (
        "x = bytearray({} << 20)\nx[::4096] = b'1' * len(x[::4096])\nimport time; time.sleep(0.3)"
    )
    small, large = (memory._peak(["-c", script.format(size)]) for size in (1, 65))
    assert 60e6 < large - small < 75e6
    with pytest.raises(StepFailed, match="ValueError: no"):
        memory._peak(["-c", "raise ValueError('no')"])


@pytest.mark.parametrize("generations", [1, 3])
def test_search_of_a_child_process(generations, monkeypatch, tmp_path):
    """So many generations of 24 maps, on so many images."""
    seen = []
    monkeypatch.setattr(memory.platformdirs, "user_cache_dir", lambda _name: str(tmp_path))
    real = memory.genetic.evolve

    def evolve(fitness, *arguments):
        *others, after = arguments
        real(fitness, *others, lambda loss: (after(loss), seen.append(fitness.evaluations)))

    monkeypatch.setattr(memory.genetic, "evolve", evolve)
    memory.main(["digits-cnn", "20", str(generations)])
    assert len(seen) == generations + 1
    assert seen[0] == 24 and seen[-1] > 24


@pytest.mark.parametrize("change", [{"parts": ("speed",)}, {"repeats": 0}, {"images": -1}])
def test_bad_options_are_refused(change):
    with pytest.raises(ConfigError):
        run.Options(**change)


def test_a_straight_line_may_start_above_zero() -> None:
    sizes = [1.0, 2.0, 4.0]
    off, start = growth.straight(sizes, [3.0, 4.0, 6.0])
    assert (off, start) == (pytest.approx(1.0), pytest.approx(2.0))
    off, _ = growth.straight(sizes, [1.0, 4.0, 16.0])  # twice as large, four times as long
    assert off > 1.2
