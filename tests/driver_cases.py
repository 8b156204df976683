"""Builds with their driver, and its benches on the simulated core."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from hascodesign.contract.build import BuildPlan
from hascodesign.contract.types import ArraySpec, FaultProfile, IntArray, IntegerNetwork, Schedule
from hascodesign.render.driver import FOLDER, render_driver
from hascodesign.verify import simulate
from hascodesign.verify.images import image_file
from tests import core_cases

BENCH = Path(__file__).parent.parent / "sim" / "run_bench.py"


def small(seed: int = 1, **options: int) -> tuple[IntegerNetwork, ArraySpec]:
    """A small network with a convolution, a pooling and a dense layer."""
    spec = ArraySpec(pe=4, simd=4, weight_bits=4, act_bits=8, acc_bits=20)
    rng = np.random.default_rng(seed)
    return core_cases.random_network(rng, spec, (5, 5, 1), [(5, 3, 1, 0)], beside=True), spec


def lay_out(
    work: Path,
    network: IntegerNetwork,
    schedule: Schedule,
    profile: FaultProfile,
    codes: IntArray,
    plan: BuildPlan,
) -> None:
    """The bench's folder: the build's Verilog and memories, and what is copied to the board."""
    simulate.lay_out(plan, work)
    vectors = work / "vectors"
    inside = (True,) * len(network.layers)
    files = render_driver(network, schedule, profile, plan.files, inside, 100.0)
    files |= image_file(network, schedule, profile, codes, np.zeros(len(codes), np.int64))
    for path, content in files.items():
        target = vectors / "driver" / Path(path).relative_to(FOLDER)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    (vectors / "has_core.bit").write_bytes(b"")


def run(work: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the driver's bench on what was laid out."""
    command = [
        sys.executable, BENCH, "--rtl", work / "rtl", "--roms", work / "roms",
        "--vectors", work / "vectors", "--work", work, "--top", "has_core",
        "--bench", "driver_tests", *options,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False)
