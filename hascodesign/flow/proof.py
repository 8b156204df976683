"""What the rendered and the simulated files of a build have to say of one another."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hascodesign.board.capacity import control_ramb18, ramb18, weights_on_chip
from hascodesign.common import processes
from hascodesign.common.display import Display
from hascodesign.common.follow import following
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import ConfigError, VerificationMismatch
from hascodesign.contract.results import CoreRun, CoreStage, Verification, WholeImages
from hascodesign.contract.types import Board, FaultProfile, IntArray, IntegerNetwork, Schedule
from hascodesign.faults import formats as fault_formats
from hascodesign.faults.power import PowerModel
from hascodesign.flow.config import RenderConfig, VerifyConfig
from hascodesign.render import core as render
from hascodesign.render import hls, project, rom, rtl
from hascodesign.verify.progress import LOG, images_reader, seconds, words

if TYPE_CHECKING:
    from hascodesign.schedule.individuals import PowerShares

IMAGES = 2  # that run through the whole accelerator by default
OVERHEAD = 0.1  # of the ideal cycles, beyond which a convolution is named
RUNS = ("healthy", "faulty")


def power_shares(profile: FaultProfile) -> PowerShares:
    """The power model for a search: at the voltage of the profile's cells, else at nominal."""
    from hascodesign.schedule.individuals import PowerShares  # noqa: PLC0415  (pymoo: start-up time)

    model = PowerModel()
    given = profile.conditions.get("voltage")
    volts = model.nominal
    # anybody may call a condition so; the cells' own is in volts of the whole array's supply
    own = profile.conditions.get("generator") == "threshold"
    if own and isinstance(given, int | float) and 0 < given <= model.nominal:
        volts = float(given)
    power = model.power(volts)
    label = (
        f"{model.label}; at {volts:g} V, dynamic power in proportion to the cycles of an image"
        " (a fixed rate of images, an array that rests between them)"
    )
    return PowerShares(power.dynamic, power.static, label)


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


def render_build(
    network: IntegerNetwork,
    schedule: Schedule,
    profile: FaultProfile,
    board: Board,
    chosen: RenderConfig,
    *,
    on_chip: tuple[bool, ...],
    core: bool,
) -> BuildPlan:
    """RTL, ROMs, HLS and the tools' scripts of one build.

    Parameters
    ----------
    network : with its rows as written.
    on_chip : per layer, whether its weights are kept in the banks.
    core : whether the accelerator around the array is built.
    """
    roms = rom.build_roms(network, schedule, on_chip)
    options = rtl.RtlOptions(chosen.pipeline, chosen.multipliers, on_chip)
    sources = BuildPlan.merge(
        [
            BuildPlan(verilog(network, schedule, profile, options, core=core)),
            BuildPlan(rom.rom_files(roms)),
            BuildPlan(hls.render_hls(network, schedule, roms, on_chip, profile)),
        ]
    )
    scripts = project.render_project(
        board,
        sources.files,
        clock_mhz=chosen.clock_mhz or board.clock_mhz,
        multipliers=chosen.multipliers,
        top="has_core" if core else "has_array",
    )
    return BuildPlan.merge([sources, BuildPlan(scripts)])


def record_files(
    network: IntegerNetwork,
    profile: FaultProfile,
    schedule: Schedule | None,
    written: IntegerNetwork | None = None,
) -> dict[str, bytes]:
    """faults.json and, where there is a schedule, schedule.json with the rows as written."""
    from hascodesign.schedule import formats as schedule_formats  # noqa: PLC0415
    from hascodesign.schedule.written import rows_of  # noqa: PLC0415

    made = {"faults.json": fault_formats.write_json(profile)}
    if schedule is not None:
        rows = None
        if written is not None:
            rows = [[row.text() for row in layer] for layer in rows_of(network, written)]
        made["schedule.json"] = schedule_formats.to_json(schedule, rows)
    return made


