"""Run whole images through the simulated accelerator and hold every integer to the engine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hascodesign.common.files import read_arrays
from hascodesign.contract import arithmetic, array
from hascodesign.contract.batches import batch_sizes, first_shared
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import ConfigError, StepFailed
from hascodesign.contract.types import (
    FaultProfile,
    IntArray,
    IntegerNetwork,
    MaxPool,
    Schedule,
    frozen,
)
from hascodesign.engine import gemm
from hascodesign.verify import simulate

FIRST = 5  # mismatches that are shown
INSIDE = ("acc_", "out_", "pool_")  # arrays of a job that a bench sees inside the accelerator


@dataclass(frozen=True, slots=True)
class StageCycles:
    """What one stage of the network takes in the accelerator, for one image."""

    name: str
    cycles: int  # from the stage's start to its last result
    ideal_cycles: int  # passes * T * N; 0 for a pooling
    load_cycles: int  # beats of weights that an external layer waits for; 0 on chip

    @property
    def busy(self) -> float:
        """Share of the cycles in which the multipliers work."""
        return self.ideal_cycles / self.cycles

    @property
    def overhead(self) -> float:
        """Cycles beyond the ideal and the loading of weights, as a share of the ideal."""
        if not self.ideal_cycles:
            return 0.0
        return (self.cycles - self.load_cycles) / self.ideal_cycles - 1.0


@dataclass(frozen=True, slots=True)
class CoreVerification:
    """What whole images in the simulated accelerator showed."""

    simulator: str
    faults: bool  # whether the profile's faults were in
    images: int
    outputs: int  # integers compared: accumulators, codes, pooled codes and logits
    mismatches: int
    first: tuple[str, ...]  # the first five mismatches, a line each
    stages: tuple[StageCycles, ...]
    #: Of the last image, from its first beat in to its last result out; or its share of its batch.
    image_cycles: int
    cycles: int  # of the run
    seconds: float  # of the simulation
    classes: IntArray  # [images] as the accelerator gave them


def expected(
    network: IntegerNetwork,
    schedule: Schedule,
    profile: FaultProfile,
    codes: arithmetic.Codes,
    on_chip: Sequence[bool],
    batch: int = 1,
) -> dict[str, IntArray]:
    """The job of a core bench: images, what the engine gives at every layer, streamed weights.

    Parameters
    ----------
    network, schedule, profile : as ``verify_core`` takes them; faults act.
    codes : [n, height, width, channels] input codes.
    on_chip : per layer, whether its weights lie in the weight memories.
    batch : images for which the build takes streamed weights once.

    Returns
    -------
    Arrays by the names under which the bench reads them.
    """
    job: dict[str, IntArray] = {"codes": np.asarray(codes, np.int64).reshape(len(codes), -1)}
    if batch > 1:  # the layers that run once for all of a batch
        first = network.stages[first_shared(network, on_chip)]
        assert not isinstance(first, MaxPool)
        job["batch"] = np.array([batch, first.index, len(network.layers) - 1])
    run = gemm.trace(network, schedule, profile, codes)
    traces = {trace.layer.index: trace for trace in run}
    maps, signed = codes, network.input.signed
    for place, stage in enumerate(network.stages):
        if isinstance(stage, MaxPool):
            maps = arithmetic.max_pool(stage, maps)
            job[f"pool_{place}"] = np.asarray(maps, np.int64).reshape(len(codes), -1)
            job[f"signed_pool{place}"] = np.array(signed)
            continue
        trace, signed = traces[stage.index], stage.out_signed
        maps = arithmetic.maps_of(stage, trace.codes)
        job[f"acc_{stage.index}"] = trace.acc.astype(np.int64)
        job[f"out_{stage.index}"] = trace.codes.astype(np.int64)
        job[f"signed_layer{stage.index}"] = np.array(signed)
        if not on_chip[stage.index]:
            job[f"weights_{stage.index}"] = stage.weights
            job[f"slots_{stage.index}"] = schedule.layers[stage.index].slots
            job[f"order_{stage.index}"] = array.k_order(stage.depth, profile.array.simd)
    return job


def verify_core(
    network: IntegerNetwork,
    schedule: Schedule,
    profile: FaultProfile,
    plan: BuildPlan,
    codes: arithmetic.Codes,
    *,
    work: Path,
    faults: bool,
    on_chip: Sequence[bool] | None = None,
    simulator: str = "icarus",
    pauses: int | None = None,
    stalled: int | None = None,
    ports_only: bool = False,
    batch: int = 1,
    port_cycles: int = 1,
) -> CoreVerification:
    """Classify images in the plan's simulated ``has_core``; compare every integer on the way.

    Parameters
    ----------
    network : the integer network.
    schedule : its row maps.
    profile : a checked profile of the same array.
    plan : a build with ``rtl/`` of ``render_core`` and ``roms/``; its very bytes are simulated.
    codes : [n, height, width, channels] input codes.
    work : folder for the simulation's files.
    faults : whether the profile's faults act, in the engine and in the Verilog.
    on_chip : per layer, whether its weights lie in the weight memories; None where all do.
    simulator : "icarus" or "verilator".
    pauses : seed of random idle cycles and back-pressure; None for none.
    stalled : cycles without a beat after which it is given up; None for the bench's own.
    ports_only : the logits alone are compared: what a netlist shows.
    batch : images for which the build takes streamed weights once.
    port_cycles : cycles in which the memory port brings a beat of streamed weights.

    Returns
    -------
    What was compared, and the cycles that each stage took.

    Raises
    ------
    ConfigError : an unknown simulator.
    ToolNotFound : the simulator is not installed.
    StepFailed : it did not build, a memory file did not load, results are missing, or the
        accelerator is not idle and free of errors at the end.
    """
    if not len(codes):
        raise StepFailed("images must be there to run through the accelerator, not none")
    inside = tuple(on_chip or (True,) * len(network.layers))
    applied = profile if faults else replace(profile, faults=())
    job = expected(network, schedule, applied, codes, inside, batch)
    target = work / "vectors"
    target.mkdir(parents=True, exist_ok=True)
    np.savez(target / "images.npz", allow_pickle=False, **job)
    start = time.perf_counter()
    limit = simulate.limit_s(len(codes) * _ideal_cycles(network, schedule), schedule.array)
    got = simulate_images(
        plan, work, faults=faults, simulator=simulator, pauses=pauses, stalled=stalled,
        ports_only=ports_only, limit=limit, port_cycles=port_cycles,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    pairs = {} if ports_only else {k: (v, got[k]) for k, v in job.items() if k.startswith(INSIDE)}
    pairs["logits"] = (job[f"out_{len(network.layers) - 1}"].T, got["logits"])
    run = (simulator, faults, seconds)
    return _compare(network, schedule, inside, pairs, got, run, batch)


def simulate_images(
    plan: BuildPlan,
    work: Path,
    *,
    faults: bool,
    simulator: str,
    pauses: int | None = None,
    stalled: int | None = None,
    ports_only: bool = False,
    limit: float | None = None,
    port_cycles: int = 1,
) -> dict[str, IntArray]:
    """Run the bench on ``work/vectors/images.npz``; what it saw, by the job's names.

    ``limit`` is in seconds, as of ``simulate.limit_s``; None for none.
    """
    if simulator not in simulate.SIMULATORS:
        raise ConfigError(
            f"simulator must be {' or '.join(simulate.SIMULATORS)}, not {simulator!r}"
        )
    simulate.require(simulator)
    simulate.lay_out(plan, work)
    options = ["--bench", "core_port_tests" if ports_only else "core_tests", "--top", "has_core"]
    options += ["--faults"] * faults + simulate.stalls(pauses, stalled)
    options += ["--port-cycles", str(port_cycles)] * (port_cycles > 1)
    ended = simulate.run_bench(work, work / "vectors", simulator, options, limit)
    results = work / "results" / "images.npz"
    if not results.is_file():
        raise StepFailed(
            f"the {simulator} simulation must give results of every layer, and did not "
            f"({ended}): see {work / simulate.LOG}"
        )
    for folder in ("run", "sim_build"):
        shutil.rmtree(work / folder, ignore_errors=True)
    return {name: frozen(values, values.dtype) for name, values in read_arrays(results).items()}


def _ideal_cycles(network: IntegerNetwork, schedule: Schedule) -> int:
    """Cycles of one image in which the multipliers work, and those that load external weights."""
    return sum(
        schedule.layers[layer.index].passes
        * schedule.array.steps(layer.depth)
        * (layer.positions + 1)
        for layer in network.layers
    )


def _compare(
    network: IntegerNetwork,
    schedule: Schedule,
    on_chip: Sequence[bool],
    pairs: Mapping[str, tuple[IntArray, IntArray]],
    got: dict[str, IntArray],
    run: tuple[str, bool, float],
    batch: int,
) -> CoreVerification:
    if got["status"]:
        raise StepFailed(
            f"the accelerator must be idle and without an error, not of status {got['status']:#x}"
        )
    lines: list[str] = []
    wrong = outputs = 0
    for name, (values, came) in pairs.items():
        if values.shape != came.shape:
            raise StepFailed(f"{name} of the simulation must be {values.shape}, not {came.shape}")
        outputs += values.size
        wrong += int(np.count_nonzero(values != came))
        for where in np.argwhere(values != came)[: FIRST - len(lines)]:
            place = tuple(where.tolist())
            lines.append(f"{name} at {place} must be {values[place]}, not {came[place]}")
    simulator, faults, seconds = run
    logits = pairs["logits"][0]
    if not faults and logits.size > 1 and (logits == logits.flat[0]).all():
        raise StepFailed(
            f"the healthy logits must not all be {logits.flat[0]}, which an accelerator that does"
            " nothing could give too"
        )
    last = batch_sizes(len(got["logits"]), batch)[-1]  # of whose batch the registers tell
    return CoreVerification(
        simulator=simulator,
        faults=faults,
        images=len(got["logits"]),
        outputs=outputs,
        mismatches=wrong,
        first=tuple(lines),
        stages=_stage_cycles(network, schedule, on_chip, got["stage_cycles"], last),
        image_cycles=-(-int(got["image_cycles"]) // last),
        cycles=int(got["cycles"]),
        seconds=seconds,
        classes=frozen(arithmetic.classify(got["logits"])),
    )


def _stage_cycles(
    network: IntegerNetwork,
    schedule: Schedule,
    on_chip: Sequence[bool],
    cycles: IntArray,
    images: int,
) -> tuple[StageCycles, ...]:
    """Of the last image; of stages that ran once for its batch, of all ``images`` together."""
    shared = range(0)
    if images > 1:
        shared = range(first_shared(network, on_chip), len(network.stages) - 1)
    out = []
    for place, stage in enumerate(network.stages):
        if isinstance(stage, MaxPool):
            out.append(StageCycles(f"pool{place}", int(cycles[place]), 0, 0))
            continue
        beats = schedule.layers[stage.index].passes * schedule.array.steps(stage.depth)
        load = 0 if on_chip[stage.index] else beats
        columns = images if place in shared else stage.positions
        out.append(StageCycles(stage.name, int(cycles[place]), beats * columns, load))
    return tuple(out)
