"""Verify a build: simulate its RTL, healthy and faulty, and hold every integer to the engine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from itertools import islice
from pathlib import Path
from typing import TypedDict

import numpy as np

from hascodesign.common import processes
from hascodesign.common.follow import following
from hascodesign.contract import arithmetic
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import StepFailed
from hascodesign.contract.results import LayerVerification, Mismatch, Verification
from hascodesign.contract.types import FaultProfile, IntArray, IntegerNetwork, RowMap, Schedule
from hascodesign.verify import simulate
from hascodesign.verify.coverage import coverage
from hascodesign.verify.expect import expectations
from hascodesign.verify.progress import LOG, Progress, reader, seconds, words
from hascodesign.verify.vectors import Vectors

RUNS = ("healthy", "faulty")
FIRST = 5  # mismatches that are shown
COPIES = ("rtl", "roms", "run", "sim_build")  # folders of a simulation that hold the build
WHAT = "verify"


class Options(TypedDict):
    """What ``simulate`` takes alike in every run."""

    simulator: str
    pauses: int | None
    stalled: int | None
    limit: float


def verify(
    network: IntegerNetwork,
    schedule: Schedule,
    profile: FaultProfile,
    plan: BuildPlan,
    codes: arithmetic.Codes,
    *,
    work: Path,
    simulator: str = "icarus",
    cycle_budget: int = 100_000,
    on_chip: Sequence[bool] | None = None,
    pauses: int | None = None,
    stalled: int | None = None,
    progress: Progress = lambda _what, _done, _total: None,
    say: Callable[[str], None] = lambda _line: None,
) -> tuple[Verification, dict[str, bytes]]:
    """Simulate the plan's RTL on real activations and compare every integer with the engine.

    Every layer runs twice, from activations to codes: the healthy array on the healthy network's
    activations, and the array with the profile's faults on those that the faulty network feeds
    it. Both take the same columns, which are chosen to excite the faults.

    Parameters
    ----------
    network : the integer network.
    schedule : its row maps.
    profile : a checked profile of the same array.
    plan : the build, with ``rtl/`` and ``roms/``; the simulation reads its very bytes.
    codes : [n, height, width, channels] held-out input codes.
    work : folder for the simulations' files.
    simulator : as ``simulate`` takes it.
    cycle_budget : clock cycles within which a layer is given its full count of columns.
    on_chip : per layer, whether its weights lie in the weight memories; None where all do.
    pauses, stalled : as ``simulate`` takes them.
    progress : called with (what, done, total), by layer too while it is simulated.
    say : told in one line how long the simulation is likely to take.

    Returns
    -------
    The verification, which may hold mismatches, and the vector files, path -> bytes, that hold
    what the simulation gave.

    Raises
    ------
    StepFailed
        The simulation failed, did not give every result of every layer, or would show nothing:
        no image, or values that are all alike.
    """
    if not len(codes):
        raise StepFailed("verify: held-out images must be there to simulate, not none")
    start = time.perf_counter()
    steps = 2 + len(RUNS)
    progress(WHAT, 0, steps)
    runs, excited = expectations(network, schedule, profile, codes, cycle_budget, on_chip)
    require_telling(runs)
    progress(WHAT, 1, steps)
    cycles = max(sum(_ideal(vectors) for vectors in layers) for layers in runs.values())
    say(words("layers", cycles, seconds(cycles, profile.array, simulator)))
    jobs = {run: _write_job(work / run, vectors) for run, vectors in runs.items()}
    limit = simulate.limit_s(cycles, profile.array)
    options: Options = {
        "simulator": simulator, "pauses": pauses, "stalled": stalled, "limit": limit,
    }  # fmt: skip
    results: dict[str, Mapping[str, simulate.LayerResult]] = {}
    with processes.threads(len(RUNS)) as pool:
        waiting = {
            pool.submit(_simulate, run, plan, jobs[run], work / run, options, progress): run
            for run in RUNS
        }
        for done, future in enumerate(as_completed(waiting)):
            results[waiting[future]] = future.result()
            progress(WHAT, 2 + done, steps)
    compared = [
        _compare(run, vectors, _result(run, vectors, results[run]))
        for run in RUNS
        for vectors in runs[run]
    ]
    verification = Verification(
        simulator,
        tuple(layer for layer, _ in compared),
        coverage(excited),
        tuple(islice((m for _, mismatches in compared for m in mismatches), FIRST)),
        time.perf_counter() - start,
    )
    files = _files(runs, results)
    progress(WHAT, steps, steps)
    return verification, files


def require_telling(runs: Mapping[str, Sequence[Vectors]]) -> None:
    """Refuse to simulate what a dead array would give as well.

    A layer must be there to compare in both runs. Accumulators of the healthy array must not all
    be one value; nor must the codes of all hidden layers: thresholds would not be tested. Faults
    may make them so.

    Raises
    ------
    StepFailed
        By the layer.
    """
    for run in RUNS:
        for vectors in runs[run]:
            if not vectors.acc.size or not vectors.codes.size:
                raise StepFailed(
                    f"verify: {run} {vectors.layer.name} must have integers to compare"
                )
    for vectors in runs["healthy"]:
        if vectors.acc.size > 1 and (vectors.acc == vectors.acc.flat[0]).all():
            raise StepFailed(
                f"verify: the accumulators of {vectors.layer.name} must not all be"
                f" {vectors.acc.flat[0]}, which an array that does nothing could give too: are its"
                " weights all zero?"
            )
    hidden = [vectors for vectors in runs["healthy"] if vectors.layer.output is not None]
    if hidden and all((v.codes == v.codes.flat[0]).all() for v in hidden):
        raise StepFailed(
            f"verify: the codes of {hidden[0].layer.name} must not all be"
            f" {hidden[0].codes.flat[0]}, and those of every hidden layer alike: thresholds that"
            " are wrong would not show"
        )


def format_mismatch(mismatch: Mismatch) -> str:
    """One line for people: where, what was expected, what came."""
    m = mismatch
    return (
        f"{m.run} run, layer {m.layer}, row {m.row}, column {m.column}, PE {m.pe}: "
        f"{m.what} must be {m.expected}, not {m.got}"
    )


# ------------------------------------------------------------------------- simulation, comparison


def _write_job(folder: Path, layers: Sequence[Vectors]) -> Path:
    """Write the bench's input files; the folder that holds them."""
    target = folder / "vectors"
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.npz"):
        old.unlink()
    for vectors in layers:
        (target / f"{vectors.layer.name}.npz").write_bytes(vectors.bench_file())
    return target


