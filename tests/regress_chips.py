"""Drawn chips with the Verilog as the chip, read through the core's test mode by the driver.

    python -m tests.regress_chips [--chips 50] [--first 1] [--images 8] [--simulator verilator]
                                  [--dataflow ws]

The chips of `study diagnose` by their seeds, on the core of digits-cnn; every fourth has faulty
words, those that its banks have. In one simulation each plays the vectors and classifies images.
Held to one another, integer by integer: the answers and those of the fault model as the chip; sums
of fresh layers for the diagnosed and the true profile; the logits and those that the engine gives
for the diagnosed profile. Exit code 1 where one differs or a PE is not explained.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hascodesign.contract import arithmetic
from hascodesign.contract.array import wmem_words
from hascodesign.contract.types import ArraySpec, FaultProfile
from hascodesign.diagnose import files
from hascodesign.diagnose.infer import infer
from hascodesign.diagnose.simulate import simulate as model_answers
from hascodesign.diagnose.vectors import TestSet, vectors
from hascodesign.faults.profile import check
from hascodesign.flow.flow import Flow
from hascodesign.study import diagnose as study
from hascodesign.verify import simulate
from hascodesign.verify.images import image_file
from tests import driver_cases, regress_driver, regress_images, rtl_cases
from tests.regress_images import Run


@dataclass(frozen=True)
class Chip:
    """One drawn chip and the vectors that it plays."""

    seed: int
    profile: FaultProfile
    tests: str  # folder of the vectors


def main() -> int:
    """Draw, simulate, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chips", type=int, default=50)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--simulator", choices=simulate.SIMULATORS, default="verilator")
    parser.add_argument("--dataflow", choices=("os", "ws"), default="os")
    parser.add_argument("--work", type=Path, help="folder that keeps what was simulated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        build = regress_images.flow(
            Run("chips", "digits-cnn", "", 0, 2, faults=False),
            work,
            **{"array.dataflow": options.dataflow},
        )
        depth = wmem_words(build.deployed, build.array, build.schedule)
        whole = vectors(replace(build.array, wmem_depth=depth))
        sets = {"tests": whole, "few": vectors(replace(build.array, wmem_depth=0))}
        chips = [
            drawn(seed, whole.array) for seed in range(options.first, options.first + options.chips)
        ]
        play(work, build, sets, chips, options.images, options.simulator)
        return compared(work, build, sets, chips, options.images)


def drawn(seed: int, array: ArraySpec) -> Chip:
    """The chip of a seed, its faulty words those that the bank has."""
    _, profile = study.chip(seed, array.dataflow)
    kept = [f for f in profile.faults if f.address is None or f.address < array.wmem_depth]
    words = any(fault.site == "wmem" for fault in kept)
    of = array if words else replace(array, wmem_depth=0)
    return Chip(seed, check(FaultProfile(of, tuple(kept))), "tests" if words else "few")


def play(
    work: Path,
    build: Flow,
    sets: dict[str, TestSet],
    chips: list[Chip],
    images: int,
    simulator: str,
) -> None:
    """All chips in one simulation."""
    regress_driver.lay_out(work, build)
    folder = work / "vectors"
    for name, test_set in sets.items():
        driver_cases.write(folder / name, files.write_tests(test_set))
    healthy = replace(build.profile, faults=())
    driver_cases.write(
        folder / "driver" / "schedule", regress_driver.expected(build, healthy, images)
    )
    masks = {
        f"{number}/{name}": values
        for number, chip in enumerate(chips)
        for name, values in rtl_cases.fault_arrays(chip.profile).items()
    }
    np.savez(folder / "chips.npz", **masks)
    driver_cases.say(work, {"tests": [chip.tests for chip in chips], "images": images})
    driver_cases.run(work, ["driver_chips_tests"], "--bench-masks", "--simulator", simulator)


def compared(
    work: Path, build: Flow, sets: dict[str, TestSet], chips: list[Chip], images: int
) -> int:
    """Exit code; a line for each chip that differs, and one for all."""
    heldout = build.dataset.heldout
    codes = arithmetic.quantise(heldout.images[:images], build.network.input)
    total: dict[str, list[int]] = {}
    unexplained = 0
    with np.load(work / "results" / "logits.npz") as file:
        logits = {int(name): file[name] for name in file.files}
    for number, chip in enumerate(chips):
        test_set = sets[chip.tests]
        acc = files.read_responses(work / "results" / f"acc_{number}.npz", test_set)
        model = model_answers(test_set, chip.profile)
        found = infer(test_set, acc)
        idle = set(found.unexplained)
        differ = {
            "answers": (int(np.count_nonzero(acc != model)), acc.size),
            "sums": study.sums_that_differ(chip.profile, found.profile, chip.seed, idle),
            "logits": logits_that_differ(build, found.profile, codes, heldout, logits[number]),
        }
        unexplained += len(idle)
        for name, (wrong, size) in differ.items():
            one = total.setdefault(name, [0, 0])
            one[0], one[1] = one[0] + wrong, one[1] + size
        if idle or any(wrong for wrong, _ in differ.values()):
            print(f"seed {chip.seed}: {json.dumps(differ)}, not explained: {sorted(idle)}")
    words = ", ".join(f"{wrong} of {size:,} {name}" for name, (wrong, size) in total.items())
    print(f"{len(chips)} chips: {words} differ; {unexplained} PEs not explained", flush=True)
    return int(unexplained > 0 or any(wrong for wrong, _ in total.values()))


def logits_that_differ(
    build: Flow, profile: FaultProfile, codes: Any, heldout: Any, got: Any
) -> tuple[int, int]:
    """Logits other than the engine's for a profile, and of how many."""
    schedule = replace(build.schedule, array=profile.array)
    made = image_file(build.deployed, schedule, profile, codes, heldout.labels[: len(codes)])
    with tempfile.TemporaryDirectory() as folder:
        for content in made.values():
            path = Path(folder) / "images.npz"
            path.write_bytes(content)
        with np.load(path) as file:
            wanted = file["logits"]
    return int(np.count_nonzero(wanted != got)), wanted.size


if __name__ == "__main__":
    sys.exit(main())
