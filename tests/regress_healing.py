"""A chip healed while it runs: faults that appear between two images of digits-cnn.

    python -m tests.regress_healing [--images 32] [--seed 5] [--simulator verilator] [--work FOLDER]

The build knows of no fault. In one simulation the driver classifies images; after half of them 8
PEs get 2 faults each, of the upper bits; the driver plays the vectors, `heal` makes a schedule of
the answers, the driver writes it, reads it back, replays images and vectors, and classifies the
same images again. Exit code 1 where an integer is not the predicted one, or the healed chip is more
than half a point of held-out accuracy below the healthy one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from hascodesign.common import files
from hascodesign.common.display import Display
from hascodesign.contract import arithmetic
from hascodesign.contract.array import generator
from hascodesign.diagnose.vectors import vectors
from hascodesign.faults import generate
from hascodesign.flow.config import board_config, load_config
from hascodesign.flow.flow import Flow
from hascodesign.flow.request import Request
from hascodesign.flow.store import StepStore
from hascodesign.healing import run, simulated
from hascodesign.render.driver import FOLDER
from hascodesign.verify import simulate
from hascodesign.verify.images import image_file
from tests import rtl_cases

POINTS = 0.5  # of held-out accuracy that a healed chip may lose


def main() -> int:
    """Build, break, heal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--seed", type=int, default=5, help="of the faults")
    parser.add_argument("--simulator", choices=simulate.SIMULATORS, default="verilator")
    parser.add_argument("--work", type=Path, help="folder that keeps what was simulated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        return heal(work, options.images, options.seed, options.simulator)


def heal(work: Path, images: int, seed: int, simulator: str) -> int:
    """The whole way; the exit code."""
    build = work / "build"
    build.mkdir(parents=True, exist_ok=True)
    config = load_config(board_config("pynq-z2"), {"faults.faulty_pes": 0})
    request = Request(config=config, out=build, cache=work)
    with Display() as display:
        deliver(Flow(request, StepStore(build / "steps"), display), build, images)
        wanted = replace(request, out=work / "healed")
        running = run.opened(wanted, build, None, display)
        profile = generate.by_area(
            running.array, generator(seed, "faults"), faulty_pes=8, faults_per_pe=2, bits="upper"
        )
        chip = simulated.Chip(
            running, build / FOLDER, profile, images, rtl_cases.fault_arrays(profile)
        )
        test_set = vectors(running.array)
        done = run.played(chip, test_set, work, replace(wanted, simulator=simulator), display)
    print(done.failure or f"seed {seed}: healed, and as predicted", flush=True)
    lost = done.healed.accuracy["healthy"].value - done.healed.accuracy["healed"].value
    print(f"{lost:.2f} points of held-out accuracy below the healthy network")
    return int(bool(done.failure) or lost > POINTS)


def deliver(flow: Flow, build: Path, images: int) -> None:
    """The parts of a delivery that a board needs."""
    heldout = flow.dataset.heldout
    codes = arithmetic.quantise(heldout.images[:images], flow.network.input)
    made = image_file(flow.deployed, flow.schedule, flow.profile, codes, heldout.labels[:images])
    files.write_tree(build, {**flow.plan.files, **made})


if __name__ == "__main__":
    sys.exit(main())
