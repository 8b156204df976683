"""The driver's very files on the simulated core, on held-out images of digits-cnn.

    python -m tests.regress_driver [--images 100] [--simulator icarus|verilator] [--work FOLDER]

A flow of the default array with the faults of seed 1, as it is delivered: its driver classifies
held-out images on its Verilog with the faults in, in batches of 32. Every logit is held to the
engine's. Exit code 1 where an integer differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from hascodesign.contract import arithmetic
from hascodesign.contract.build import BuildPlan
from hascodesign.render.driver import FOLDER
from hascodesign.verify import simulate
from hascodesign.verify.images import image_file
from tests import driver_cases
from tests.regress_images import Run, flow


def main() -> int:
    """Lay out, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--simulator", choices=simulate.SIMULATORS, default="verilator")
    parser.add_argument("--work", type=Path, help="folder that keeps what was simulated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        return check(work, options.images, options.simulator)


def check(work: Path, count: int, simulator: str) -> int:
    """Exit code; prints what was compared."""
    build = flow(Run("driver", "digits-cnn", simulator, count, 1, faults=True), work)
    heldout = build.dataset.heldout
    codes = arithmetic.quantise(heldout.images[:count], build.network.input)
    labels = heldout.labels[:count]
    expected = image_file(build.deployed, build.schedule, build.profile, codes, labels)
    plan = build.plan
    vectors = driver_cases.lay_out_files(work, plan, {"images": count})
    driver_cases.write(vectors / "driver", plan.under(FOLDER))
    driver_cases.write(vectors / "driver", BuildPlan(expected).under(FOLDER))
    driver_cases.run(work, ["driver_image_tests"], "--faults", "--simulator", simulator)
    with np.load(work / "results" / "images.npz") as file:
        got, cycles = file["logits"], int(file["cycles"])
    with np.load(vectors / "driver" / "schedule" / "images.npz") as file:
        wanted, healthy = file["logits"], file["healthy"]
    wrong = int(np.count_nonzero(got != wanted))
    right = int(np.count_nonzero(np.argmax(got, axis=1) == labels))
    print(
        f"digits-cnn, {simulator}: {len(got)} images by the driver, {wanted.size:,} logits"
        f" compared, {wrong} differ; by the faults {np.count_nonzero(healthy != wanted):,} are"
        f" not the healthy ones; {right} of {len(got)} right; {cycles:,} cycles the last image"
    )
    return int(wrong > 0 or got.shape != wanted.shape)


if __name__ == "__main__":
    sys.exit(main())