def kept_on_chip(
    network: IntegerNetwork, schedule: Schedule, board: Board, *, core: bool
) -> tuple[bool, ...]:
    """Per layer: whether its weights are kept in the banks, beside what the accelerator takes."""
    taken = core_ramb18(network, schedule) if core else 0
    return weights_on_chip(network, schedule, schedule.array, board, taken)


@dataclass(frozen=True, slots=True)
class VerifyJob:
    """What a build is verified on, and how."""

    build: Build
    codes: IntArray  # [n, height, width, channels] held-out input codes
    on_chip: tuple[bool, ...]
    chosen: VerifyConfig
    simulator: str
    refusal: str | None  # why the accelerator is not built


def core_refusal(network: IntegerNetwork, schedule: Schedule, profile: FaultProfile) -> str | None:
    """Why the accelerator cannot run this network; None where it can."""
    try:
        render.render_core(network, schedule, profile, render.CoreOptions())
    except ConfigError as error:
        return str(error)
    return None


def core_ramb18(network: IntegerNetwork, schedule: Schedule) -> int:
    """Blocks of 18 kbit that the accelerator takes at most beside the array of one lane."""
    spec, plain = schedule.array, render.CoreOptions()
    lanes = render.result_lanes(network, spec, plain)
    banks, words = render.buffer_sizes(network, schedule, plain)
    copies = banks * render.runs_read(network, spec)
    buffers = sum(copies * ramb18(spec.act_bits, count) for count in words)
    slots = sum(row_map.passes for row_map in schedule.layers) * spec.pe
    checked = ramb18(max(layer.rows for layer in network.layers).bit_length(), slots)
    return buffers + checked + (lanes - 1) * control_ramb18(network, schedule)


def verify(
    job: VerifyJob, work: Path, display: Display
) -> tuple[Verification, dict[str, bytes], WholeImages]:
    """Hold a build's layers, memory files and whole accelerator to the engine.

    Returns
    -------
    What the layers showed; the vector files, path -> bytes; what whole images showed.

    Raises
    ------
    VerificationMismatch
        Any integer, or any memory file, that is not the expected one.
    """
    from hascodesign.verify import run  # noqa: PLC0415  (numba compiles)

    network, schedule, profile, plan = job.build
    verification, vectors = run.verify(
        network,
        schedule,
        profile,
        plan,
        job.codes,
        work=work,
        simulator=job.simulator,
        cycle_budget=job.chosen.cycle_budget,
        on_chip=job.on_chip,
        progress=display.progress,
        say=display.line,
    )
    if verification.mismatches:
        for mismatch in verification.first:
            display.line(run.format_mismatch(mismatch))
        raise VerificationMismatch(
            f"the simulated Verilog must equal the fault model: {verification.mismatches}"
            f" integers differ; logs in {work}"
        )
    check_memories(plan, network, schedule, job.on_chip)
    texts = hls_vectors(vectors, network, schedule, job.on_chip)
    longest = max(verification.layers, key=lambda layer: layer.cycles)
    rate = longest.cycles / longest.seconds if longest.seconds > 0 else None
    return verification, {**vectors, **texts}, whole_images(job, work, display, rate)


def whole_images(
    job: VerifyJob, work: Path, display: Display, rate: float | None = None
) -> WholeImages:
    """Classify images in the plan's simulated accelerator, healthy and with the faults.

    Parameters
    ----------
    job : its ``chosen`` says how many images, or in how many cycles.
    work : folder; core-healthy/ and core-faulty/ below it keep the logs.
    display : told of the progress, and before it how long it is likely to take.
    rate : cycles per second that the simulator has shown; None where it has not run yet.

    Raises
    ------
    VerificationMismatch
        Any activation of any layer, or any logit, that differs from the engine's.
    """
    if job.refusal is not None:
        note = f"The accelerator is not built, the array alone is: {job.refusal}."
        return WholeImages(built=False, runs=(), notes=(note,))
    count, notes = _image_count(job)
    if not count:
        return WholeImages(built=True, runs=(), notes=notes)
    cycles = count * render.image_cycles(
        job.build[0], job.build[1], job.on_chip, render.CoreOptions()
    )
    likely = seconds(cycles, job.build[1].array, job.simulator, rate)
    display.line(words("whole images", cycles, likely))
    display.progress("whole images", 0, len(RUNS))
    with processes.threads(len(RUNS)) as pool:
        waiting = [pool.submit(_core_run, job, run, (count, cycles), work, display) for run in RUNS]
        runs = []
        for done, future in enumerate(waiting):
            runs.append(future.result())
            display.progress("whole images", done + 1, len(RUNS))
    return WholeImages(built=True, runs=tuple(runs), notes=(*notes, *_slow(job, runs[0])))


