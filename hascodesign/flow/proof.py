"""The step that verifies a build: every layer, every memory file, whole images."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hascodesign.board import tools
from hascodesign.common import processes
from hascodesign.common.display import Display
from hascodesign.common.follow import following
from hascodesign.contract.batches import batch_refusal, batch_sizes, first_shared
from hascodesign.contract.build import Build, BuildPlan
from hascodesign.contract.errors import ConfigError, VerificationMismatch
from hascodesign.contract.results import CoreRun, CoreStage, Verification, WholeImages
from hascodesign.contract.types import IntArray
from hascodesign.flow.config import VerifyConfig
from hascodesign.render import hls, hls_network
from hascodesign.render.core import test_limits
from hascodesign.render.core_cycles import drain_cycles, wide_convolutions
from hascodesign.render.core_sizes import CoreOptions, image_beats, image_cycles, result_lanes
from hascodesign.render.rom_format import check_rom_files
from hascodesign.verify.memories import check_memories
from hascodesign.verify.progress import LOG, images_reader, seconds, words

IMAGES = 2  # that run through the whole accelerator by default
ANSWER = 15  # cycles of an image between its stages, and before its answer, about
OVERHEAD = 0.1  # of the ideal cycles, beyond which a convolution is named
RUNS = ("healthy", "faulty")
HLS_IMAGES = 20  # that run through the compiled C++, at most
HLS_PRODUCTS = 100_000_000  # of all of them, beyond which fewer run; about 30 ns each
HLS_MOST = 3_000_000_000  # of one image, beyond which none does
HLS_FOLDER = "hls"
FOLDERS = (*RUNS, *(f"core-{run}" for run in RUNS), HLS_FOLDER)  # that a verification makes


@dataclass(frozen=True, slots=True)
class VerifyJob:
    """What a build is verified on, and how."""

    build: Build
    codes: IntArray  # [n, height, width, channels] held-out input codes
    labels: IntArray  # [n] classes of them
    on_chip: tuple[bool, ...]
    chosen: VerifyConfig
    simulator: str
    refusal: str | None  # why the accelerator is not built
    hardware: CoreOptions = field(default_factory=CoreOptions)  # how it is built
    port_cycles: int | None = None  # in which the memory port brings a beat of streamed weights
    clock_mhz: float = 100.0  # of the accelerator


def verify(
    job: VerifyJob, work: Path, display: Display
) -> tuple[Verification, dict[str, bytes], WholeImages]:
    """Hold a build's layers, memory files and whole accelerator to the engine.

    Returns
    -------
    What the layers showed; the vector files and, for a board with the accelerator, images with
    their logits, path -> bytes; what whole images showed.

    Raises
    ------
    VerificationMismatch
        Any integer, or any memory file, that is not the expected one.
    """
    from hascodesign.verify import images, run, self_test  # noqa: PLC0415  (numba compiles)

    build = job.build
    verification, vectors = run.verify(
        build.network,
        build.schedule,
        build.profile,
        build.plan,
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
    check_rom_folder(build.plan)
    check_memories(build, job.on_chip)
    texts = hls_vectors(vectors, build, job.on_chip)
    longest = max(verification.layers, key=lambda layer: layer.cycles)
    rate = longest.cycles / longest.seconds if longest.seconds > 0 else None
    whole = whole_images(job, work, display, rate)
    whole, more = hls_images(job, whole, work, display)
    texts |= more
    if job.refusal is None:
        texts |= images.image_file(
            build.network, build.schedule, build.profile, job.codes, job.labels
        )
        texts |= self_test.self_test_file(
            build.network, build.schedule, build.profile, job.on_chip,
            test_limits(build.network, build.schedule, job.hardware),
        )  # fmt: skip
    return verification, {**vectors, **texts}, whole


def check_rom_folder(plan: BuildPlan) -> None:
    """Hold the three forms of every memory, and the manifest, to one another.

    Raises
    ------
    VerificationMismatch
        Words that differ between ``.mem``, ``.coe`` and ``.h``, or a wrong entry.
    """
    try:
        check_rom_files(plan.files)
    except ConfigError as error:
        raise VerificationMismatch(str(error)) from None


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
    cycles = count * _image_cycles(job)
    likely = seconds(cycles, job.build.schedule.array, job.simulator, rate)
    display.line(words("whole images", cycles, likely))
    display.progress("whole images", 0, len(RUNS))
    with processes.threads(len(RUNS)) as pool:
        waiting = [pool.submit(_core_run, job, run, (count, cycles), work, display) for run in RUNS]
        runs = []
        for done, future in enumerate(waiting):
            runs.append(future.result())
            display.progress("whole images", done + 1, len(RUNS))
    more = (*_slow(job, runs[0]), *_streamed(job, runs[0]))
    return WholeImages(built=True, runs=tuple(runs), notes=(*notes, *more))


def hls_images(
    job: VerifyJob, whole: WholeImages, work: Path, display: Display
) -> tuple[WholeImages, dict[str, bytes]]:
    """Classify images in the plan's compiled HLS C++, healthy and with the faults.

    Returns
    -------
    ``whole`` with what that showed, or with a note of why nothing ran; the input files of the test
    bench, path -> content.
    """
    from hascodesign.engine import gemm  # noqa: PLC0415  (numba compiles)
    from hascodesign.verify import hls as bench  # noqa: PLC0415

    build = job.build
    network, schedule = build.network, build.schedule
    refusal = hls_network.network_refusal(network, schedule.array, job.on_chip)
    if refusal is not None:
        note = f"hls/ has no has_network, and has_layer was not compiled: {refusal}."
        return replace(whole, notes=(*whole.notes, note)), {}
    products = _hls_products(build)
    if products > HLS_MOST:
        note = (
            f"The C++ of hls/ ran no whole image: one takes as long as {products:,.0f} products"
            f" without draws, more than {HLS_MOST:,}."
        )
        return replace(whole, notes=(*whole.notes, note)), {}
    count = int(max(1, min(HLS_IMAGES, len(job.codes), HLS_PRODUCTS // max(1, products))))
    codes = job.codes[:count]
    texts, delivered = {}, {}
    for run in RUNS:
        profile = build.profile if run == "faulty" else replace(build.profile, faults=())
        traces = list(gemm.trace(network, schedule, profile, codes))
        texts[run], delivered[f"hls/images/{run}.txt"] = (
            hls_network.network_vectors(network, schedule, codes, traces, job.on_chip, every=every)
            for every in (True, False)
        )
    if not tools.find("g++"):
        note = f"The C++ of hls/ was not compiled: no g++; {tools.TOOLS['g++'].install}."
        return replace(whole, notes=(*whole.notes, note)), delivered
    display.progress("HLS C++", 0, 1)
    integers = hls_network.compared(network, count, every=True)
    runs = bench.run_network(build.plan, texts, count, integers, work=work / HLS_FOLDER)
    display.progress("HLS C++", 1, 1)
    return replace(whole, hls=runs), delivered


def _hls_products(build: Build) -> float:
    """Products of one image; every transient fault is asked for at each, half a product's time."""
    transients = sum(fault.kind == "transient" for fault in build.profile.faults)
    return build.network.macs * (1 + transients / 2)


