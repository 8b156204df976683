"""Every fault of the array contract in Icarus, faults loaded at run time."""

from __future__ import annotations

from pathlib import Path

import pytest

from hascodesign.resources import share
from hascodesign.types import BuildPlan, Dataflow
from tests.fault_cases import Build, Small, shrunk, simulate


@pytest.mark.parametrize("dataflow", ["os", "ws"])
def test_every_single_fault_on_the_small_array(tmp_path: Path, dataflow: Dataflow) -> None:
    """Every site, bit and kind of a 2 x 2 array of 3-bit operands, transient at p = 0.5."""
    build = Small(1, 4, dataflow)  # number 4: two register stages
    cases = list(build.every_fault())
    assert len({case.profile.faults for case in cases}) == {"os": 820, "ws": 1080}[dataflow]
    outcome = simulate(build, cases, tmp_path, "icarus")
    assert outcome.wrong == {}
    assert outcome.compared > 6 * len(cases)


def test_random_faults_on_one_shape_of_each_dataflow(tmp_path: Path) -> None:
    for number in (0, 1):
        build = Build(0, number)
        cases = [build.case(n) for n in range(30)]
        assert simulate(build, cases, tmp_path, "icarus").wrong == {}


@pytest.mark.slow
@pytest.mark.parametrize("number", range(8))
def test_random_faults_on_many_shapes(tmp_path: Path, number: int) -> None:
    build = Build(0, number)
    cases = [build.case(n) for n in range(63)]
    assert simulate(build, cases, tmp_path, "icarus").wrong == {}


BROKEN = {
    "hash": ("has_transient.v", "32'h846ca68b", "32'h846ca68d"),
    "address": ("has_array.v", "word_base + at_pass * all_steps", "word_base"),
    "late": ("has_pe_ws.v", ".DEPTH(LATENCY)", ".DEPTH(LATENCY + 1)"),
    "not carried": ("has_pe_array_ws.v", "g_pe[p-1].act_met,", "g_pe[p-1].act_in,"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_array_is_found_and_the_case_shrinks(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, right, wrong = BROKEN[name]
    build = Build(0, 5)
    draws = (share("rtl_templates") / "has_transient.v").read_bytes()
    files = {**build.plan().files, "rtl/has_transient.v": draws}
    assert right.encode() in files[f"rtl/{file}"]
    files[f"rtl/{file}"] = files[f"rtl/{file}"].replace(right.encode(), wrong.encode())
    monkeypatch.setattr(Build, "plan", lambda _build: BuildPlan(files))
    cases = {case.name: case for case in (build.case(n) for n in range(24))}
    found = simulate(build, list(cases.values()), tmp_path, "icarus").wrong
    assert found
    if name == "hash":  # one is enough
        least = shrunk(build, cases[sorted(found)[0]], tmp_path, "icarus")
        acting = [fault for fault in least.profile.faults if fault.kind != "transient" or fault.p]
        assert len(acting) == 1