def check_images(wanted: int, heldout: int) -> None:
    """Refuse to be asked for more whole images than are held out."""
    if wanted > heldout:
        raise ConfigError(
            f"--core-images must be at most {heldout:,}, the images held out, not {wanted:,}"
        )


def _image_count(job: VerifyJob) -> tuple[int, tuple[str, ...]]:
    """How many images run, and a sentence where they are fewer than by default."""
    chosen, (network, schedule, *_) = job.chosen, job.build
    if chosen.core_images is not None:
        check_images(chosen.core_images, len(job.codes))
        return chosen.core_images, ()
    cycles = render.image_cycles(network, schedule, job.on_chip, render.CoreOptions())
    wanted = min(IMAGES, len(job.codes))
    count = min(wanted, chosen.core_cycles // cycles)
    if count == wanted:
        return count, ()
    return count, (
        f"{count} of {wanted} images ran through the whole accelerator: each takes about"
        f" {cycles:,} cycles, and [verify] core_cycles allows {chosen.core_cycles:,};"
        " --core-images asks for more.",
    )


def _core_run(
    job: VerifyJob, run: str, sizes: tuple[int, int], work: Path, display: Display
) -> CoreRun:
    from hascodesign.verify import core  # noqa: PLC0415  (numba compiles)

    count, cycles = sizes
    folder = work / f"core-{run}"
    with following(folder / LOG, images_reader(run, count, cycles, display.progress)):
        done = core.verify_core(
            *job.build,
            job.codes[:count],
            work=folder,
            faults=run == "faulty",
            on_chip=job.on_chip,
            simulator=job.simulator,
        )
    if done.mismatches:
        raise VerificationMismatch(
            f"the accelerator must equal the fault model: {done.mismatches} integers differ"
            f" in the {run} run, first {done.first[0]}; logs in {work}"
        )
    stages = tuple(
        CoreStage(s.name, s.cycles, s.ideal_cycles, s.load_cycles, s.busy) for s in done.stages
    )
    return CoreRun(run, done.images, done.outputs, done.image_cycles, stages, done.seconds)


def _slow(job: VerifyJob, run: CoreRun) -> tuple[str, ...]:
    """A sentence for each convolution, channels >= SIMD, far from passes * T * N cycles."""
    network, schedule, *_ = job.build
    lanes = render.result_lanes(network, schedule.array, render.CoreOptions())
    drain = render.drain_cycles(schedule.array, lanes)
    stages = {stage.name: stage for stage in run.stages}
    notes = []
    for layer in render.wide_convolutions(network, schedule.array):
        stage, steps = stages[layer.name], schedule.array.steps(layer.depth)
        beyond = stage.cycles - stage.load_cycles - stage.ideal_cycles
        if beyond > OVERHEAD * stage.ideal_cycles:
            why = (
                f"a column's results take up to {drain} cycles to leave, its T = {steps} steps less"
                if drain > steps
                else "so short a layer is mostly its beginning and its end"
            )
            notes.append(
                f"{layer.name} takes {100 * beyond / stage.ideal_cycles:.0f} % more cycles than"
                f" passes * T * N = {stage.ideal_cycles:,}: {why}."
            )
    return tuple(notes)


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
