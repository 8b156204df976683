"""Runs of the benches on a mutant, and how long they may take."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import shutil
import sys
from pathlib import Path
from threading import Lock

from hascodesign.common import processes
from hascodesign.common.shipped import share
from hascodesign.contract import registers
from mutation.suites import Bench, Suite
from mutation.yosys import module_netlist, netlist

STALLED = 4000  # cycles without a beat after which a bench gives up: the designs are small


def digest(suite: Suite, bench: Bench) -> str:
    """All that a bench is: its tests, what they use, its options and its jobs."""
    taken = [path for path in share("sim").glob("*.*") if not path.stem.endswith("_tests")]
    taken += [share("sim", f"{module}.py") for module in bench.modules.split(",")]
    taken += (suite.folder / bench.vectors).glob("*.npz") if bench.vectors else ()
    taken.append(Path(str(registers.__file__)))  # addresses that benches take from the package
    held = hashlib.sha256(f"{bench} {STALLED}".encode())
    for path in sorted(taken, key=lambda path: path.name):  # wherever the folders are
        held.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return held.hexdigest()


def passes(suite: Suite, bench: Bench, work: Path, limit: float, top: str = "") -> tuple[bool, str]:
    """Whether a bench passes within so many seconds of the processor, and how it failed."""
    command = [sys.executable, str(share("sim", "run_bench.py")), "--top", top or suite.top]
    command += ["--rtl", str(work / "rtl"), "--roms", str(suite.folder / "roms")]
    command += ["--work", str(work / "run"), "--vectors", str(suite.folder / bench.vectors)]
    command += ["--bench", bench.modules, *bench.options]
    command += ["--faults"] if suite.parameters.get("FAULT_SITES") else []
    # of the processor, not of the clock on the wall: other work on the machine kills no mutant
    command = ["sh", "-c", 'ulimit -t "$0"; exec "$@"', str(round(limit)), *command]
    environment = os.environ | {"COCOTB_MAX_FAILURES": "1", "HAS_STALLED": str(STALLED)}
    log = work / "bench.log"
    if processes.run(command, env=environment, log=log).status == 0:
        return True, ""
    failed = re.search(r"(\w+\.\w+) failed", log.read_text("utf-8", "replace"))
    return False, failed[1] if failed else f"{bench.modules}: no result"


class Limits:
    """Seconds of each bench: four times what the design as it is takes, which must pass."""

    def __init__(self, suite: Suite, held: dict[str, float]) -> None:
        self._suite, self._held, self._lock = suite, held, Lock()

    def of(self, bench: Bench, module: str = "") -> float:
        """The limit of a bench, of one module where it takes one alone; measured when needed."""
        name = f"{digest(self._suite, bench)} {module}".strip()
        with self._lock:
            if name not in self._held:
                self._held[name] = round(10 + 4 * self._measure(bench, module), 1)
            return self._held[name]

    def _measure(self, bench: Bench, module: str) -> float:
        suite, work = self._suite, self._suite.folder / "healthy"
        shutil.rmtree(work, ignore_errors=True)
        if module:
            module_netlist(suite, module, "", work)
        else:
            netlist(suite, "", work)
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        passed, how = passes(suite, bench, work, 1200, "has_dut" if module else "")
        if not passed:
            raise SystemExit(f"{suite.name} without a mutation fails {how}: {work / 'bench.log'}")
        end = resource.getrusage(resource.RUSAGE_CHILDREN)  # with what other workers ran, at most
        taken = end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime
        print(f"{suite.name} without a mutation: {bench.modules}, {taken:.1f} s", flush=True)
        return taken