def check_images(wanted: int, heldout: int) -> None:
    """Refuse to be asked for more whole images than are held out."""
    if wanted > heldout:
        raise ConfigError(
            f"--core-images must be at most {heldout:,}, the images held out, not {wanted:,}"
        )


def _image_count(job: VerifyJob) -> tuple[int, tuple[str, ...]]:
    """How many images run, and a sentence where they are fewer than by default."""
    chosen = job.chosen
    if chosen.core_images is not None:
        check_images(chosen.core_images, len(job.codes))
        return chosen.core_images, ()
    cycles = _image_cycles(job)
    wanted = min(IMAGES, len(job.codes))
    count = min(wanted, chosen.core_cycles // cycles)
    if count == wanted:
        return count, ()
    return count, (
        f"{count} of {wanted} images ran through the whole accelerator: each takes about"
        f" {cycles:,} cycles, and [verify] core_cycles allows {chosen.core_cycles:,};"
        " --core-images asks for more.",
    )


def _image_cycles(job: VerifyJob) -> int:
    """Cycles of one image in the simulated accelerator, predicted; batches are as those of it.

    Weights come as fast as they are taken there.
    """
    single = replace(job.hardware, batch=1)
    return image_cycles(job.build.network, job.build.schedule, job.on_chip, single)


def _core_run(
    job: VerifyJob, run: str, sizes: tuple[int, int], work: Path, display: Display
) -> CoreRun:
    from hascodesign.verify import core  # noqa: PLC0415  (numba compiles)

    count, cycles = sizes
    folder = work / f"core-{run}"
    with following(folder / LOG, images_reader(run, count, cycles, display.progress)):
        done = core.verify_core(
            job.build.network,
            job.build.schedule,
            job.build.profile,
            job.build.plan,
            job.codes[:count],
            work=folder,
            faults=run == "faulty",
            on_chip=job.on_chip,
            simulator=job.simulator,
            batch=job.hardware.batch,
        )
    if done.mismatches:
        raise VerificationMismatch(
            f"the accelerator must equal the fault model: {done.mismatches} integers differ"
            f" in the {run} run, first {done.first[0]}; logs in {work}"
        )
    stages = tuple(
        CoreStage(s.name, s.cycles, s.ideal_cycles, s.load_cycles, s.busy) for s in done.stages
    )
    last = batch_sizes(done.images, job.hardware.batch)[-1]
    cycles = -(-done.image_cycles // last)
    return CoreRun(run, done.images, done.outputs, cycles, stages, done.seconds)


def _slow(job: VerifyJob, run: CoreRun) -> tuple[str, ...]:
    """A sentence for each convolution, channels >= SIMD, far from passes * T * N cycles."""
    network, spec = job.build.network, job.build.schedule.array
    drain = drain_cycles(spec, result_lanes(network, spec, job.hardware))
    stages = {stage.name: stage for stage in run.stages}
    notes = []
    for layer in wide_convolutions(network, spec):
        stage, steps = stages[layer.name], spec.steps(layer.depth)
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


def _streamed(job: VerifyJob, run: CoreRun) -> tuple[str, ...]:
    """A sentence on what streamed weights cost, by the simulated cycles and the board's port."""
    names = [
        layer.name
        for layer, inside in zip(job.build.network.layers, job.on_chip, strict=True)
        if not inside
    ]
    if not names or job.port_cycles is None:
        return ()
    batch = job.hardware.batch
    cycles = stream_cycles(job, run, job.port_cycles)
    why = batch_refusal(job.build.network, job.on_chip)
    once = (
        f"once for a batch of {batch} images"
        if batch > 1
        else "for each image" + (f", because {why}" if why else "")
    )
    simulated = batch_sizes(run.images, batch)[-1]
    shared = ""
    if simulated > 1:
        place = first_shared(job.build.network, job.on_chip)
        shared = (
            f" {run.stages[place].name} and the stages behind it but the last ran once for"
            f" {simulated} images: their cycles are of all {simulated}."
        )
    return (
        f"The weights of {', '.join(names)} are streamed, {once}: with the memory port, which"
        f" brings a step's in {job.port_cycles} cycles, the simulated stages make {cycles:,} cycles"
        f" an image in a stream, {job.clock_mhz * 1e6 / cycles:,.0f} images a second at"
        f" {job.clock_mhz:g} MHz.{shared}",
        *_in_batches(job, run),
    )


def _in_batches(job: VerifyJob, run: CoreRun) -> tuple[str, ...]:
    """A sentence on the batches that were simulated."""
    batch = job.hardware.batch
    if batch == 1:
        return ()
    sizes = batch_sizes(run.images, batch)
    whole = "" if batch in sizes else f", none of {batch}: --core-images asks for more"
    return (
        f"Batches of {' and '.join(map(str, sorted(set(sizes), reverse=True)))} images were"
        f" simulated{whole}.",
    )


def stream_cycles(job: VerifyJob, run: CoreRun, port_cycles: int) -> int:
    """Cycles of an image in a stream of full batches over the memory port.

    By the cycles of each stage in the simulation, whose last batch may be smaller and whose weights
    come at once: loading takes the port's time, a stage that runs once for a batch multiplies for
    each of its images, and all else is as it was.
    """
    network, batch = job.build.network, job.hardware.batch
    shared = range(0)
    if batch > 1:
        shared = range(first_shared(network, job.on_chip), len(network.stages) - 1)
    simulated = batch_sizes(run.images, batch)[-1]
    total = batch * image_beats(network, job.build.schedule.array.simd)
    total += batch * (ANSWER + network.layers[-1].rows)
    for place, stage in enumerate(run.stages):
        loading = stage.load_cycles * port_cycles
        computing = stage.cycles - stage.load_cycles
        if place not in shared:
            total += batch * (loading + computing)
            continue
        ends = computing - stage.ideal_cycles
        total += loading + ends + stage.ideal_cycles * batch // simulated
    return -(-total // batch)


def hls_vectors(
    vectors: Mapping[str, bytes], build: Build, on_chip: Sequence[bool]
) -> dict[str, bytes]:
    """Inputs of the HLS test bench, hls/vectors/<layer>.txt: the healthy vectors as text."""
    made = {}
    layers = zip(build.network.layers, build.schedule.layers, on_chip, strict=True)
    for layer, row_map, kept in layers:
        with np.load(io.BytesIO(vectors[f"vectors/healthy/{layer.name}.npz"])) as data:
            made[f"hls/vectors/{layer.name}.txt"] = hls.hls_vectors(
                layer, row_map, build.schedule.array, data, weights_port=not kept
            )
    return made
