"""The accelerator on the whole grid of array sizes, on random networks.

    python -m tests.regress_core [--first N] [--seed S]

Prints a line for each case; exit code 1 where a case differs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np

from hascodesign.types import ArraySpec, IntegerNetwork
from hascodesign.verify.core import CoreVerification, verify_core
from tests import core_cases, rtl_cases

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
        classes=int(rng.integers(2, 8)), hidden=int(rng.integers(0, 2)) * (spec.pe + 9),
    )  # fmt: skip


def run(case: int, seed: int, work: Path) -> CoreVerification:
    """One case of the grid, faults, pauses and pipeline drawn."""
    pe, simd, bits = GRID[case]
    rng = np.random.default_rng([seed, case])
    spec = ArraySpec(pe, simd, bits, bits, 24)
    net = network(rng, spec, case)
    schedule = core_cases.random_schedule(rng, net, spec)
    profile = rtl_cases.random_profile(rng, spec, 8)
    lanes = (0, 2, 4)[case % 3]
    plan = core_cases.build(net, schedule, profile, pipeline=int(rng.integers(4)), lanes=lanes)
    codes = core_cases.images(rng, net, 2)
    return verify_core(
        net,
        schedule,
        profile,
        plan,
        codes,
        work=work,
        faults=True,
        pauses=case if case % 2 else None,
    )


def main() -> int:
    """Run the grid, or its first cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=len(GRID), help="cases")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    wrong = 0
    for case in range(min(options.first, len(GRID))):
        with tempfile.TemporaryDirectory() as folder:
            found = run(case, options.seed, Path(folder))
        wrong += found.mismatches > 0
        pe, simd, bits = GRID[case]
        print(
            f"{pe} x {simd}, {bits} bits: {found.outputs} integers, {found.mismatches} differ",
            *found.first,
            flush=True,
        )
    print(f"{wrong} cases differ")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
