"""How many small mistakes in the Verilog the benches find.

    python -m mutation.mutants --seed 1 --seed 2
    python -m mutation.mutants --count 20 --suite pe --seed 2

yosys makes single mutations of the elaborated PE, array and core (``mutate -list``); each mutant is
run through the cocotb benches in Icarus up to the first test that fails: first that of its module
alone, where there is one. A mutant is equivalent only by a proof: ``mutation.proofs`` and
``mutation.invariants`` say which.
``mutants.json`` has every mutant and what came of it: a run that is stopped goes on from there, and
one after a change of the benches judges again only what that change can have changed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from mutation.benches import Limits, digest, passes
from mutation.invariants import prove
from mutation.proofs import constant, dead, equivalent
from mutation.record import Mutant, Record
from mutation.suites import SUITES, Bench, Suite
from mutation.yosys import draw, elaborate, module_netlist, modules, netlist

GOAL = 0.95  # of those that are not proved equivalent, in each design


def judge(suite: Suite, mutant: Mutant, work: Path, limits: Limits) -> None:
    """Benches, then the proofs of one mutant where all pass."""
    start = time.perf_counter()
    shutil.rmtree(work, ignore_errors=True)
    mutant.fate = mutant.by = mutant.against = ""
    mutant.fate, mutant.against = "alive", everything(suite)
    for count, (bench, top) in enumerate(tried(suite, mutant, work)):
        name = digest(suite, bench)
        limit = limits.of(bench, mutant.module if top else "")
        passed, how = passes(suite, bench, work / top, limit, top)
        if not passed:
            mutant.fate, mutant.by, mutant.against = "killed", how, name
            break
        if not count and dead(suite, mutant, work):
            mutant.fate, mutant.by, mutant.against = "equivalent", "nothing reads it", ""
            break
    else:
        if constant(suite, mutant, work):
            mutant.fate, mutant.by = "equivalent", "constant"
        elif equivalent(suite, mutant, work):
            mutant.fate, mutant.by = "equivalent", "its module is the same"
    mutant.seconds = round(time.perf_counter() - start, 1)


def tried(suite: Suite, mutant: Mutant, work: Path) -> Iterator[tuple[Bench, str]]:
    """The benches that a mutant meets, each with the top where that is not the suite's."""
    alone = suite.modules.get(modules(suite)[mutant.module])
    if alone:
        module_netlist(suite, mutant.module, mutant.command, work / "has_dut")
        yield alone, "has_dut"
    netlist(suite, mutant.command, work)
    yield from ((bench, "") for bench in suite.benches)


def everything(suite: Suite) -> str:
    """Digest of all benches."""
    benches = (*suite.modules.values(), *suite.benches)
    return " ".join(digest(suite, bench)[:16] for bench in benches)


class Round:
    """The judging of one design's mutants."""

    def __init__(
        self, suite: Suite, record: Record, workers: int, end: float, proofs: bool
    ) -> None:
        self._suite, self._record, self._workers, self._end = suite, record, workers, end
        self._proofs = proofs
        self._limits = Limits(suite, record.enter(suite.name, elaborate(suite)))
        benches = (*suite.modules.values(), *suite.benches)
        self._standing = {digest(suite, bench) for bench in benches} | {everything(suite)}

    def run(self, count: int, seed: int) -> list[Mutant]:
        """The mutants of one draw, judged as far as time allows."""
        drawn = list(draw(self._suite, count, seed))
        left = [m for m in drawn if self._record.find(m, self._standing) is None]
        folders: SimpleQueue[Path] = SimpleQueue()
        for worker in range(self._workers):
            folders.put(self._suite.folder / f"mutant{worker}")

        def one(mutant: Mutant) -> Mutant:
            if time.monotonic() < self._end:
                work = folders.get()
                judge(self._suite, mutant, work, self._limits)
                folders.put(work)
            return mutant

        with ThreadPoolExecutor(self._workers) as pool:
            for m in pool.map(one, left):
                if m.fate:
                    self._record.add(m)
                    print(f"{m.suite}, {m.place}: {m.fate} {m.by} ({m.seconds} s)", flush=True)
        known = [self._record.find(m, self._standing) or m for m in drawn]
        living = [m for m in known if m.fate == "alive" and not m.by]
        if living and self._proofs and time.monotonic() < self._end:
            for m in prove(self._suite, living):
                self._record.add(m)
                print(f"{m.suite}, {m.place}: {m.fate}, {m.by}", flush=True)
        return known


def report(seed: int, mutants: list[Mutant]) -> bool:
    """Print the table of one draw and its survivors; whether the goal is met in each design."""
    fates = Counter((m.suite, m.fate) for m in mutants)
    print(f"\nseed {seed:<6}{'mutants':>9}{'killed':>9}{'equivalent':>12}{'alive':>8}{'rate':>8}")
    met = True
    for suite in (*dict.fromkeys(m.suite for m in mutants), "all"):
        killed, same, alive = (
            sum(n for (s, f), n in fates.items() if f == fate and suite in (s, "all"))
            for fate in ("killed", "equivalent", "alive")
        )
        rate = killed / max(1, killed + alive)
        met = met and rate >= GOAL
        print(f"{suite:11}{killed + same + alive:9}{killed:9}{same:12}{alive:8}{rate:8.1%}")
    for m in mutants:
        if m.fate == "alive":
            print(f"alive: {m.suite}, {m.place}: {m.command}")
    return met


def main() -> int:
    """Draw, judge, report; exit code 1 below the goal, 4 where mutants are left for another run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=50, help="mutants of a design and seed")
    parser.add_argument("--seed", type=int, action="append", help="of a draw (default 1)")
    parser.add_argument("--suite", choices=tuple(SUITES), action="append")
    parser.add_argument("--minutes", type=float, help="begin no mutant after this time")
    parser.add_argument(
        "--no-proofs", dest="proofs", action="store_false", help="leave out those of whole designs"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("build/mutants"))
    options = parser.parse_args()
    end = time.monotonic() + 60 * (options.minutes or 1e6)
    options.work.mkdir(parents=True, exist_ok=True)
    record = Record(options.work / "mutants.json")
    seeds = options.seed or [1]
    wanted: dict[int, list[Mutant]] = {seed: [] for seed in seeds}
    for name in options.suite or SUITES:
        folder = options.work.resolve() / name
        shutil.rmtree(folder, ignore_errors=True)
        part = Round(SUITES[name](folder), record, options.workers, end, options.proofs)
        for seed in seeds:
            wanted[seed] += part.run(options.count, seed)
    met = [report(seed, [m for m in found if m.fate]) for seed, found in wanted.items()]
    left = sum(not m.fate for found in wanted.values() for m in found)
    if left:
        print(f"{left} mutants are left: the same command goes on")
        return 4
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
