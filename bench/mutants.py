"""How many small mistakes in the Verilog the benches find.

    python -m bench.mutants --count 200
    python -m bench.mutants --count 20 --suite pe

yosys makes single mutations of the elaborated PE, array and core (``mutate -list``); each mutant is
run through the cocotb benches in Icarus. One that no bench kills is handed to yosys's equivalence
check, against the module as it was. ``mutants.json`` has every mutant and what came of it.
"""

from __future__ import annotations

import argparse
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
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from hascodesign import array
from hascodesign.files import write_tree
from hascodesign.render.rom import build_roms
from hascodesign.render.rtl import RtlOptions
from hascodesign.resources import share
from hascodesign.types import ArraySpec, FaultProfile, Schedule
from hascodesign.verify.core import expected
from tests import core_cases, rtl_cases

SHARE = {"pe": 0.3, "array": 0.35, "core": 0.35}  # of the mutants
GOAL = 0.9  # of those that are not proved equivalent
PROOF_SECONDS = 60
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
_PARAMETER = re.compile(
    r"^\s*(?:parameter|localparam)\s+(?:\[[^\]]*\]\s*|integer\s+)?(\w+)\s*=\s*([^;/]+?)\s*[,;]?\s*(?://.*)?$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Suite:
    """A design, which of its modules are mutated, and the benches that it must pass."""

    name: str
    folder: Path  # has rtl/, roms/, vectors/
    top: str
    parameters: dict[str, int]
    select: tuple[str, ...]  # yosys module patterns
    benches: tuple[tuple[str, ...], ...]  # arguments of run_bench, cheapest first


@dataclass(slots=True)
class Mutant:
    """One mutation and its fate."""

    suite: str
    number: int
    command: str  # of yosys
    fate: str = "alive"  # killed, alive, equivalent
    by: str = ""  # the bench that killed it, or how
    seconds: float = 0.0
    module: str = field(default="")


# ------------------------------------------------------------------------------------- designs


def pe_suite(folder: Path) -> Suite:
    """One PE with masks of the bench."""
    rtl = {f"rtl/{n}": (share("rtl_templates") / n).read_bytes() for n in PE_FILES}
    write_tree(folder, rtl)
    (folder / "roms").mkdir(exist_ok=True)
    sizes = {"SIMD": 3, "WEIGHT_BITS": 3, "ACT_BITS": 4, "ACC_BITS": 16, "PIPELINE": 3}
    sizes["FAULT_SITES"] = 1
    return Suite("pe", folder, "has_pe", sizes, ("*",), (("--bench", "pe_tests"),))


PE_FILES = ("has_pe.v", "has_delay.v", "has_fault.v")


def array_suite(folder: Path) -> Suite:
    """An array with layers of every output, one of them external, and faults."""
    rng = np.random.default_rng(5)
    spec = ArraySpec(4, 2, 3, 5, 17)
    kinds = (("thresholds", 6, 5), ("shift", 5, 7), ("last", 3, 6))
    layers = [
        rtl_cases.layer(rng, spec, i, rows, depth, kind=kind, in_signed=i == 1, out_signed=i == 1)
        for i, (kind, rows, depth) in enumerate(kinds)
    ]
    net = rtl_cases.network(layers)
    maps = tuple(rtl_cases.random_map(rng, item, spec.pe, spare=item.index % 2) for item in layers)
    schedule = Schedule(spec, maps)
    profile = rtl_cases.random_profile(rng, spec, 8)
    options = RtlOptions(pipeline=2, on_chip=(True, False, True))
    write_tree(folder, rtl_cases.build(net, schedule, profile, options).files)
    rtl_cases.write_job(folder / "vectors", profile, net, schedule, 5, rng)
    benches = (
        ("--bench", "layer_tests"),
        ("--bench", "layer_tests", "--pauses", "7"),
        ("--bench", "control_tests"),
    )
    return Suite("array", folder, "has_array", {"FAULT_SITES": 1}, ("*",), benches)


def core_suite(folder: Path) -> Suite:
    """A core with padding, pooling and dense layers, all weights on chip."""
    rng = np.random.default_rng(7)
    spec = ArraySpec(4, 4, 4, 4, 20)
    net = core_cases.random_network(rng, spec, (5, 4, 2), [(6, 3, 1, 1)], classes=3)
    other_net = core_cases.other_weights(rng, net)
    schedule = core_cases.identity(net, spec)
    other = Schedule(spec, tuple(rtl_cases.random_map(rng, item, spec.pe) for item in net.layers))
    codes, healthy = core_cases.images(rng, net, 2), FaultProfile(spec)
    inside = (True,) * len(net.layers)
    write_tree(folder, core_cases.build(net, schedule, healthy).files)
    (folder / "vectors").mkdir(exist_ok=True)
    for name, job in (
        ("images", expected(net, schedule, healthy, codes, inside)),
        ("other", expected(other_net, other, healthy, codes, inside)),
    ):
        np.savez(folder / "vectors" / f"{name}.npz", allow_pickle=False, **job)
    roms = build_roms(other_net, other, inside)
    core_cases.write_memories(folder / "vectors/memories.npz", roms, spec)
    assert array.wmem_words(net, spec) > 0
    modules = sorted(path.name.split(".")[0] for path in share("rtl_templates", "core").iterdir())
    benches = (("--bench", "core_protocol_tests,core_map_tests"),)
    return Suite("core", folder, "has_core", {}, tuple(f"*{m}*" for m in modules), benches)


SUITES = {"pe": pe_suite, "array": array_suite, "core": core_suite}


# ------------------------------------------------------------------------------------- mutants


def yosys(suite: Suite, script: str, timeout: float | None = None) -> bool:
    """Run commands where the memory files are; whether they succeeded."""
    path = suite.folder / "script.ys"
    path.write_text(script, encoding="utf-8")
    command = ["yosys", "-q", "-Q", "-T", "-s", "../script.ys"]
    with (suite.folder / "yosys.log").open("wb") as log:
        try:
            run = subprocess.run(
                command, cwd=suite.folder / "roms", stdout=log, stderr=log, timeout=timeout,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return False
    return run.returncode == 0


def elaborate(suite: Suite) -> None:
    """The design as modules of fixed sizes, in ``design.il``."""
    read = [f"read_verilog -defer ../rtl/{p.name}" for p in sorted(suite.folder.glob("rtl/*.v"))]
    given = " ".join(f"-chparam {name} {value}" for name, value in suite.parameters.items())
    script = [*read, f"hierarchy -check -top {suite.top} {given}", "proc", "opt_clean"]
    must(suite, "\n".join([*script, "write_rtlil ../design.il"]))


def must(suite: Suite, script: str) -> None:
    """Run commands that have no reason to fail."""
    if not yosys(suite, script):
        raise SystemExit(f"yosys failed: {suite.folder / 'yosys.log'}")


def draw(suite: Suite, count: int, seed: int) -> Iterator[Mutant]:
    """Mutations spread evenly over modules, cells and wires."""
    chosen = " ".join(suite.select)
    must(
        suite,
        f"read_rtlil ../design.il\nmutate -list {2 * count} -seed {seed} -o ../list.txt {chosen}",
    )
    lines = (suite.folder / "list.txt").read_text("utf-8").splitlines()
    # the contents of a memory must stay constants: no mutation there is Verilog
    drawn = [line for line in lines if line.startswith("mutate") and "$meminit" not in line]
    order = np.random.default_rng(seed).permutation(len(drawn))[:count]
    for number, line in enumerate(drawn[place] for place in order):
        words = line.split()
        module = words[words.index("-module") + 1]
        yield Mutant(suite.name, number, line, module=module.split("\\")[-1])


def netlist(suite: Suite, command: str, work: Path) -> None:
    """The design with one mutation as Verilog; the top keeps its parameters, which benches read."""
    (work / "rtl").mkdir(parents=True)
    must(
        suite,
        f"read_rtlil ../design.il\n{command}\nwrite_verilog -noattr {work.resolve()}/rtl/all.v",
    )
    source = (suite.folder / "rtl" / f"{suite.top}.v").read_text("ascii")
    values = {name: text for name, text in _PARAMETER.findall(source) if text.strip()}
    values |= {name: str(value) for name, value in suite.parameters.items()}
    inserted = "".join(f"\n  parameter {name} = {text};" for name, text in values.items())
    verilog = (work / "rtl/all.v").read_text("ascii")
    verilog = re.sub(rf"^(module {suite.top}\([^;]*;)", rf"\1{inserted}", verilog, flags=re.M)
    (work / "rtl/all.v").write_text(verilog, encoding="ascii")


def passes(suite: Suite, bench: tuple[str, ...], work: Path, limit: float) -> tuple[bool, str]:
    """Whether a bench passes, and how it failed."""
    command = [sys.executable, str(share("sim", "run_bench.py")), "--top", suite.top]
    command += ["--rtl", str(work / "rtl"), "--roms", str(suite.folder / "roms")]
    command += ["--work", str(work / "run"), "--vectors", str(suite.folder / "vectors"), *bench]
    command += ["--faults"] if suite.parameters.get("FAULT_SITES") else []
    with (work / "bench.log").open("wb") as log:
        run = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            return run.wait(limit) == 0, " ".join(bench[1:])
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)  # the simulator is a child of the bench's runner
            run.wait()
            return False, f"{' '.join(bench[1:])}: past {limit:.0f} s"


def equivalent(suite: Suite, mutant: Mutant) -> bool:
    """Whether yosys proves that the mutated module does what it did."""
    words = mutant.command.split()
    module = words[words.index("-module") + 1]
    script = "read_rtlil ../design.il\n" + PROOF.format(module=module, side="gold")
    script += f"read_rtlil ../design.il\n{mutant.command}\n"
    script += PROOF.format(module=module, side="gate") + COMPARE
    return yosys(suite, script, PROOF_SECONDS)


def judge(suite: Suite, mutant: Mutant, work: Path, limits: list[float]) -> None:
    """Benches, then the proof where all pass."""
    start = time.perf_counter()
    shutil.rmtree(work, ignore_errors=True)
    netlist(suite, mutant.command, work)
    for bench, limit in zip(suite.benches, limits, strict=True):
        passed, how = passes(suite, bench, work, limit)
        if not passed:
            mutant.fate, mutant.by = "killed", how
            break
    else:
        mutant.fate = "equivalent" if equivalent(suite, mutant) else "alive"
    mutant.seconds = round(time.perf_counter() - start, 1)


def time_limits(suite: Suite) -> list[float]:
    """Of each bench: several times what the design without a mutation takes. It must pass."""
    limits = []
    work = suite.folder / "healthy"
    shutil.rmtree(work, ignore_errors=True)
    netlist(suite, "", work)
    for bench in suite.benches:
        start = time.perf_counter()
        passed, how = passes(suite, bench, work, 1200)
        if not passed:
            raise SystemExit(f"{suite.name} without a mutation fails {how}: {work / 'bench.log'}")
        limits.append(30 + 4 * (time.perf_counter() - start))
    return limits


# -------------------------------------------------------------------------------------- report


def report(mutants: list[Mutant], out: Path, count: int, seed: int) -> bool:
    """Write the result, print the table; whether the goal is met."""
    fates = Counter((m.suite, m.fate) for m in mutants)
    print(f"{'':8}{'mutants':>9}{'killed':>9}{'equivalent':>12}{'alive':>8}{'rate':>8}")
    rates = {}
    for suite in (*dict.fromkeys(m.suite for m in mutants), "all"):
        killed, same, alive = (
            sum(n for (s, f), n in fates.items() if f == fate and suite in (s, "all"))
            for fate in ("killed", "equivalent", "alive")
        )
        rates[suite] = killed / max(1, killed + alive)
        print(f"{suite:8}{killed + same + alive:9}{killed:9}{same:12}{alive:8}{rates[suite]:8.1%}")
    for m in mutants:
        if m.fate == "alive":
            print(f"alive: {m.suite} {m.number}: {m.command}")
    result = {"asked": count, "seed": seed, "rates": rates, "mutants": [asdict(m) for m in mutants]}
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return rates["all"] >= GOAL


def main() -> int:
    """Draw, judge, report; exit code 1 below the goal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="mutants of all suites")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--suite", choices=tuple(SUITES), action="append")
    parser.add_argument("--minutes", type=float, help="begin no mutant after this time")
    parser.add_argument("--work", type=Path, default=Path("build/mutants"))
    options = parser.parse_args()
    start, done = time.monotonic(), list[Mutant]()
    chosen = {name: SHARE[name] for name in options.suite or SUITES}
    for name, share_of in chosen.items():
        folder = options.work.resolve() / name
        shutil.rmtree(folder, ignore_errors=True)
        suite = SUITES[name](folder)
        elaborate(suite)
        limits = time_limits(suite)
        count = max(1, round(options.count * share_of / sum(chosen.values())))
        for mutant in draw(suite, count, options.seed):
            if options.minutes and time.monotonic() - start > 60 * options.minutes:
                break
            judge(suite, mutant, folder / "mutant", limits)
            done.append(mutant)
            print(
                f"{name} {mutant.number}: {mutant.fate} {mutant.by} ({mutant.seconds} s)",
                flush=True,
            )
    return 0 if report(done, options.work / "mutants.json", options.count, options.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
