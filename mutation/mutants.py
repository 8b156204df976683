"""How many small mistakes in the Verilog the benches find.

    python -m mutation.mutants --count 200
    python -m mutation.mutants --count 20 --suite pe --seed 2

yosys makes single mutations of the elaborated PE, array and core (``mutate -list``); each mutant is
run through the cocotb benches in Icarus up to the first test that fails. Equivalent is one that no
output depends on, or that sets a bit to the constant that it is in the design, or that passes the
benches and that yosys proves to do what its module did.
``mutants.json`` has every mutant and what came of it; a run that is stopped goes on from there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from mutation.suites import SUITES, Bench, Suite
from hascodesign.common.shipped import share

SHARE = {"pe": 0.3, "array": 0.35, "core": 0.35}  # of the mutants
GOAL = 0.9  # of those that are not proved equivalent
PROOF_SECONDS = 20
STALLED = 4000  # cycles without a beat after which a bench gives up: the designs are small
PROOF = """
hierarchy -top {module}
flatten
opt -full
rename {module} {side}
design -stash {side}
"""
COMPARE = """
design -copy-from gold gold
design -copy-from gate gate
memory -nomap
memory_map
opt_clean
equiv_make gold gate both
hierarchy -top both
equiv_simple -seq 3
equiv_induct -seq 5
equiv_status -assert
"""
# an inverter in the mutation's place, alone left coarse, so that no pass merges it with others
DEAD = """
hierarchy -top {top}
flatten
select -assert-min 1 c:*mutate.cc*
select -set rest * c:*mutate.cc* %d
simplemap @rest
opt_clean -purge
select -assert-count 0 c:*mutate.cc*
"""
# a cell of no known kind in the mutation's place, which keeps its input for all to see
CONSTANT = """
chtype -set has_marker c:*mutate.cc*
setattr -set keep 1 c:*mutate.cc*
hierarchy -top {top}
flatten
opt -full
tee -q -o {dump} dump c:*mutate.cc*
"""
_PARAMETER = re.compile(
    r"^\s*(?:parameter|localparam)\s+(?:\[[^\]]*\]\s*|integer\s+)?(\w+)\s*=\s*([^;/]+?)\s*[,;]?\s*(?://.*)?$",
    re.MULTILINE,
)


@dataclass(slots=True)
class Mutant:
    """One mutation and its fate."""

    suite: str
    number: int
    command: str  # of yosys
    module: str
    place: str  # of the source that it mutates
    fate: str = ""  # killed, alive, equivalent
    by: str = ""  # the bench that killed it
    seconds: float = 0.0


# ------------------------------------------------------------------------------------- mutants


def yosys(suite: Suite, script: str, work: Path, timeout: float | None = None) -> bool:
    """Run commands where the memory files are; whether they succeeded."""
    work.mkdir(parents=True, exist_ok=True)
    path = (work / "script.ys").resolve()
    path.write_text(script, encoding="utf-8")
    command = ["yosys", "-q", "-Q", "-T", "-s", str(path)]
    with (work / "yosys.log").open("wb") as log:
        try:
            run = subprocess.run(
                command, cwd=suite.folder / "roms", stdout=log, stderr=log, timeout=timeout,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return False
    return run.returncode == 0


def must(suite: Suite, script: str, work: Path) -> None:
    """Run commands that have no reason to fail."""
    if not yosys(suite, script, work):
        raise SystemExit(f"yosys failed: {work / 'yosys.log'}")


def elaborate(suite: Suite) -> str:
    """The design as modules of fixed sizes, in ``design.il``; a hash of it."""
    read = [f"read_verilog -defer ../rtl/{p.name}" for p in sorted(suite.folder.glob("rtl/*.v"))]
    given = " ".join(f"-chparam {name} {value}" for name, value in suite.parameters.items())
    script = [*read, f"hierarchy -check -top {suite.top} {given}", "proc", "opt_clean"]
    must(suite, "\n".join([*script, "write_rtlil ../design.il"]), suite.folder)
    design = (suite.folder / "design.il").read_bytes()
    return hashlib.sha256(re.sub(rb"^#.*$", b"", design, flags=re.MULTILINE)).hexdigest()


def draw(suite: Suite, count: int, seed: int) -> Iterator[Mutant]:
    """Mutations spread evenly over modules, cells and wires."""
    chosen = " ".join(suite.select)
    listing = f"mutate -list {2 * count} -seed {seed} -o ../list.txt {chosen}"
    must(suite, f"read_rtlil ../design.il\n{listing}", suite.folder)
    lines = (suite.folder / "list.txt").read_text("utf-8").splitlines()
    # the contents of a memory must stay constants: no mutation there is Verilog
    drawn = [line for line in lines if line.startswith("mutate") and "$meminit" not in line]
    order = np.random.default_rng(seed).permutation(len(drawn))[:count]
    for number, line in enumerate(drawn[place] for place in order):
        words = line.split()
        module = words[words.index("-module") + 1].split("\\")[-1]
        sources = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "-src"]
        place = sources[-1].removeprefix("../rtl/") if sources else ""
        yield Mutant(suite.name, number, line, module, place)


def netlist(suite: Suite, command: str, work: Path) -> None:
    """The design with one mutation as Verilog; the top keeps its parameters, which benches read."""
    (work / "rtl").mkdir(parents=True)
    verilog = work.resolve() / "rtl/all.v"
    must(suite, f"read_rtlil ../design.il\n{command}\nwrite_verilog -noattr {verilog}", work)
    source = (suite.folder / "rtl" / f"{suite.top}.v").read_text("ascii")
    values = {name: text for name, text in _PARAMETER.findall(source) if text.strip()}
    values |= {name: str(value) for name, value in suite.parameters.items()}
    inserted = "".join(f"\n  parameter {name} = {text};" for name, text in values.items())
    text = verilog.read_text("ascii")
    text = re.sub(rf"^(module {suite.top}\([^;]*;)", rf"\1{inserted}", text, flags=re.MULTILINE)
    verilog.write_text(text, encoding="ascii")


def passes(suite: Suite, bench: Bench, work: Path, limit: float) -> tuple[bool, str]:
    """Whether a bench passes, and how it failed."""
    command = [sys.executable, str(share("sim", "run_bench.py")), "--top", suite.top]
    command += ["--rtl", str(work / "rtl"), "--roms", str(suite.folder / "roms")]
    command += ["--work", str(work / "run"), "--vectors", str(suite.folder / bench.vectors)]
    command += ["--bench", bench.modules, *bench.options]
    command += ["--faults"] if suite.parameters.get("FAULT_SITES") else []
    environment = os.environ | {"COCOTB_MAX_FAILURES": "1", "HAS_STALLED": str(STALLED)}
    log = work / "bench.log"
    with log.open("wb") as output:
        run = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, env=environment
        )
        try:
            if run.wait(limit) == 0:
                return True, ""
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)  # the simulator is a child of the bench's runner
            run.wait()
            return False, f"{bench.modules}: past {limit:.0f} s"
    failed = re.search(r"(\w+\.\w+) failed", log.read_text("utf-8", "replace"))
    return False, failed[1] if failed else bench.modules


def dead(suite: Suite, mutant: Mutant, work: Path) -> bool:
    """Whether nothing that the top module gives depends on the mutated bit."""
    inverted = re.sub(r"-mode \w+", "-mode inv", mutant.command)
    script = f"read_rtlil ../design.il\n{inverted}\n{DEAD.format(top=suite.top)}"
    return yosys(suite, script, work)


def constant(suite: Suite, mutant: Mutant, work: Path) -> bool:
    """Whether the mutation sets a bit to what it always is in this design."""
    mode = re.search(r"-mode const(\d)", mutant.command)
    if mode is None:
        return False
    inverted = re.sub(r"-mode \w+", "-mode inv", mutant.command)
    dump = (work / "dump.txt").resolve()
    script = f"read_rtlil ../design.il\n{inverted}\n{CONSTANT.format(top=suite.top, dump=dump)}"
    must(suite, script, work)
    values = re.findall(r"connect \\A (.*)", dump.read_text("utf-8"))
    return bool(values) and set(values) == {f"1'{mode[1]}"}


def equivalent(suite: Suite, mutant: Mutant, work: Path) -> bool:
    """Whether yosys proves that the mutated module does what it did."""
    words = mutant.command.split()
    module = words[words.index("-module") + 1]
    script = "read_rtlil ../design.il\n" + PROOF.format(module=module, side="gold")
    script += f"read_rtlil ../design.il\n{mutant.command}\n"
    script += PROOF.format(module=module, side="gate") + COMPARE
    return yosys(suite, script, work, PROOF_SECONDS)


def judge(suite: Suite, mutant: Mutant, work: Path, limits: list[float]) -> None:
    """Benches, then the proof where all pass."""
    start = time.perf_counter()
    shutil.rmtree(work, ignore_errors=True)
    if dead(suite, mutant, work) or re.search(r"-cell \$memrd\S* -port (CLK|EN) ", mutant.command):
        # before memories are mapped their reads are combinational, and have idle clock inputs
        mutant.fate, mutant.by = "equivalent", "nothing reads it"
        return
    netlist(suite, mutant.command, work)
    for bench, limit in zip(suite.benches, limits, strict=True):
        passed, how = passes(suite, bench, work, limit)
        if not passed:
            mutant.fate, mutant.by = "killed", how
            break
    else:
        mutant.fate = "alive"
        if constant(suite, mutant, work):
            mutant.fate, mutant.by = "equivalent", "constant"
        elif equivalent(suite, mutant, work):
            mutant.fate, mutant.by = "equivalent", "sat"
    mutant.seconds = round(time.perf_counter() - start, 1)


def time_limits(suite: Suite) -> list[float]:
    """Of each bench: several times what the design without a mutation takes. It must pass."""
    limits = []
    work = suite.folder / "healthy"
    netlist(suite, "", work)
    for bench in suite.benches:
        start = time.perf_counter()
        passed, how = passes(suite, bench, work, 1200)
        if not passed:
            raise SystemExit(f"{suite.name} without a mutation fails {how}: {work / 'bench.log'}")
        limits.append(round(20 + 3 * (time.perf_counter() - start), 1))
        print(
            f"{suite.name} without a mutation: {bench.modules}, {limits[-1]} s at most", flush=True
        )
    return limits


# -------------------------------------------------------------------------------------- report


def report(mutants: list[Mutant]) -> bool:
    """Print the table and the survivors; whether the goal is met."""
    fates = Counter((m.suite, m.fate) for m in mutants)
    print(f"{'':8}{'mutants':>9}{'killed':>9}{'equivalent':>12}{'alive':>8}{'rate':>8}")
    rate = 0.0
    for suite in (*dict.fromkeys(m.suite for m in mutants), "all"):
        killed, same, alive = (
            sum(n for (s, f), n in fates.items() if f == fate and suite in (s, "all"))
            for fate in ("killed", "equivalent", "alive")
        )
        rate = killed / max(1, killed + alive)
        print(f"{suite:8}{killed + same + alive:9}{killed:9}{same:12}{alive:8}{rate:8.1%}")
    for m in mutants:
        if m.fate == "alive":
            print(f"alive: {m.suite} {m.number}, {m.place}: {m.command}")
    return rate >= GOAL


class Record:
    """``mutants.json``: designs by suite with their time limits, and every judged mutant."""

    def __init__(self, path: Path) -> None:
        self._path = path
        held = json.loads(path.read_bytes()) if path.is_file() else {"suites": {}, "mutants": []}
        self.suites: dict[str, dict[str, object]] = held["suites"]
        self.mutants = [Mutant(**entry) for entry in held["mutants"]]

    def limits(self, suite: Suite, design: str) -> list[float]:
        """Time limits of a suite's benches; what another design left is forgotten."""
        held = self.suites.get(suite.name)
        if held is None or held["design"] != design:
            self.mutants = [m for m in self.mutants if m.suite != suite.name]
            self.suites[suite.name] = {"design": design, "limits": time_limits(suite)}
            self.save()
        limits = self.suites[suite.name]["limits"]
        assert isinstance(limits, list)
        return limits

    def find(self, mutant: Mutant) -> Mutant | None:
        """The same mutation, if it was judged before."""
        same = (m for m in self.mutants if (m.suite, m.command) == (mutant.suite, mutant.command))
        return next(same, None)

    def add(self, mutant: Mutant) -> None:
        """Keep a mutant that is judged."""
        self.mutants.append(mutant)
        self.save()

    def save(self) -> None:
        """Write the file."""
        held = {"suites": self.suites, "mutants": [asdict(m) for m in self.mutants]}
        self._path.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Draw, judge, report; exit code 1 below the goal, 4 where mutants are left for another run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="mutants of all suites")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--suite", choices=tuple(SUITES), action="append")
    parser.add_argument("--minutes", type=float, help="begin no mutant after this time")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("build/mutants"))
    options = parser.parse_args()
    end = time.monotonic() + 60 * (options.minutes or 1e6)
    chosen = {name: SHARE[name] for name in options.suite or SUITES}
    options.work.mkdir(parents=True, exist_ok=True)
    record, wanted = Record(options.work / "mutants.json"), list[Mutant]()
    for name, share_of in chosen.items():
        folder = options.work.resolve() / name
        shutil.rmtree(folder, ignore_errors=True)
        suite = SUITES[name](folder)
        limits = record.limits(suite, elaborate(suite))
        folders: SimpleQueue[Path] = SimpleQueue()
        for worker in range(options.workers):
            folders.put(folder / f"mutant{worker}")

        def run(mutant: Mutant, suite: Suite = suite, limits: list[float] = limits,
                folders: SimpleQueue[Path] = folders) -> Mutant:  # fmt: skip
            if time.monotonic() < end:
                work = folders.get()
                judge(suite, mutant, work, limits)
                folders.put(work)
            return mutant

        count = max(1, round(options.count * share_of / sum(chosen.values())))
        drawn = list(draw(suite, count, options.seed))
        wanted += [record.find(m) or m for m in drawn]
        with ThreadPoolExecutor(options.workers) as pool:
            for m in pool.map(run, [m for m in drawn if record.find(m) is None]):
                if m.fate:
                    record.add(m)
                    print(f"{name} {m.number}: {m.fate} {m.by} ({m.seconds} s)", flush=True)
    met = report([m for m in wanted if m.fate])
    left = sum(not m.fate for m in wanted)
    if left:
        print(f"{left} mutants are left: the same command goes on")
        return 4
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
