"""Random profiles of every site and kind on many compiled arrays, both dataflows, by hand:

    python -m tests.regress_faults --shapes 40 --cases 250 --simulator verilator

Each case runs through the array's Verilog and must equal the step-by-step reference and the fast
engine, accumulators and codes. A case that differs is printed as the command that repeats it, with
the faults that it needs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fault_cases import Build, Case, shrunk, simulate


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first shape")
    parser.add_argument("--shapes", type=int, default=40)
    parser.add_argument("--cases", type=int, default=250, help="of each shape")
    parser.add_argument("--case", type=int, help="this case only")
    parser.add_argument("--simulator", choices=("icarus", "verilator"), default="verilator")
    return parser.parse_args()


def line(options: argparse.Namespace, build: Build, case: Case) -> str:
    faults = "; ".join(
        f"{entry}: {fault}"
        for entry, fault in enumerate(case.profile.faults)
        if fault.kind != "transient" or fault.p
    )
    number = int(case.name.removeprefix("case_"))
    return (
        f"python -m tests.regress_faults --seed {build.seed} --first {build.number} --shapes 1 "
        f"--case {number} --simulator {options.simulator}  # {build.spec}, layer {case.layer}, "
        f"needs {faults}"
    )


def main() -> int:
    options = arguments()
    cases = integers = failed = 0
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.first, options.first + options.shapes):
            build = Build(options.seed, number)
            numbers = range(options.cases) if options.case is None else [options.case]
            all_cases = [build.case(n) for n in numbers]
            outcome = simulate(build, all_cases, Path(folder) / "all", options.simulator)
            cases, integers = cases + len(all_cases), integers + outcome.compared
            failed += len(outcome.wrong)
            seconds = time.perf_counter() - start
            print(
                f"{number + 1 - options.first} shapes, {cases} cases, {integers} integers, "
                f"{failed} cases differ, {seconds:.0f} s; {build.spec}",
                flush=True,
            )
            for case in [case for case in all_cases if case.name in outcome.wrong][:1]:
                least = shrunk(build, case, Path(folder) / "less", options.simulator)
                print(line(options, build, least), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
