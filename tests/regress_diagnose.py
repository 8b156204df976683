"""Drawn chips, the engine as the chip: how many PEs are explained, and whether any is wrong.

    python -m tests.regress_diagnose --chips 12 --seed 1

Every PE of a chip has the same number of logic faults, of all permanent kinds; a second table has
chips with faulty words. An explained PE is held against the true one by the engine, on fresh
random layers. Exits 1 where an explained PE differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

import numpy as np

from hascodesign.common.stats import wilson
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, FaultProfile
from hascodesign.diagnose.infer import infer
from hascodesign.diagnose.simulate import simulate
from hascodesign.diagnose.vectors import vectors
from hascodesign.faults.generate import AREA_WEIGHTS, by_area
from hascodesign.faults.places import PERMANENT, Places, in_order
from hascodesign.faults.profile import check
from hascodesign.study.diagnose import sums_that_differ

ARRAY = ArraySpec(16, 8, 4, 8, 24)
EVENLY = {"weight": 8 * 4, "act": 8 * 8, "product": 8 * 13, "psum": 24}  # every bit of a PE
DRAWS = {"by area": AREA_WEIGHTS, "by bit": EVENLY}
LOGIC = tuple((draw, faults, 0, 64) for draw in DRAWS for faults in (1, 2, 3, 5, 8))
MEMORY = tuple(("by area", 2, words, 512) for words in (50, 500))


def chip(rng: np.random.Generator, draw: str, faults: int, words: int, depth: int) -> FaultProfile:
    """A chip with so many logic faults on every PE, and faulty words anywhere."""
    array = replace(ARRAY, wmem_depth=depth)
    logic = by_area(
        array, rng, faulty_pes=16, faults_per_pe=faults, weights=DRAWS[draw], kinds=PERMANENT
    )
    places = Places(array, rng)
    own = [
        places.fault(int(rng.integers(16)), "wmem", PERMANENT[int(rng.integers(3))])
        for _ in range(words)
    ]
    return check(replace(logic, faults=in_order((*logic.faults, *own))))


def measure(case: tuple[str, int, int, int], chips: int, seed: int) -> tuple[str, int]:
    """A line of the table, and the sums of explained PEs that differ."""
    draw, faults, words, _ = case
    explained = differ = compared = 0
    seconds = []
    for number in range(chips):
        rng = np.random.default_rng([seed, faults, words, draw == "by bit", number])
        true = chip(rng, *case)
        test_set = vectors(true.array)
        acc = simulate(test_set, true)
        start = time.process_time()
        try:
            found = infer(test_set, acc)
        except ConfigError as error:
            print(f"chip {number}: {error}", flush=True)
            continue
        seconds.append(time.process_time() - start)
        left = set(found.unexplained)
        explained += 16 - len(left)
        kept = [
            replace(p, faults=tuple(f for f in p.faults if f.pe not in left))
            for p in (true, found.profile)
        ]
        wrong, total = sums_that_differ(*kept, number)
        differ, compared = differ + wrong, compared + total * (16 - len(left)) // 16
    low, high = wilson(explained, 16 * chips)
    return (
        f"| {draw} | {faults} | {words} | {explained} of {16 * chips} ({low:.1f} to {high:.1f} %) "
        f"| {differ} of {compared:,} | {np.median(seconds):.2f} |"
    ), differ


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.regress_diagnose", description=__doc__)
    parser.add_argument("--chips", type=int, default=12, help="chips of each line, 16 PEs each")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print("| drawn | faults of each PE | faulty words of the chip | PEs explained (95 %) ", end="")
    print("| sums of explained PEs that differ | CPU s a chip, median |\n|---|---|---|---|---|---|")
    differ = 0
    for case in LOGIC + MEMORY:
        line, wrong = measure(case, given.chips, given.seed)
        differ += wrong
        print(line, flush=True)
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
