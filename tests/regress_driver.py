"""The driver's very files on the simulated core of digits-cnn, as the flow delivers it.

    python -m tests.regress_driver [--images 100] [--simulator icarus|verilator] [--work FOLDER]
                                   [--only images|line|loop]

images: the driver classifies held-out images on the default array with the faults of seed 1, in
batches of 32; every logit is held to the engine's. line: likewise over the serial line of a ULX3S,
a fifth of the images, four cycles a bit. loop: it plays the vectors of `diagnose` on that
Verilog; `infer` makes a profile of the answers, whose sums are held to those of the true one; a
second flow schedules for it; the driver loads that schedule into the first build and verifies it,
with the engine's logits for the true faults. Exit code 1 where an integer differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hascodesign.contract import arithmetic
from hascodesign.contract.array import wmem_words
from hascodesign.contract.build import BuildPlan
from hascodesign.diagnose import files
from hascodesign.diagnose.infer import infer
from hascodesign.diagnose.vectors import vectors
from hascodesign.faults import formats
from hascodesign.flow.flow import Flow
from hascodesign.render.driver import FOLDER, SCHEDULE
from hascodesign.study.diagnose import sums_that_differ
from hascodesign.verify import simulate
from hascodesign.verify.images import image_file
from tests import driver_cases, regress_images
from tests.regress_images import Run

BUILT = "simulation-built"  # below the folder of a call
BAUD = 12_500_000  # of the simulated line: four cycles of its clock a bit
LOADED = 10  # images that the schedule loaded is verified on


def main() -> int:
    """Lay out, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--simulator", choices=simulate.SIMULATORS, default="icarus")
    parser.add_argument("--work", type=Path, help="folder that keeps what was simulated")
    parser.add_argument("--only", choices=("images", "line", "loop"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        build = flow(work, 1)
        lay_out(work, build)
        wrong = 0
        if options.only in {None, "images"}:
            wrong += images(work, build, options.images, options.simulator)
        if options.only in {None, "line"}:
            wrong += line(work / "line", build, max(1, options.images // 5), options.simulator)
        if options.only in {None, "loop"}:
            wrong += loop(work, build, options.simulator)
    return int(wrong > 0)


def flow(work: Path, seed: int, faults: Path | None = None) -> Flow:
    """A flow of digits-cnn with a short search; its steps are kept below ``work``."""
    found = regress_images.flow(Run("driver", "digits-cnn", "", 0, seed, faults=True), work)
    return found if faults is None else Flow(
        replace(found.request, faults=faults), found.store, found.display
    )  # fmt: skip


def lay_out(work: Path, build: Flow) -> None:
    """Verilog, memories and driver of a build."""
    (work / BUILT).unlink(missing_ok=True)
    vectors_folder = driver_cases.lay_out_files(work, build.plan, {})
    driver_cases.write(vectors_folder / "driver", build.plan.under(FOLDER))


def expected(build: Flow, profile: Any, count: int) -> dict[str, bytes]:
    """The images of a build's schedule with the logits for a chip's faults, by path in it."""
    heldout = build.dataset.heldout
    codes = arithmetic.quantise(heldout.images[:count], build.network.input)
    made = image_file(build.deployed, build.schedule, profile, codes, heldout.labels[:count])
    return BuildPlan(made).under(SCHEDULE)


def run(work: Path, bench: str, simulator: str, said: dict[str, Any]) -> None:
    """One bench on what was laid out; all benches of one call take the same simulation."""
    driver_cases.say(work, said)
    built = ["--built"] * (work / BUILT).exists()
    driver_cases.run(work, [bench], "--faults", "--simulator", simulator, *built)
    (work / BUILT).touch()


def images(work: Path, build: Flow, count: int, simulator: str) -> int:
    """Logits of held-out images that differ."""
    folder = work / "vectors" / "driver" / "schedule"
    driver_cases.write(folder, expected(build, build.profile, count))
    run(work, "driver_image_tests", simulator, {"images": count})
    with np.load(work / "results" / "images.npz") as file:
        got, cycles = file["logits"], int(file["cycles"])
    with np.load(folder / "images.npz") as file:
        wanted, healthy, labels = file["logits"], file["healthy"], file["labels"]
    wrong = int(np.count_nonzero(got != wanted))
    right = int(np.count_nonzero(np.argmax(got, axis=1) == labels))
    print(
        f"digits-cnn, {simulator}: {len(got)} images by the driver, {wanted.size:,} logits"
        f" compared, {wrong} differ; by the faults {np.count_nonzero(healthy != wanted):,} are"
        f" not the healthy ones; {right} of {len(got)} right; {cycles:,} cycles the last image",
        flush=True,
    )
    return wrong


def line(work: Path, build: Flow, count: int, simulator: str) -> int:
    """Logits of held-out images that differ, over the serial line."""
    lay_out(work, build)
    folder = work / "vectors" / "driver" / "schedule"
    driver_cases.write(folder, expected(build, build.profile, count))
    driver_cases.behind_a_line(work, build.deployed, build.schedule, build.on_chip)
    driver_cases.say(work, {"images": count, "baud": BAUD})
    driver_cases.run(
        work, ["driver_line_tests"], "--faults", "--simulator", simulator,
        "--parameter", "DIVISOR=4", top="has_uart_core",
    )  # fmt: skip
    with np.load(work / "results" / "line.npz") as file:
        got, seconds = file["logits"], float(file["seconds"])
    with np.load(folder / "images.npz") as file:
        wanted, healthy = file["logits"], file["healthy"]
    wrong = int(np.count_nonzero(got != wanted))
    print(
        f"digits-cnn, {simulator}: {len(got)} images over the serial line, {wanted.size:,} logits"
        f" compared, {wrong} differ; by the faults {np.count_nonzero(healthy != wanted):,} are not"
        f" the healthy ones; {BAUD * seconds / 10 / len(got):.0f} byte times an image",
        flush=True,
    )
    return wrong


def loop(work: Path, build: Flow, simulator: str) -> int:
    """Integers that differ on the way from answers to a schedule for them."""
    spec, folder = build.array, work / "vectors"
    depth = wmem_words(build.deployed, spec, build.schedule)
    test_set = vectors(replace(spec, wmem_depth=depth))
    driver_cases.write(folder / "tests", files.write_tests(test_set))
    driver_cases.write(folder / "driver" / "schedule", expected(build, build.profile, 1))
    run(work, "driver_loop_tests", simulator, {"half": "play"})
    acc = files.read_responses(work / "results" / "acc.npz", test_set)
    found = infer(test_set, acc)
    true = replace(build.profile, array=test_set.array)
    differ, compared = sums_that_differ(true, found.profile, 1)
    print(
        f"digits-cnn, {simulator}: {acc.size:,} answers played; {spec.pe - len(found.unexplained)}"
        f" of {spec.pe} PEs explained; {differ} of {compared:,} sums differ from the true chip's",
        flush=True,
    )
    path = work / "chip.json"
    path.write_bytes(formats.write(found.profile, "json"))
    other = flow(work, 3, path)  # odd: built without preloads, too
    driver_cases.write(folder / "other", other.plan.under(SCHEDULE))
    driver_cases.write(folder / "other", expected(other, true, LOADED))
    run(work, "driver_loop_tests", simulator, {"half": "load"})
    with np.load(work / "results" / "loaded.npz") as file:
        wrong = int(file["differing"]) + int(file["wrong_bits"])
        print(
            f"digits-cnn, {simulator}: the schedule for it, loaded: {int(file['logits']):,} logits"
            f" and {int(file['bits']):,} bits of memories compared, {wrong} differ",
            flush=True,
        )
    return differ + len(found.unexplained) + wrong


if __name__ == "__main__":
    sys.exit(main())
