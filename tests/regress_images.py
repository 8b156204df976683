"""Whole networks in the simulated accelerator: every activation of every layer, every logit.

    python -m tests.regress_images [--save FOLDER] [--only icarus|verilator|mnist]

digits-cnn, healthy and with the drawn profiles of seeds 1 to 5, even ones on an array with
preloads: 100 held-out images in Icarus and all of them in Verilator. mnist-cnn, of which two layers
have their weights streamed, once for a batch of images and no faster than the board's memory port
brings them, healthy and with the profile of seed 1: 68 images in Verilator, two full batches and
one of 4, where HASCODESIGN_DATA names the data. Prints a line for each run; exit code 1 where an
integer differs.
With ``--save``, a run that has already come out without a difference is not run again, so that one
that was cut off goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs

from hascodesign.common.display import Display
from hascodesign.contract import arithmetic
from hascodesign.flow.config import board_config, load_config
from hascodesign.flow.flow import Flow
from hascodesign.flow.request import Request
from hascodesign.flow.store import StepStore
from hascodesign.render.core_fit import port_cycles
from hascodesign.verify.core import verify_core

ALL = 1_000_000
#: A short search: the map is a good one, and no other for the sake of the simulation.
QUICK = {"schedule.generations": 0, "schedule.evaluations": 60, "schedule.random_maps": 2}


@dataclass(frozen=True)
class Run:
    """One build on some images."""

    group: str  # what --only names
    model: str
    simulator: str
    images: int
    seed: int
    faults: bool

    @property
    def name(self) -> str:
        kind = f"seed{self.seed}" if self.faults else "healthy"
        return f"{self.model}_{self.simulator}_{kind}"


def runs() -> list[Run]:
    """All runs, the quick ones first."""
    found = []
    for simulator, images in (("icarus", 100), ("verilator", ALL)):
        found.append(Run(simulator, "digits-cnn", simulator, images, 1, faults=False))
        found += [
            Run(simulator, "digits-cnn", simulator, images, seed, faults=True)
            for seed in range(1, 6)
        ]
    if "HASCODESIGN_DATA" in os.environ:
        found += [Run("mnist", "mnist-cnn", "verilator", 68, 1, faults) for faults in (False, True)]
    return found


def flow(run: Run, work: Path, **more: Any) -> Flow:
    """The flow that builds it, with more settings; its steps are kept below ``work``."""
    changes = {"model": run.model, "seed": run.seed, "render.preload": run.seed % 2 == 0}
    changes |= QUICK | more
    data = None
    if run.model.startswith("mnist"):
        data = Path(os.environ["HASCODESIGN_DATA"]) / "mnist-t10k"
    config = load_config(board_config("pynq-z2"), changes)
    folder = work / f"{run.model}_seed{run.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    cache = Path(platformdirs.user_cache_dir("hascodesign"))
    request = Request(config=config, out=folder, cache=cache, data=data)
    return Flow(request, StepStore(folder / "steps"), Display())


def carry_out(run: Run, work: Path) -> dict[str, Any]:
    """What one run showed."""
    build = flow(run, work)
    codes = arithmetic.quantise(build.dataset.heldout.images, build.network.input)[: run.images]
    done = verify_core(
        build.deployed, build.schedule, build.profile, build.plan, codes,
        work=work / run.name, faults=run.faults, on_chip=build.on_chip, simulator=run.simulator,
        batch=build.hardware.batch, port_cycles=port_cycles(build.array, build.board),
    )  # fmt: skip
    found = asdict(run) | {
        name: getattr(done, name)
        for name in ("images", "outputs", "mismatches", "first", "image_cycles", "cycles")
    }
    found["batch"] = build.hardware.batch
    found["seconds"] = round(done.seconds, 1)
    found["streamed"] = [
        layer.name
        for layer, inside in zip(build.network.layers, build.on_chip, strict=True)
        if not inside
    ]
    found["stages"] = [asdict(s) | {"overhead": s.overhead} for s in done.stages]
    return found


def main() -> int:
    """Run what has not run yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", type=Path, help="folder that keeps what each run showed")
    parser.add_argument("--only", choices=("icarus", "verilator", "mnist"))
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.save or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for run in runs():
            if options.only not in {None, run.group}:
                continue
            path = folder / f"{run.name}.json"
            found = json.loads(path.read_text("utf-8")) if path.is_file() else None
            if found is None or found["mismatches"]:
                found = carry_out(run, folder)
                path.write_text(json.dumps(found), "utf-8")
            wrong += found["mismatches"] > 0
            print(
                f"{run.name}: {found['images']} images, {found['outputs']:,} integers,"
                f" {found['mismatches']} differ; {found['cycles'] / found['images']:,.0f} cycles an"
                f" image in batches of {found['batch']}, the last {found['image_cycles']:,},"
                f" {found['seconds']:.0f} s",
                *found["first"],
                flush=True,
            )
    print(f"{wrong} runs differ")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
