"""Builds with their driver, and its benches on the simulated core."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hascodesign.board import boards
from hascodesign.contract.array import with_preloads
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.types import (
    ArraySpec,
    Fault,
    FaultProfile,
    IntArray,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    Schedule,
    Thresholds,
    frozen,
)
from hascodesign.render import ulx3s
from hascodesign.render.core import test_limits
from hascodesign.render.core_sizes import CoreOptions
from hascodesign.render.driver import FOLDER, SCHEDULE, render_driver
from hascodesign.render.rom import build_roms
from hascodesign.render.rom_format import rom_files
from hascodesign.verify import simulate
from hascodesign.verify.images import image_file
from hascodesign.verify.self_test import self_test_file
from tests import core_cases, rtl_cases

BENCH = Path(__file__).parent.parent / "sim" / "run_bench.py"
SPEC = ArraySpec(pe=4, simd=4, weight_bits=4, act_bits=8, acc_bits=20)


@dataclass(frozen=True)
class Case:
    """One build and the images that it runs."""

    network: IntegerNetwork
    schedule: Schedule
    profile: FaultProfile
    codes: IntArray
    on_chip: tuple[bool, ...]
    batch: int = 1  # images for which streamed weights come once
    watch: bool = False  # the core checks its array between images

    def plan(self) -> BuildPlan:
        return core_cases.build(
            self.network, self.schedule, self.profile, self.on_chip, built=self.options
        )

    @property
    def options(self) -> CoreOptions:
        return replace(core_cases.options(self.on_chip, batch=self.batch), watch=self.watch)

    def driver(self, folder: str) -> dict[str, bytes]:
        """The files below a folder of the driver, by their path in it."""
        roms = rom_files(build_roms(self.network, self.schedule, self.on_chip))
        files = render_driver(
            self.network, self.schedule, self.profile, roms, self.on_chip, clock_mhz=100.0,
            fit=(0, 0, self.batch), watch=self.watch,
        )  # fmt: skip
        labels = np.arange(len(self.codes)) % self.network.layers[-1].rows
        files |= image_file(self.network, self.schedule, self.profile, self.codes, labels)
        limits = test_limits(self.network, self.schedule, self.options)
        files |= self_test_file(self.network, self.schedule, self.profile, self.on_chip, limits)
        return BuildPlan(files).under(folder)


def faulty() -> FaultProfile:
    """Faults of several sites, the weight memory's among them."""
    faults = (
        Fault(1, "sa1", "wmem", 2, 1, address=3),
        Fault(2, "flip", "psum", None, 7),
        Fault(3, "sa0", "product", 0, 2),
    )
    return FaultProfile(SPEC, faults)


def small(
    profile: FaultProfile | None = None, on_chip: tuple[bool, ...] = (True, True), images: int = 4
) -> Case:
    """A convolution with thresholds, a pooling and a dense layer; rows anywhere."""
    rng = np.random.default_rng(1)
    network = core_cases.random_network(rng, SPEC, (6, 6, 1), [(5, 3, 1, 0)], beside=True)
    first = rtl_cases.layer(rng, SPEC, 0, 5, 9, in_signed=network.input.signed, out_bits=3)
    first = replace(first, conv=network.layers[0].conv, out_signed=network.layers[1].in_signed)
    network = with_preloads(replace(network, stages=(first, *network.stages[1:])))
    maps = [rtl_cases.random_map(rng, item, SPEC.pe) for item in network.layers]
    codes = core_cases.images(rng, network, images)
    chosen = FaultProfile(SPEC) if profile is None else profile
    return Case(network, Schedule(SPEC, tuple(maps)), chosen, codes, on_chip)


def batches(images: int = 8) -> Case:
    """A convolution, a layer whose weights are streamed once for three images, a last one."""
    rng = np.random.default_rng(5)
    network = core_cases.random_network(rng, SPEC, (6, 6, 1), [(5, 3, 1, 0)], beside=True, hidden=6)
    network = with_preloads(network)
    maps = [rtl_cases.random_map(rng, item, SPEC.pe) for item in network.layers]
    codes = core_cases.images(rng, network, images)
    schedule = Schedule(SPEC, tuple(maps))
    return Case(network, schedule, faulty(), codes, (True, False, True), batch=3)


