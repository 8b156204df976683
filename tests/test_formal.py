"""The proofs of the Verilog's manners hold, and each of them fails on broken designs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from hascodesign.common.shipped import share
from hascodesign.contract.types import ArraySpec, FaultProfile
from hascodesign.verify import simulate
from tests import core_cases

FOLDER = share("sim", "formal")
spec = spec_from_file_location("proofs", FOLDER / "proofs.py")
assert spec is not None and spec.loader is not None
proofs = module_from_spec(spec)
sys.modules["proofs"] = proofs
spec.loader.exec_module(proofs)

# `make formal` has all; these end in about a minute together
BROKEN = 8  # designs of each proof
SLOW = ("results", "multiplier_pair", "multiplier_pair_apart", "restart_batch")
QUICK = [proof for proof in proofs.PROOFS if proof.name not in SLOW]


def tools() -> None:
    """Skip where a tool is missing; never in CI."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    lacking = [n for n in ("yosys", "yosys-smtbmc", "z3") if shutil.which(n, path=path) is None]
    if lacking and not os.environ.get("CI"):
        pytest.skip(
            f"{', '.join(lacking)} missing: sh flows/install_tools.sh, pip install '.[dev]'"
        )
    assert not lacking


def run(work: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "prove.py"), "--work", str(work), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("proof", QUICK, ids=lambda proof: proof.name)
def test_a_proof_holds_and_fails_where_it_must(tmp_path: Path, proof) -> None:
    """Base, induction, every cover statement; then each broken design, found by an assertion."""
    tools()
    done = run(tmp_path, "--only", proof.name, "--most", str(BROKEN))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(": ")[1].split(",")[0] for line in lines[:3]] == [
        "base", "induction", "cover",
    ]  # fmt: skip
    assert len(lines) == 3 + len(proof.broken[:BROKEN])
    assert all("Assert failed" in line for line in lines[3:])


def test_every_design_has_a_proof_and_every_proof_a_broken_design() -> None:
    wrappers = {path.stem for path in FOLDER.glob("formal_*.v")}
    assert wrappers == {proof.top for proof in proofs.PROOFS}
    assert wrappers == {proof.top for proof in proofs.PROOFS if proof.broken}
    for proof in proofs.PROOFS:
        text = (FOLDER / f"{proof.top}.v").read_text()
        assert "assert (" in text and "cover (" in text


def test_a_missing_solver_is_told(tmp_path: Path) -> None:
    python = tmp_path / "python"  # beside which there is no z3
    python.symlink_to(sys.executable)
    command = [str(python), str(FOLDER / "prove.py"), "--work", str(tmp_path / "work")]
    env = {"PATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 3
    assert "z3 is missing: pip install z3-solver" in done.stderr
    assert not (tmp_path / "work").exists()


FLOPS = ":-$dff,$dffe,$sdff,$sdffe,$sdffce"


def from_valids(build: Path, ready: str) -> int:
    """How many valid inputs a ready output depends on within one cycle."""
    script = (
        f"read_verilog -defer {build}/rtl/*.v; hierarchy -top has_core; proc; flatten; "
        f"select -assert-count 1 o:{ready}; "
        f"select -count o:{ready} %ci*{FLOPS} i:*valid %i"
    )
    command = ["yosys", "-p", script]
    roms = build / "roms"  # where $readmemh looks
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=roms)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.rsplit(" objects.", 1)[0].rsplit(maxsplit=1)[-1])


def test_no_ready_of_the_core_hangs_on_a_valid(tmp_path: Path) -> None:
    """Within a cycle; a ready that does is seen."""
    tools()
    array = ArraySpec(4, 1, 2, 2, 16)
    rng = np.random.default_rng(1)
    net = core_cases.random_network(rng, array, (1, 1, 4), [], pool=False, hidden=3)
    plan = core_cases.build(net, core_cases.identity(net, array), FaultProfile(array))
    simulate.lay_out(plan, tmp_path)
    for name in ("s_axil_aw", "s_axil_w", "s_axil_ar", "s_axis_image_t", "s_axis_weight_t"):
        assert from_valids(tmp_path, f"{name}ready") == 0, name
    top = tmp_path / "rtl" / "has_core.v"
    text = top.read_text()
    assert text.count(".s_axil_arready(s_axil_arready)") == 1
    top.write_text(
        text.replace(".s_axil_arready(s_axil_arready)", ".s_axil_arready()").replace(
            "  wire clear;",
            "  assign s_axil_arready = s_axil_arvalid && !s_axil_rvalid;\n  wire clear;",
        )
    )
    assert from_valids(tmp_path, "s_axil_arready") == 1
