"""Build a folder of Verilog and run one cocotb bench on it, in a process of its own.

    python run_bench.py --rtl build/rtl --roms build/roms --vectors build/vectors --work work

Exit code 0: the bench passed. 1: the build or the bench failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

HERE = Path(__file__).resolve().parent
VERILATOR = ["-Wno-fatal", "-O3", "--x-assign", "unique", "-CFLAGS", "-O2"]


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description="Run a cocotb bench on a build's Verilog.")
    parser.add_argument("--rtl", type=Path, required=True, help="folder of *.v")
    parser.add_argument("--roms", type=Path, required=True, help="folder of *.mem")
    parser.add_argument("--vectors", type=Path, required=True, help="folder of <layer>.npz")
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--bench", default="layer_tests", help="Python module with the tests")
    parser.add_argument("--top", default="has_array")
    parser.add_argument("--faults", action="store_true", help="put the profile's faults in")
    parser.add_argument("--simulator", choices=("icarus", "verilator"), default="icarus")
    parser.add_argument("--waves", action="store_true")
    return parser.parse_args()


def main() -> int:
    """Build, then run."""
    options = arguments()
    work = options.work.resolve()
    run = work / "run"  # where $readmemh looks
    run.mkdir(parents=True, exist_ok=True)
    for rom in sorted(options.roms.resolve().glob("*.mem")):
        shutil.copyfile(rom, run / rom.name)
    sys.path.insert(0, str(HERE))
    for name in ("MAKEFLAGS", "PYTEST_CURRENT_TEST"):  # nor make nor pytest of the caller's matters
        os.environ.pop(name, None)
    runner = get_runner(options.simulator)
    icarus = options.simulator == "icarus"
    runner.build(
        sources=sorted(options.rtl.resolve().glob("*.v")),
        hdl_toplevel=options.top,
        parameters={"FAULT_SITES": int(options.faults)},
        build_args=["-g2005-sv"] if icarus else VERILATOR,
        build_dir=work / "sim_build",
        always=True,
        waves=options.waves,
        timescale=("1ns", "1ps"),
    )
    results = work / "results.xml"
    results.unlink(missing_ok=True)
    runner.test(
        test_module=options.bench,
        hdl_toplevel=options.top,
        test_dir=run,
        results_xml=str(results),
        extra_env={
            "HAS_VECTORS": str(options.vectors.resolve()),
            "HAS_RESULTS": str(work / "results"),
        },
        waves=options.waves,
    )
    tests, failed = get_results(results)
    return 0 if tests and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
