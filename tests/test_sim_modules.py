"""Benches of single modules, at sizes and with options that the mutated designs do not have."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hascodesign.common.shipped import share
from hascodesign.contract.types import ArraySpec, Dataflow, Schedule
from hascodesign.render.rtl import RtlOptions
from tests import rtl_cases

CASES = {
    "conv_walk": {"RUNS": 2, "SIMD": 8, "LANE_BITS": 3, "ELEMENT_BITS": 12, "SIDE_BITS": 5},
    "gather": {"RUNS": 2, "BANKS": 16, "BANK_BITS": 4, "WORD_BITS": 6, "CODE_BITS": 3},
    "pool_place": {"COLUMN_BITS": 7, "ELEMENT_BITS": 8, "SIDE_BITS": 4},
    "pool_merge": {"BANKS": 4, "CODE_BITS": 3, "WORD_BITS": 2},
    "results": {"LANES": 4, "BANKS": 4, "BANK_BITS": 2},
    "drain": {"PE": 1, "OTHERS": 3, "PE_BITS": 1},
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
