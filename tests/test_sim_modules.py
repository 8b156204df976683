"""Benches of single modules, at sizes and with options that the mutated designs do not have."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hascodesign.common.shipped import share
from hascodesign.contract.registers import present
from hascodesign.contract.types import ArraySpec, Dataflow, Schedule
from hascodesign.render.rtl import RtlOptions, environment
from tests import rtl_cases

CASES = {
    "conv_walk": {"RUNS": 2, "SIMD": 8, "LANE_BITS": 3, "ELEMENT_BITS": 12, "SIDE_BITS": 5},
    "gather": {"RUNS": 2, "BANKS": 16, "BANK_BITS": 4, "WORD_BITS": 6, "CODE_BITS": 3},
    "pool_place": {"COLUMN_BITS": 7, "ELEMENT_BITS": 8, "SIDE_BITS": 4},
    "pool_merge": {"BANKS": 4, "CODE_BITS": 3, "WORD_BITS": 2},
    "results": {"LANES": 4, "BANKS": 4, "BANK_BITS": 2},
    "drain": {"PE": 1, "OTHERS": 3, "PE_BITS": 2},
    "logits": {"CLASSES": 5, "CLASS_BITS": 3},
    "packet": {},
    "scatter": {"SIMD": 4, "LANE_BITS": 2, "BANKS": 8, "BANK_BITS": 3},
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_module_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "rtl").mkdir()
    for source in share("rtl_templates").rglob("*.v"):
        shutil.copyfile(source, tmp_path / "rtl" / source.name)
    command = [sys.executable, str(share("sim", "run_bench.py")), "--top", f"has_{name}"]
    command += ["--rtl", str(tmp_path / "rtl"), "--work", str(tmp_path / "run")]
    command += ["--bench", f"{name}_tests"]
    for key, value in CASES[name].items():
        command += ["--parameter", f"{key}={value}"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, (run.stdout + run.stderr)[-4000:]


@pytest.mark.parametrize("batch", [1, 5])
def test_the_registers(tmp_path: Path, batch: int) -> None:
    """All of the map on both sides: what each access does, answers, and when."""
    registers = environment(share("rtl_templates", "core")).get_template("has_registers.v.j2")
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl" / "has_registers.v").write_text(
        registers.render(registers=present(batch=batch > 1, watch=False), batch=batch, watch=False)
    )
    sizes = {"STAGES": 3, "STAGE_BITS": 2, "MEMORIES": 6, "MEMORY_BITS": 4, "VALUE_BITS": 72}
    sizes |= {"VALUE_WORDS": 3, "PLACE_BITS": 2, "LANES": 4, "LANE_BITS": 2, "FETCH_CYCLES": 9}
    sizes |= {"TEST": 1, "MOST_STEPS": 11, "MOST_PASSES": 4, "STEP_BITS": 4, "PASS_BITS": 2}
    sizes |= {"BASE_BITS": 4}
    if batch > 1:
        sizes |= {"MOST_IMAGES": batch, "IMAGE_BITS": 3}
    depths = sum(words << 32 * i for i, words in enumerate((9, 16, 1, 0, 5, 12)))
    command = [sys.executable, str(share("sim", "run_bench.py")), "--top", "has_registers"]
    command += ["--rtl", str(tmp_path / "rtl"), "--work", str(tmp_path / "run")]
    command += ["--bench", "registers_tests", "--parameter", f"DEPTHS=192'd{depths}"]
    for key, value in sizes.items():
        command += ["--parameter", f"{key}={value}"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, (run.stdout + run.stderr)[-4000:]


@pytest.mark.parametrize("dataflow", ["os", "ws"])
def test_the_masks_of_a_profile(tmp_path: Path, dataflow: Dataflow) -> None:
    """Every PE's, with words of the bank and transients, against the reference."""
    rng = np.random.default_rng(3)
    spec = ArraySpec(3, 2, 3, 4, 14, dataflow)
    profile = rtl_cases.any_profile(rng, spec, 60, 50)
    kinds = {(fault.site, fault.kind == "transient") for fault in profile.faults}
    assert {(site, which) for site in spec.sites for which in (False, True)} <= kinds
    net = rtl_cases.network([rtl_cases.layer(rng, spec, 0, 3, 5)])
    schedule = Schedule(spec, (rtl_cases.random_map(rng, net.layers[0], spec.pe),))
    plan = rtl_cases.build(net, schedule, profile, RtlOptions())
    rtl_cases.write_masks(tmp_path / "vectors", profile, rng)
    for pe in range(spec.pe):
        run = rtl_cases.run_bench(
            plan, tmp_path, "--bench", "fault_masks_tests", "--top", "has_fault_masks",
            "--parameter", f"PE={pe}",
        )  # fmt: skip
        assert run.returncode == 0, (run.stdout + run.stderr)[-4000:]
