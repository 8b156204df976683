"""The accelerator on the whole grid of array sizes, on random networks.

    python -m tests.regress_core [--seed S] [--cases A:B] [--save FOLDER] [--cycles]

Rows are written for their faulty slots in most cases, with every move. Prints a line for each case;
exit code 1 where one differs, or where no row of any is written. ``--cycles`` measures instead, on
each size of array, how many cycles convolutions with channels >= SIMD take beyond the ideal: 3 x 3
and 1 x 1 kernels on 12 x 12 maps, rows in random order. With ``--save``, a case that has
already run without a difference is not run again, so that a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hascodesign.contract import array
from hascodesign.contract.batches import batch_refusal
from hascodesign.contract.results import WrittenSlot
from hascodesign.contract.types import (
    ArraySpec,
    Dataflow,
    FaultProfile,
    IntegerNetwork,
    Multipliers,
    Schedule,
)
from hascodesign.engine.network import Evaluator
from hascodesign.render.rtl import MAX_PIPELINE
from hascodesign.schedule.fitting.told import faulty_slots
from hascodesign.verify.core import CoreVerification, verify_core
from tests import core_cases, rtl_cases
from tests.preload_cases import preloaded
from tests.written_cases import write

GRID = tuple(itertools.product((4, 8, 16, 32), (1, 2, 4, 8), (2, 4, 8)))


def network(rng: np.random.Generator, spec: ArraySpec, case: int) -> IntegerNetwork:
    """K no multiple of S, R no multiple of P, one row, one column, 1x1 and 5x5, stride, padding."""
    rows = int(rng.integers(1, spec.pe + 6))
    geometry = (
        [(rows, 1, 1, 0), (3, 3, 1, 1)],
        [(rows, 5, 1, 2)],
        [(rows, 3, 2, 1), (1, 1, 1, 0)],
        [(1, 5, 2, 0)],
        [],  # one column
    )[case % 5]
    side = 1 if not geometry else int(rng.integers(5, 8))
    channels = int(rng.integers(1, 2 * spec.simd + 2))
    return core_cases.random_network(
        rng, spec, (side, side, channels), geometry, pool=side > 1 and geometry[0][1] != 5,
        beside=case % 2 == 1, classes=int(rng.integers(2, 8)),
        hidden=int(rng.integers(0, 2)) * (spec.pe + 9),
    )  # fmt: skip


def fitted(
    rng: np.random.Generator, net: IntegerNetwork, profile: FaultProfile, schedule: Schedule
) -> tuple[IntegerNetwork, list[WrittenSlot]]:
    """The network written for the slots of a map, as a search does it, and what was written."""
    codes = core_cases.images(rng, net, 48)
    labels = rng.integers(net.layers[-1].rows, size=len(codes))
    written = write(net, profile, codes, labels, schedule).network
    slots = faulty_slots(Evaluator(net, profile, codes, labels), schedule, written, seed=1)
    return written, [slot for slot in slots if slot.moves]


def batching(
    rng: np.random.Generator, net: IntegerNetwork, inside: tuple[bool, ...]
) -> tuple[tuple[bool, ...], int]:
    """Layers on chip, in half the cases those with which a batch may run, and its images."""
    if len(net.layers) > 1 and net.layers[-2].conv is None and rng.integers(2):
        inside = (*(True,) * (len(net.layers) - 2), False, True)
    if batch_refusal(net, inside) is not None:
        return inside, 1
    return inside, int(rng.integers(1, 5))


def run(case: int, seed: int, work: Path) -> tuple[CoreVerification, list[WrittenSlot]]:
    """One case of the grid; faults, dataflow, streams, pauses, pipeline, preloads and rows drawn.

    In one of five the network is as trained, in another it starts from random words; in the others
    its rows are written for their slots. Where streamed weights may come once for a batch, its
    images are drawn, too, 1 to 4; the last batch is short of one.
    """
    pe, simd, bits = GRID[case]
    rng = np.random.default_rng([seed, case])
    dataflow: Dataflow = "ws" if (case + seed) % 4 == 3 else "os"
    spec = ArraySpec(pe, simd, bits, bits, 24, dataflow)
    net = network(rng, spec, case)
    words = np.random.default_rng([seed, case, 1])
    kind = int(words.integers(5))
    if kind == 1:
        net = preloaded(words, net, spec.acc_bits)
    elif kind > 2:
        net = array.with_preloads(net)
    schedule = core_cases.random_schedule(rng, net, spec)
    faults = max(8, 2 * spec.pe)
    profile = rtl_cases.any_profile(rng, spec, faults, array.wmem_words(net, spec, schedule))
    slots: list[WrittenSlot] = []
    if kind > 1:
        net, slots = fitted(words, net, profile, schedule)
    inside = tuple(bool(rng.integers(4)) for _ in net.layers)
    inside, batch = batching(np.random.default_rng([seed, case, 2]), net, inside)
    lanes = (0, 2, 4)[case % 3]
    pipeline = int(rng.integers(MAX_PIPELINE + 1))
    multipliers: Multipliers = "dsp2" if dataflow == "os" and case % 3 == 2 else "dsp"
    plan = core_cases.build(
        net, schedule, profile, inside, pipeline=pipeline, lanes=lanes, multipliers=multipliers,
        batch=batch,
    )  # fmt: skip
    done = verify_core(
        net,
        schedule,
        profile,
        plan,
        core_cases.images(rng, net, 2 if batch == 1 else 2 * batch - 1),
        work=work,
        faults=True,
        on_chip=inside,
        pauses=case if case % 2 else None,
        batch=batch,
    )
    return done, slots


def record(case: int, seed: int, folder: Path | None) -> dict[str, Any]:
    """What one case showed, from the folder where it has run before."""
    path = None if folder is None else folder / f"seed{seed}_case{case:02d}.json"
    if path is not None and path.is_file():
        held: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if not held["mismatches"]:
            return held
    with tempfile.TemporaryDirectory() as work:
        done, slots = run(case, seed, Path(work))
    names = ("images", "outputs", "mismatches", "first", "seconds")
    found = {name: getattr(done, name) for name in names}
    found["moves"] = Counter(move.split()[0] for slot in slots for move in slot.moves)
    found["written"] = len(slots)
    found["stages"] = [asdict(s) | {"overhead": s.overhead} for s in done.stages]
    if path is not None:
        path.write_text(json.dumps(found), "utf-8")
    return found


def measure(pe: int, simd: int, kernel: int, work: Path) -> CoreVerification:
    """A healthy array on a convolution of SIMD channels, and one of 1 x 1 on all that it gives."""
    rng = np.random.default_rng([pe, simd, kernel])
    spec = ArraySpec(pe, simd, 4, 4, 24)
    convs = [(2 * pe - 1, kernel, 1, kernel // 2), (pe, 1, 1, 0)]
    net = core_cases.random_network(rng, spec, (12, 12, simd), convs, pool=False)
    maps = tuple(rtl_cases.random_map(rng, item, pe) for item in net.layers)
    schedule, healthy = Schedule(spec, maps), FaultProfile(spec)
    plan, codes = core_cases.build(net, schedule, healthy), core_cases.images(rng, net, 1)
    return verify_core(net, schedule, healthy, plan, codes, work=work, faults=False)


def show_cycles() -> int:
    """A line for each size of array and kernel; number of runs that differ."""
    wrong = 0
    for pe, simd, kernel in itertools.product((4, 8, 16, 32), (1, 2, 4, 8), (3, 1)):
        with tempfile.TemporaryDirectory() as work:
            done = measure(pe, simd, kernel, Path(work))
        wrong += done.mismatches > 0
        first, second = (
            f"{stage.cycles} of {stage.ideal_cycles}, {100 * stage.overhead:+.1f} %"
            for stage in done.stages[:2]
        )
        print(
            f"{pe} x {simd}: {kernel} x {kernel} on {simd} channels {first};"
            f" 1 x 1 on {2 * pe - 1} {second}",
            flush=True,
        )
    return wrong


def main() -> int:
    """Run the grid, or some of its cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="", metavar="A:B", help="cases A to B-1 alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="folder that keeps what each case showed")
    parser.add_argument("--cycles", action="store_true", help="measure cycles, healthy arrays")
    options = parser.parse_args()
    if options.cycles:
        return int(show_cycles() > 0)
    if options.save is not None:
        options.save.mkdir(parents=True, exist_ok=True)
    bounds = [int(part) if part else None for part in options.cases.split(":")]
    wrong, moves = 0, Counter[str]()
    for case in range(len(GRID))[slice(*bounds)]:
        found = record(case, options.seed, options.save)
        wrong += found["mismatches"] > 0
        moves.update(found["moves"])
        pe, simd, bits = GRID[case]
        print(
            f"{case}: {pe} x {simd}, {bits} bits: {found['outputs']} integers,"
            f" {found['mismatches']} differ, {found['written']} rows written,"
            f" {found['seconds']:.0f} s",
            *found["first"],
            flush=True,
        )
    told = ", ".join(f"{name} {count}" for name, count in sorted(moves.items()))
    print(f"{wrong} cases differ; rows written by move: {told or 'none'}")
    return int(wrong > 0 or not moves)


if __name__ == "__main__":
    sys.exit(main())
