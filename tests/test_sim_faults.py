"""Every fault of the array contract in Icarus, faults loaded at run time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hascodesign.common.shipped import share
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.types import Dataflow
from tests import regress_faults
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
    "not carried": ("has_pe_array.v", "g_pe[p-1].act_met,", "g_pe[p-1].act_in,"),
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
    if name != "hash":  # one is enough
        return
    least = shrunk(build, cases[sorted(found)[0]], tmp_path, "icarus")
    acting = [fault for fault in least.profile.faults if fault.kind != "transient" or fault.p]
    assert len(acting) == 1
    # the regression says the same in one line, the command that repeats the case
    number = int(sorted(found)[0].removeprefix("case_"))
    options = regress_faults.Options(0, 24, number, "icarus")
    result = regress_faults.run_shape(options, tmp_path / "library", 5)
    assert result["cases"] == result["differ"] == 1
    (line,) = result["lines"]
    assert line.startswith(
        "python -m tests.regress_faults --seed 0 --first 5 --shapes 1 "
        f"--case {number} --simulator icarus  # ArraySpec("
    )
    assert line.count("Fault(") == 1 and repr(acting[0]) in line


def noted(_options: regress_faults.Options, _library: Path, number: int) -> dict[str, object]:
    """A shape's result without a simulator; leaves a mark of each call."""
    folder = Path(os.environ["REGRESS_MARKS"])
    (folder / f"{number}.{len(list(folder.iterdir()))}").touch()
    total = {"cases": 2, "faults": 5, "integers": 10, "differ": int(number == 2)}
    key = regress_faults.key(_options, number)
    return {"key": key, "shape": {}, "lines": [], "seconds": 0.0, **total}


def test_a_stopped_regression_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "marks").mkdir()
    monkeypatch.setenv("REGRESS_MARKS", str(tmp_path / "marks"))
    monkeypatch.setattr(regress_faults, "run_shape", noted)
    options, record = regress_faults.Options(0, 2, None, "icarus"), tmp_path / "record.jsonl"

    def run(numbers: range, chosen: regress_faults.Options = options) -> list[str]:
        before = set((tmp_path / "marks").iterdir())
        assert len(list(regress_faults.results(chosen, numbers, 2, record))) == len(numbers)
        made = set((tmp_path / "marks").iterdir()) - before
        return sorted(path.name.partition(".")[0] for path in made)

    assert run(range(3)) == ["0", "1", "2"]
    with record.open("a") as file:
        file.write('{"key": ["cut sho')
    assert run(range(4)) == ["2", "3"]  # 2 went wrong: it is never taken for done
    assert run(range(2), regress_faults.Options(0, 3, None, "icarus")) == ["0", "1"]
