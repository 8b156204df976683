"""Random profiles of every site and kind on many compiled arrays, both dataflows:

    python -m tests.regress_faults --shapes 40 --cases 250 --simulator verilator

Each case runs through the array's Verilog and must equal the step-by-step reference and the fast
engine, accumulators and codes. A case that differs is printed as the command that repeats it, with
the faults that it needs. Shapes that went well are noted in ``--record`` and, while the code stays
the same, not run again: a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hascodesign.flow.store import source_digest
from tests.fault_cases import Build, Case, shrunk, simulate


@dataclass(frozen=True)
class Options:
    """What stays the same over all shapes of a run."""

    seed: int
    cases: int
    case: int | None
    simulator: str


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first shape")
    parser.add_argument("--shapes", type=int, default=40)
    parser.add_argument("--cases", type=int, default=250, help="of each shape")
    parser.add_argument("--case", type=int, help="this case only")
    parser.add_argument("--simulator", choices=("icarus", "verilator"), default="verilator")
    parser.add_argument("--jobs", type=int, default=1, help="shapes at a time")
    parser.add_argument("--record", type=Path, help="file of the shapes that are done")
    return parser.parse_args()


def line(options: Options, build: Build, case: Case) -> str:
    """The command that repeats a case, and the faults that it needs."""
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


def run_shape(options: Options, library: Path, number: int) -> dict[str, Any]:
    """All cases of one shape; the first that differs is shrunk to its line."""
    build, start = Build(options.seed, number), time.perf_counter()
    numbers = range(options.cases) if options.case is None else [options.case]
    cases = [build.case(n) for n in numbers]
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        outcome = simulate(build, cases, Path(folder) / "all", options.simulator, library)
        for case in [case for case in cases if case.name in outcome.wrong][:1]:
            least = shrunk(build, case, Path(folder) / "less", options.simulator)
            lines.append(line(options, build, least))
    return {
        "key": key(options, number),
        "shape": asdict(build.spec),
        "cases": len(cases),
        "faults": sum(len(case.profile.faults) for case in cases),
        "integers": outcome.compared,
        "differ": len(outcome.wrong),
        "lines": lines,
        "seconds": time.perf_counter() - start,
    }


def key(options: Options, number: int) -> list[Any]:
    """What a shape's result depends on: the program, the cases of the grid, the options."""
    here = Path(__file__).parent
    cases = [(here / name).read_bytes() for name in ("fault_cases.py", "rtl_cases.py")]
    grid = hashlib.sha256(b"".join([*cases, Path(__file__).read_bytes()])).hexdigest()
    return [source_digest(), grid, number, *asdict(options).values()]


def done_before(record: Path | None) -> dict[str, dict[str, Any]]:
    """Results by key; a line that a killed run cut short is passed over."""
    found = {}
    for text in record.read_text().splitlines() if record and record.is_file() else []:
        try:
            result = json.loads(text)
        except json.JSONDecodeError:
            continue
        found[json.dumps(result["key"])] = result
    return found


def results(
    options: Options, numbers: Sequence[int], jobs: int, record: Path | None
) -> Iterator[dict[str, Any]]:
    """Result of each shape, those known first."""
    known = done_before(record)
    keys = {number: json.dumps(key(options, number)) for number in numbers}
    yield from (known[k] for k in keys.values() if k in known)
    missing = [number for number in numbers if keys[number] not in known]
    with tempfile.TemporaryDirectory() as library, ProcessPoolExecutor(jobs) as pool:
        for result in pool.map(partial(run_shape, options, Path(library)), missing):
            if record is not None and not result["differ"]:
                record.parent.mkdir(parents=True, exist_ok=True)
                with record.open("a") as file:
                    file.write(json.dumps(result) + "\n")
            yield result


def main() -> int:
    given = arguments()
    options = Options(given.seed, given.cases, given.case, given.simulator)
    total = dict.fromkeys(("cases", "faults", "integers", "differ"), 0)
    numbers = range(given.first, given.first + given.shapes)
    for count, result in enumerate(results(options, numbers, given.jobs, given.record), 1):
        total = {name: value + result[name] for name, value in total.items()}
        said = ", ".join(f"{value} {name}" for name, value in total.items())
        print(f"{count} shapes, {said}; {result['seconds']:.0f} s for {result['shape']}")
        print(*result["lines"], sep="\n", end="", flush=True)
    return 1 if total["differ"] else 0


if __name__ == "__main__":
    sys.exit(main())