def _simulate(
    run: str, plan: BuildPlan, vectors: Path, work: Path, options: Options, progress: Progress
) -> dict[str, simulate.LayerResult]:
    """Simulate one run; logs, vectors and results stay, the copy of an unproven build does not."""
    told = reader(run, progress)
    try:
        with following(work / LOG, told):
            return simulate.simulate(plan, vectors, work, faults=run == "faulty", **options)
    finally:
        for folder in COPIES:
            shutil.rmtree(work / folder, ignore_errors=True)


def _result(
    run: str, vectors: Vectors, results: Mapping[str, simulate.LayerResult]
) -> simulate.LayerResult:
    """The simulation's result of one layer; refused unless every value of it is there."""
    name = vectors.layer.name
    if name not in results:
        raise StepFailed(f"verify: the {run} simulation must give layer {name}, and did not")
    result = results[name]
    for what, got in (("acc", result.acc), ("codes", result.codes)):
        if got.shape != vectors.acc.shape:
            raise StepFailed(
                f"verify: {what} of layer {name} in the {run} simulation must be of shape "
                f"{vectors.acc.shape}, not {got.shape}"
            )
    return result


def _compare(
    run: str, vectors: Vectors, result: simulate.LayerResult
) -> tuple[LayerVerification, Iterator[Mismatch]]:
    """Compare one layer of one run; its mismatches in order of row, column, acc before code."""
    pairs = {"acc": (vectors.acc, result.acc), "code": (vectors.codes, result.codes)}
    differs = {what: expected != got for what, (expected, got) in pairs.items()}
    count = len(vectors.columns)
    layer = LayerVerification(
        run=run,
        name=vectors.layer.name,
        columns=count,
        outputs=sum(expected.size for expected, _ in pairs.values()),
        mismatches=sum(int(np.count_nonzero(places)) for places in differs.values()),
        cycles=result.cycles,
        ideal_cycles=_ideal(vectors),
        seconds=result.seconds,
    )
    pe_of = _pe_of_rows(vectors.row_map)

    def mismatches() -> Iterator[Mismatch]:
        for row, place in np.argwhere(differs["acc"] | differs["code"]):
            for what, (expected, got) in pairs.items():
                if differs[what][row, place]:
                    yield Mismatch(
                        run=run,
                        layer=vectors.layer.name,
                        row=int(row),
                        column=int(vectors.columns[place]),
                        pe=int(pe_of[row]),
                        what=what,
                        expected=int(expected[row, place]),
                        got=int(got[row, place]),
                    )

    return layer, mismatches()


def _ideal(vectors: Vectors) -> int:
    """Cycles in which the multipliers work: passes * T * N."""
    return vectors.row_map.passes * len(vectors.order) * len(vectors.columns)


def _pe_of_rows(row_map: RowMap) -> IntArray:
    """PE of every row, [R]."""
    pe_of = np.full(row_map.rows, -1, dtype=np.int64)
    used = row_map.slots >= 0
    pe_of[row_map.slots[used]] = np.nonzero(used)[1]
    return pe_of


def _files(
    runs: Mapping[str, Sequence[Vectors]],
    results: Mapping[str, Mapping[str, simulate.LayerResult]],
) -> dict[str, bytes]:
    """Vector files of what the simulation gave."""
    folders = {"healthy": "vectors/healthy", "faulty": "vectors"}
    files = {}
    for run, layers in runs.items():
        for vectors in layers:
            result = results[run][vectors.layer.name]
            path = f"{folders[run]}/{vectors.layer.name}.npz"
            files[path] = vectors.result_file(result.acc, result.codes)
    return files