def tiny() -> Case:
    """Two dense layers, few words, beats of less than a byte; the last layer's weights streamed."""
    rng = np.random.default_rng(4)
    spec = ArraySpec(pe=2, simd=2, weight_bits=3, act_bits=2, acc_bits=12)
    network = core_cases.random_network(rng, spec, (1, 1, 5), [], classes=3, hidden=2)
    network = with_preloads(network)
    maps = [rtl_cases.random_map(rng, item, spec.pe) for item in network.layers]
    profile = FaultProfile(
        spec, (Fault(0, "flip", "product", 1, 2), Fault(1, "sa1", "psum", None, 2))
    )
    codes = core_cases.images(rng, network, 4)
    return Case(network, Schedule(spec, tuple(maps)), profile, codes, (True, False))


def another(case: Case) -> Case:
    """The same shapes: other weights, biases of fewer bits, thresholds, preloads, places."""
    rng = np.random.default_rng(2)
    stages = tuple(
        stage if isinstance(stage, MaxPool) else _turned(stage) for stage in case.network.stages
    )
    spec = case.schedule.array
    maps = [rtl_cases.random_map(rng, item, spec.pe) for item in case.network.layers]
    return replace(
        case, network=replace(case.network, stages=stages), schedule=Schedule(spec, tuple(maps))
    )


def _turned(layer: MultiplyLayer) -> MultiplyLayer:
    output = layer.output
    if isinstance(output, Thresholds):
        values, down = frozen(output.values[::-1]), frozen(output.descending[::-1], np.bool_)
        output = replace(output, values=values, descending=down)
    return replace(
        layer,
        weights=frozen(layer.weights[::-1, ::-1]),
        bias=frozen(layer.bias[::-1] // 8),
        preload=frozen(np.arange(layer.rows) * 31 - 60),
        output=output,
    )


def wider(case: Case) -> Case:
    """The same with biases that need more bits than the accumulator."""
    *stages, last = case.network.stages
    assert isinstance(last, MultiplyLayer)
    stages.append(replace(last, bias=frozen(last.bias << SPEC.acc_bits)))
    return replace(case, network=replace(case.network, stages=tuple(stages)))


def lay_out(
    work: Path, case: Case, plan: BuildPlan, schedules: Mapping[str, Case], bench: Any
) -> Path:
    """A bench's folder: Verilog and memories, what is copied to the board, other schedules."""
    vectors = lay_out_files(work, plan, bench)
    write(vectors / "driver", case.driver(FOLDER))
    for name, other in schedules.items():
        write(vectors / name, other.driver(SCHEDULE))
    return vectors


def lay_out_files(work: Path, plan: BuildPlan, bench: Any) -> Path:
    """Verilog and memories, a bitstream in name, and what the bench expects beyond the driver's."""
    simulate.lay_out(plan, work)
    write(work / "vectors", {"has_core.bit": b""})
    say(work, bench)
    return work / "vectors"


def behind_a_line(
    work: Path, network: IntegerNetwork, schedule: Schedule, on_chip: Sequence[bool]
) -> None:
    """What stands around the core on a board with a serial line, beside its Verilog."""
    board = boards.find("ulx3s-85f")
    files = ulx3s.render_ulx3s(network, schedule, board, on_chip, clock_mhz=board.clock_mhz)
    around = BuildPlan(files).under(ulx3s.FOLDER)
    write(work / "rtl", {path: text for path, text in around.items() if path.startswith("has_")})


def say(work: Path, bench: Any) -> None:
    """What the bench expects."""
    write(work / "vectors", {"bench.json": json.dumps(bench).encode()})


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def run(work: Path, benches: Sequence[str], *options: str, top: str = "has_core") -> int:
    """Run benches of the driver on what was laid out; every test in them passes, so many."""
    command = [
        sys.executable, BENCH, "--rtl", work / "rtl", "--roms", work / "roms",
        "--vectors", work / "vectors", "--work", work, "--top", top,
        "--bench", ",".join(benches), *options,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return rtl_cases.passed(done.stdout)
