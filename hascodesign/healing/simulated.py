"""The chip in simulation: the build's Verilog with a profile's faults, driven by its own driver.

One simulation from the first image to the last: the driver plays the vectors, the simulated time
stands still while `plan` makes its schedule of the answers, and the driver writes it, while the
faults stay where they are.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hascodesign.common import files, processes
from hascodesign.contract.arithmetic import Codes, classify
from hascodesign.contract.array import identity_schedule
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import ConfigError, HascodesignError, StepFailed
from hascodesign.contract.types import ArraySpec, FaultProfile, IntArray, IntegerNetwork
from hascodesign.diagnose import files as tests_files
from hascodesign.diagnose.vectors import TestSet
from hascodesign.engine import gemm
from hascodesign.healing.build import InUse
from hascodesign.render import build as rendering
from hascodesign.render.rom_format import rom_files
from hascodesign.verify import simulate

BENCH = "driver_heal_tests"
WAIT_S = 0.05


@dataclass(frozen=True, slots=True)
class Chip:
    """What is simulated."""

    in_use: InUse
    driver: Path  # deploy/driver of the build
    profile: FaultProfile  # its faults, of which nobody tells
    images: int  # that are classified before and after
    #: Faults as registers of tb_fault_masks take them, switched on after half of the images;
    #: None: the faults are in the Verilog from the start.
    masks: Mapping[str, IntArray] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of it."""

    good: bool  # all is as predicted, and every PE is explained
    words: str  # of the driver: what was written and compared
    phases: Mapping[str, tuple[int, int]]  # clock cycles and accesses to the registers
    images: int
    wrong: int  # of the images before, other classes than a healthy array's, rows as trained
    healed_wrong: int  # the same of the images after

    def sentences(self) -> list[str]:
        """In words, with the time at 100 MHz."""
        return [
            *self.words.splitlines(),
            *(
                f"{name}: {cycles:,} cycles ({cycles / 1e5:.1f} ms at 100 MHz),"
                f" {accesses:,} accesses to registers"
                for name, (cycles, accesses) in self.phases.items()
            ),
            f"classes other than a healthy array's: {self.wrong} of {self.images} images before,"
            f" {self.healed_wrong} of {self.images} after",
        ]


def play(
    chip: Chip,
    test_set: TestSet,
    work: Path,
    simulator: str,
    answered: Callable[[Path], Path],
) -> Seen:
    """Run the simulation.

    Parameters
    ----------
    chip : what runs.
    test_set : what is played.
    work : folder for all that it makes.
    simulator : "icarus" or "verilator".
    answered : given the file of answers, makes the folder for the driver.

    Raises
    ------
    ToolNotFound
        The simulator is not there.
    StepFailed
        The simulation ended before the chip was healed.
    HascodesignError
        What ``answered`` raises.
    """
    simulate.require(simulator)
    folder = _lay_out(chip, test_set, work)
    options = ["--top", "has_core", "--bench", BENCH]
    options += ["--faults"] if chip.masks is None else ["--bench-masks"]
    with processes.threads(1) as pool:
        bench = pool.submit(simulate.run_bench, work, folder, simulator, options, None)
        try:
            said = {"board": str(answered(_answers(folder, bench, work)))}
        except HascodesignError:
            _say(folder, {"board": ""})  # the bench ends, and then this error is told
            bench.result()
            raise
        _say(folder, said)
        bench.result()
    return _seen(chip, folder, work)


def _lay_out(chip: Chip, test_set: TestSet, work: Path) -> Path:
    in_use = chip.in_use
    schedule = replace(in_use.schedule, array=chip.profile.array)
    rtl = rendering.verilog(in_use.network, schedule, chip.profile, in_use.hardware, with_core=True)
    simulate.lay_out(BuildPlan.merge([BuildPlan(rtl), BuildPlan(rom_files(in_use.roms))]), work)
    folder = work / "vectors"
    for left in (folder, work / "results"):  # of a run before
        files.remove(left)
    held = {
        f"driver/{path.relative_to(chip.driver)}": path.read_bytes()
        for path in sorted(chip.driver.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    if "driver/schedule/images.npz" not in held:
        raise ConfigError(f"{chip.driver} must be whole, as the flow delivers it: no images.npz")
    held |= {f"tests/{name}": data for name, data in tests_files.write_tests(test_set).items()}
    held["has_core.bit"] = b""
    held["bench.json"] = json.dumps({"images": chip.images}).encode()
    if chip.masks is not None:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **chip.masks)
        held["masks.npz"] = buffer.getvalue()
    files.write_tree(folder, held)
    return folder


def _answers(folder: Path, bench: Future[str], work: Path) -> Path:
    """The file of answers, once it is there."""
    path = folder / "acc.npz"
    while not path.is_file():
        if bench.done():
            raise StepFailed(
                f"the simulated driver must play the vectors, and did not ({bench.result()}): see"
                f" {work / simulate.LOG}"
            )
        time.sleep(WAIT_S)
    return path


def _say(folder: Path, said: Mapping[str, Any]) -> None:
    files.write_atomic(folder / "healed.json", json.dumps(said).encode())


def _seen(chip: Chip, folder: Path, work: Path) -> Seen:
    results = work / "results"
    if not (results / "healed.json").is_file():
        raise StepFailed(
            f"the simulated driver must heal the chip, and did not: see {work / simulate.LOG}"
        )
    said = json.loads((results / "healed.json").read_text("utf-8"))
    logits = files.read_arrays(results / "healed.npz")
    codes = files.read_arrays(folder / "driver" / "schedule" / "images.npz")["codes"]
    network, scale = chip.in_use.flow.network, chip.in_use.network.logit_scale
    wanted = healthy_classes(network, chip.profile.array, codes[: chip.images])
    wrong, left = (
        int(np.count_nonzero(classify(logits[name], scale) != wanted))
        for name in ("before", "after")
    )
    phases = {name: (int(one[0]), int(one[1])) for name, one in said["phases"].items()}
    return Seen(bool(said["good"]), said["words"], phases, len(wanted), wrong, left)


def healthy_classes(network: IntegerNetwork, array: ArraySpec, codes: Codes) -> IntArray:
    """[n] classes that a healthy array gives images, rows as trained.

    Rows that were written for faults give others where the faults are not.
    """
    schedule = identity_schedule(network, array)
    *_, last = gemm.trace(network, schedule, FaultProfile(array), codes)
    return classify(last.codes.T.astype(np.int64), network.logit_scale)
