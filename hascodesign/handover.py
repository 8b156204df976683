"""What the rendered and the simulated files of a build have to say of one another."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from hascodesign.errors import VerificationMismatch
from hascodesign.render import core as render
from hascodesign.render import hls, rom, rtl
from hascodesign.types import (
    BuildPlan,
    CoreRun,
    CoreStage,
    FaultProfile,
    IntArray,
    IntegerNetwork,
    Schedule,
)
from hascodesign.verify import core


def check_memories(
    plan: BuildPlan, network: IntegerNetwork, schedule: Schedule, on_chip: Sequence[bool]
) -> None:
    """Hold every memory file against the network and the map, byte by byte.

    The simulated columns need not come near every threshold: a bit that they pass over would stay
    wrong in silence.

    Raises
    ------
    VerificationMismatch
        A file that is not what the network and the map give.
    """
    held = plan.under("roms")
    for path, wanted in rom.rom_files(rom.build_roms(network, schedule, on_chip)).items():
        if held.get(path.removeprefix("roms/")) != wanted:
            raise VerificationMismatch(f"{path} must hold what the network and the map give")


Build = tuple[IntegerNetwork, Schedule, FaultProfile, BuildPlan]


def verilog(
    network: IntegerNetwork,
    schedule: Schedule,
    profile: FaultProfile,
    options: rtl.RtlOptions,
    *,
    core: bool,
) -> dict[str, bytes]:
    """Every file of rtl/: the array, and where wanted the accelerator around it."""
    if core:
        return render.render_core(network, schedule, profile, render.CoreOptions(options))
    return rtl.render_rtl(network, schedule, profile, options)


def core_runs(
    build: Build,
    codes: IntArray,
    work: Path,
    *,
    on_chip: Sequence[bool],
    simulator: str,
    progress: Callable[[str, int, int], None],
) -> tuple[CoreRun, ...]:
    """Classify images in the plan's simulated accelerator, healthy and with the faults.

    Parameters
    ----------
    build : network, schedule, profile and plan.
    codes : [n, height, width, channels] input codes; with none of them nothing is run.
    work : folder; core-healthy/ and core-faulty/ below it keep the logs.
    on_chip, simulator, progress : as in `verify.run.verify`.

    Raises
    ------
    VerificationMismatch
        Any activation of any layer, or any logit, that differs from the engine's.
    """
    if not len(codes):
        return ()
    runs: list[CoreRun] = []
    for run in ("healthy", "faulty"):
        progress("whole images", len(runs), 2)
        done = core.verify_core(
            *build,
            codes,
            work=work / f"core-{run}",
            faults=run == "faulty",
            on_chip=on_chip,
            simulator=simulator,
        )
        if done.mismatches:
            raise VerificationMismatch(
                f"the accelerator must equal the fault model: {done.mismatches} integers differ"
                f" in the {run} run, first {done.first[0]}; logs in {work}"
            )
        stages = tuple(CoreStage(s.name, s.cycles, s.ideal_cycles, s.busy) for s in done.stages)
        runs.append(
            CoreRun(run, done.images, done.outputs, done.image_cycles, stages, done.seconds)
        )
    progress("whole images", 2, 2)
    return tuple(runs)


def hls_vectors(
    vectors: Mapping[str, bytes],
    network: IntegerNetwork,
    schedule: Schedule,
    on_chip: Sequence[bool],
) -> dict[str, bytes]:
    """Inputs of the HLS test bench, hls/vectors/<layer>.txt: the healthy vectors as text."""
    made = {}
    for layer, row_map, kept in zip(network.layers, schedule.layers, on_chip, strict=True):
        with np.load(io.BytesIO(vectors[f"vectors/healthy/{layer.name}.npz"])) as data:
            made[f"hls/vectors/{layer.name}.txt"] = hls.hls_vectors(
                layer, row_map, schedule.array, data, weights_port=not kept
            )
    return made
