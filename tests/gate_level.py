"""The netlists behind the figures of resources and clock, on the vectors of the flow.

    python -m tests.gate_level [--family xc7|ecp5] [--top has_array|has_core]
        [--multipliers dsp|dsp2] [--work FOLDER]

digits-cnn on the default array with the profile of seed 1: ``has_array`` layer by layer, every
accumulator and code, and ``has_core`` on a whole held-out image, every logit, healthy and with the
faults, with idle cycles and back-pressure. The recipe is that of ``synth/synth.ys`` and of the
post-route clock. The core must also take the very cycles of its RTL. Prints a line for each run;
exit code 1 where an integer or a cycle differs, or nothing was compared.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hascodesign.board import boards, netlist, post_route
from hascodesign.contract import arithmetic
from hascodesign.contract.build import BuildPlan
from hascodesign.flow.flow import Flow
from hascodesign.render.project import render_project
from hascodesign.verify.core import CoreVerification, verify_core
from hascodesign.verify.gate_level import gate_level_plan
from hascodesign.verify.run import verify
from tests.regress_images import Run, flow

RUNS = ("healthy", "faulty")
PAUSES = 11  # seed of idle cycles and back-pressure
STALLED = 20_000  # cycles without a beat: a deadlock, for an image takes some 5,000
BUDGET = 2_000  # cycles within which a layer of the array is given its columns


def recipe(plan: BuildPlan, family: netlist.Family, top: str) -> str:
    """The yosys script that the figures come from."""
    if family == "ecp5":
        rtl = sorted(p for p in plan.files if p.startswith("rtl/") and p.endswith(".v"))
        return post_route.recipe(rtl, top=top)
    board = boards.find("pynq-z2")
    return render_project(board, plan.files, clock_mhz=100.0, top=top)["synth/synth.ys"].decode()


def gate_level(plan: BuildPlan, script: str, family: netlist.Family, work: Path) -> BuildPlan:
    """The build with the netlists that a script makes of it in the place of its top module."""
    top = netlist.top_of(script)

    def make(run: str) -> netlist.Netlist:
        return netlist.netlist(plan, script, f"{top}_{run}", faults=run == "faulty", work=work)

    with ThreadPoolExecutor(len(RUNS)) as pool:
        made = dict(zip(RUNS, pool.map(make, RUNS), strict=True))
    models = netlist.cell_models(family, {cell for one in made.values() for cell in one.cells})
    return gate_level_plan(plan, top, {run: one.verilog for run, one in made.items()}, models)


def check_array(build: Flow, plan: BuildPlan, work: Path) -> tuple[int, int, tuple[object, ...]]:
    """Integers compared, those that differ, the first of them: every layer, healthy and faulty."""
    codes = arithmetic.quantise(build.dataset.heldout.images, build.network.input)
    done, _ = verify(
        build.deployed, build.schedule, build.profile, plan, codes, work=work, cycle_budget=BUDGET,
        on_chip=build.on_chip, pauses=PAUSES, stalled=STALLED,
    )  # fmt: skip
    outputs = sum(layer.outputs for layer in done.layers)
    return outputs, sum(layer.mismatches for layer in done.layers), done.first


def check_core(build: Flow, plan: BuildPlan, work: Path) -> tuple[int, int, tuple[object, ...]]:
    """The same of a whole image: logits, and the cycles of every stage against the RTL."""
    codes = arithmetic.quantise(build.dataset.heldout.images, build.network.input)[:1]
    outputs = differ = 0
    first: tuple[object, ...] = ()

    def both(run: str) -> list[CoreVerification]:
        return [
            verify_core(
                build.deployed, build.schedule, build.profile, files, codes,
                work=work / f"{run}_{name}", faults=run == "faulty", on_chip=build.on_chip,
                pauses=PAUSES, stalled=STALLED, ports_only=True,
            )
            for name, files in (("netlist", plan), ("rtl", build.plan))
        ]  # fmt: skip

    # what is computed when asked for is not asked for by two threads at once
    _ = build.deployed, build.schedule, build.profile, build.plan, build.on_chip
    with ThreadPoolExecutor(len(RUNS)) as pool:
        pairs = list(pool.map(both, RUNS))
    for gates, rtl in pairs:
        if (gates.cycles, gates.stages) != (rtl.cycles, rtl.stages):
            differ += 1
            first += (f"{gates.cycles} cycles in the netlist, {rtl.cycles} in the RTL",)
        outputs, differ = outputs + gates.outputs, differ + gates.mismatches
        first += gates.first
    return outputs, differ, first


CHECKS = {"has_array": check_array, "has_core": check_core}


def main() -> int:
    """Run every check that is not left out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=netlist.FAMILIES)
    parser.add_argument("--top", choices=tuple(CHECKS))
    parser.add_argument("--multipliers", choices=("dsp", "dsp2"), default="dsp")
    parser.add_argument("--work", type=Path, help="folder that keeps logs and netlists")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        run = Run("icarus", "digits-cnn", "icarus", 1, 1, faults=True)
        build = flow(run, work, **{"render.multipliers": options.multipliers})
        for family in netlist.FAMILIES:
            for top, check in CHECKS.items():
                if options.family not in {None, family} or options.top not in {None, top}:
                    continue
                start, folder = time.perf_counter(), work / f"{family}_{top}"
                plan = gate_level(build.plan, recipe(build.plan, family, top), family, folder)
                outputs, differ, first = check(build, plan, folder)
                seconds = time.perf_counter() - start
                failed += differ > 0 or not outputs
                print(
                    f"{family} {top}: healthy and faulty, {outputs:,} integers, {differ} differ;"
                    f" {seconds:.0f} s", *first, flush=True,
                )  # fmt: skip
    print(f"{failed} netlists differ")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
