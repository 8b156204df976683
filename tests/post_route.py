"""Post-route clock of some arrays on an ECP5: an open stand-in for a vendor's timing.

    python -m tests.post_route                          all arrays of the table
    python -m tests.post_route 16x8x4p4 --paths         one, with its slowest path

A name is PE x SIMD x bits of both operands, then p and the register stages of a PE.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path

import numpy as np

from hascodesign.board import post_route
from hascodesign.contract import array
from hascodesign.contract.types import ArraySpec, FaultProfile
from hascodesign.render.rtl import RtlOptions
from tests import rtl_cases

ARRAYS = ("16x8x4p4", "8x4x8p4")
ACC_BITS = 24


def measure(name: str, work: Path, multipliers: str, seed: int) -> post_route.Timing:
    """One array with layers of every output, of a few passes."""
    match = re.fullmatch(r"(\d+)x(\d+)x(\d+)p(\d)", name)
    if match is None:
        raise SystemExit(f"an array must be named as 16x8x4p4, not {name}")
    pe, simd, bits, pipeline = map(int, match.groups())
    rng = np.random.default_rng(1)
    spec = ArraySpec(pe, simd, bits, bits, ACC_BITS)
    layers = [
        rtl_cases.layer(rng, spec, 0, 2 * pe, 16 * simd, out_bits=4),
        rtl_cases.layer(rng, spec, 1, 2 * pe, 2 * pe, kind="shift", out_bits=4),
        rtl_cases.layer(rng, spec, 2, 10, 2 * pe, kind="last"),
    ]
    net = rtl_cases.network(layers)
    options = RtlOptions(pipeline=pipeline, multipliers="lut" if multipliers == "lut" else "dsp")
    schedule = array.identity_schedule(net, spec)
    plan = rtl_cases.build(net, schedule, FaultProfile(spec), options)
    return post_route.post_route_mhz(
        plan.files, work=work, multipliers=options.multipliers, seed=seed,
        progress=lambda *_: None,
    )  # fmt: skip


def main() -> int:
    """Measure, print one line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("arrays", nargs="*", default=ARRAYS)
    parser.add_argument("--multipliers", choices=("dsp", "lut"), default="lut")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--paths", action="store_true", help="print the slowest path")
    parser.add_argument("--work", type=Path, default=Path("build/post_route"))
    options = parser.parse_args()
    for name in options.arrays:
        start = time.perf_counter()
        work = options.work / f"{name}-{options.multipliers}"
        got = measure(name, work, options.multipliers, options.seed)
        seconds = time.perf_counter() - start
        print(
            f"{name} {options.multipliers}: {got.mhz:.1f} MHz ({seconds:.0f} s) {dict(got.cells)}"
        )
        if options.paths:
            print(post_route.describe(got.path))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
