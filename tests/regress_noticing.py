"""What the self-test of the words in use notices: every single permanent fault, on digits-cnn.

    python -m tests.regress_noticing [--columns 8] [--faulty 8] [--pes N] [--wmem-pes 2]
                                     [--only faults|alarms|cycles] [--work FOLDER]

faults: two chips, healthy, and with 8 faulty PEs (seed 1), whose rows are written for the faults.
To each comes one more fault: every bit of every site of every PE that has none yet, stuck at 0, at
1 and inverted, and on the first PEs every bit of every word of the banks inverted (stuck it is
that, or nothing; PEs differ in the rows that they hold, no more). A fault counts that changes a
code of any layer, or a logit, on any calibration image; until the first such layer the activations
are those without it, so that each layer is asked by itself. It is noticed where the signature of
the self-test's accumulators is another one. Beside that: of one calibration image, and of 16,
whether any accumulator differs. Prints the faults that pass unnoticed; exit code 1 where the
self-test notices fewer than 999 of 1,000.

alarms: 10,000 images through a small healthy core in Verilator that checks its array after each:
every logit is the engine's, and there is no alarm. cycles: 4 images and checks on the core of
digits-cnn with the profile of seed 1, in Icarus.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.common.stats import wilson
from hascodesign.contract import arithmetic
from hascodesign.contract.array import wmem_bases, wmem_words
from hascodesign.contract.types import (
    ArraySpec,
    Fault,
    FaultProfile,
    IntArray,
    MultiplyLayer,
    RowMap,
    Thresholds,
    frozen,
)
from hascodesign.engine import gemm
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.slots import pe_faults
from hascodesign.faults.places import PERMANENT
from hascodesign.faults.profile import check
from hascodesign.flow.flow import Flow
from hascodesign.render.core import test_limits as limits_of
from hascodesign.verify.core import expected
from hascodesign.verify.self_test import SelfTest, self_test, signature
from tests import core_cases, regress_images
from tests.regress_images import Run
from tests.test_sim_core import bench

FAULTY = (0, 8)  # PEs of the chips
FIRST = 16  # images that are tried before all
LEAST = 0.999  # of the faults that count


@dataclass(frozen=True)
class Part:
    """The rows of one layer that stand on one PE."""

    layer: MultiplyLayer
    row_map: RowMap
    base: int  # of the whole layer in the banks
    positions: int  # columns of an image
    codes: NDArray[np.uint8]  # [K, N]

    def accumulators(self, profile: FaultProfile, images: int) -> IntArray:
        """[rows, columns of so many images]."""
        count = min(images * self.positions, self.codes.shape[1])
        on_array = LayerOnArray(
            profile, pe_faults(profile), self.layer, passes=self.row_map.passes, base=self.base,
            layer_index=self.layer.index,
        )  # fmt: skip
        return on_array.accumulate(
            np.arange(self.layer.rows), on_array.classes_of(self.row_map),
            np.ascontiguousarray(self.codes[:, :count]), np.arange(count),
        )  # fmt: skip

    def out(self, acc: IntArray) -> IntArray:
        """Codes, or logits."""
        sums = acc + self.layer.bias[:, None]
        output = self.layer.output
        return sums if output is None else arithmetic.output_codes(output, sums)

    def holds(self, address: int) -> bool:
        """Whether a word of the bank is of this layer."""
        steps = -(-self.layer.depth // 8)
        return self.base <= address < self.base + self.row_map.passes * steps


def parts_of(build: Flow, profile: FaultProfile, pe: int, codes: Sequence[IntArray]) -> list[Part]:
    """What stands on a PE, the smallest layer first."""
    found = []
    bases = wmem_bases(build.deployed, build.schedule)
    for layer, row_map, base, x in zip(
        build.deployed.layers, build.schedule.layers, bases, codes, strict=True
    ):
        own = row_map.slots[:, pe]
        rows = own[own >= 0]
        if not len(rows):
            continue
        slots = np.full_like(row_map.slots, -1)
        slots[own >= 0, pe] = np.arange(len(rows))
        output = layer.output
        if isinstance(output, Thresholds):
            output = replace(
                output,
                values=frozen(output.values[rows]),
                descending=frozen(output.descending[rows], np.bool_),
            )
        some = replace(
            layer,
            weights=frozen(layer.weights[rows]),
            bias=frozen(layer.bias[rows]),
            preload=None if layer.preload is None else frozen(layer.preload[rows]),
            output=output,
        )
        found.append(
            Part(some, RowMap(layer.name, len(rows), frozen(slots)), base, layer.positions, x)
        )
    return sorted(found, key=lambda part: part.codes.size)


def singles(profile: FaultProfile, pe: int, banks: bool) -> Iterator[Fault]:
    """Every fault that may come to a PE; those of its bank on demand."""
    array = profile.array
    taken = {(f.site, f.simd, f.bit, f.address) for f in profile.faults if f.pe == pe}
    for site in array.sites[not banks :]:
        lanes = range(array.simd) if array.has_lane(site) else (None,)
        addresses = range(array.wmem_depth) if site == "wmem" else (None,)
        kinds = ("flip",) if site == "wmem" else PERMANENT
        for lane in lanes:
            for address in addresses:
                for bit in range(array.site_bits(site)):
                    if (site, lane, bit, address) not in taken:
                        yield from (Fault(pe, kind, site, lane, bit, address) for kind in kinds)


def with_fault(profile: FaultProfile, fault: Fault) -> FaultProfile:
    """The PE's own faults, and one more."""
    own = tuple(one for one in profile.faults if one.pe == fault.pe)
    return check(FaultProfile(profile.array, (*own, fault)))


def judge(
    profile: FaultProfile, pe: int, parts: Sequence[Part], test: SelfTest, banks: bool
) -> Iterator[tuple[Fault, bool, tuple[bool, ...]]]:
    """Each fault, whether it counts, and whether self-test, one image, 16 images notice it."""
    alone = FaultProfile(profile.array, tuple(f for f in profile.faults if f.pe == pe))
    every = 1 << 30
    known = [part.accumulators(alone, every) for part in parts]
    outs = [part.out(acc) for part, acc in zip(parts, known, strict=True)]
    answers = test.answers(alone, [pe])
    wanted = signature(_in_order(answers))
    for fault in singles(profile, pe, banks):
        faulty = with_fault(profile, fault)
        held = [
            (part, acc, out)
            for part, acc, out in zip(parts, known, outs, strict=True)
            if fault.address is None or part.holds(fault.address)
        ]
        counts, one, some = False, False, False
        for part, acc, out in held:
            if counts and one:  # and some
                break
            got = part.accumulators(faulty, FIRST)
            few = got.shape[1]
            one |= not np.array_equal(got[:, : part.positions], acc[:, : part.positions])
            some |= not np.array_equal(got, acc[:, :few])
            counts |= not np.array_equal(part.out(got), out[:, :few])
        for part, _, out in held:
            if not counts:
                counts = not np.array_equal(part.out(part.accumulators(faulty, every)), out)
        noticed = signature(_in_order(test.answers(faulty, [pe]))) != wanted
        yield fault, counts, (bool(noticed.any()), one, some)


def _in_order(acc: IntArray) -> IntArray:
    """[stages, n]: pass by pass, column by column; of other PEs' 0s nothing depends on the rest."""
    return acc.transpose(0, 2, 3, 1).reshape(len(acc), -1).astype(np.int64)


def measure(build: Flow, name: str, columns: int, pes: int, wmem_pes: int) -> bool:
    """Print what is noticed on one chip; whether it is enough."""
    network, schedule = build.deployed, build.schedule
    words = wmem_words(network, schedule.array, schedule)
    profile = check(
        replace(build.profile, array=replace(schedule.array, wmem_depth=words)), words=words
    )
    limits = limits_of(network, schedule, build.hardware)
    assert limits is not None
    test = self_test(
        network, replace(schedule, array=profile.array), build.on_chip, limits, columns
    )
    assert test is not None
    images = arithmetic.quantise(build.dataset.calibration.images, network.input)
    codes = [
        np.ascontiguousarray(one.activations.astype(np.int64) & 0xFF, dtype=np.uint8)
        for one in gemm.trace(network, schedule, build.profile, images)
    ]
    found: Counter[tuple[str, str]] = Counter()
    missed = []
    faulty = {fault.pe for fault in profile.faults}
    order = sorted(range(profile.array.pe), key=lambda pe: (pe not in faulty, pe))[:pes]
    print(f"{name}: faulty PEs {sorted(faulty)}; tried: {order}", flush=True)
    for place, pe in enumerate(order):
        parts = parts_of(build, profile, pe, codes)
        for fault, counts, notices in judge(profile, pe, parts, test, place < wmem_pes):
            site = str(fault.site)
            found[site, "faults"] += 1
            found[site, "quiet"] += not counts
            found[site, "quiet noticed"] += notices[0] and not counts
            if counts:
                found[site, "count"] += 1
                for way, one in zip(("test", "image", "images"), notices, strict=True):
                    found[site, way] += one
                if not notices[0]:
                    missed.append(fault)
        total, good = (sum(found[s, key] for s in profile.array.sites) for key in ("count", "test"))
        print(f"  PE {pe} done: {good} of {total} noticed so far", flush=True)
    print(
        f"{name}: {len(images)} calibration images; the self-test is {len(test.bases)} stages of"
        f" {test.passes} passes of {test.steps} steps, {len(test.codes)} columns"
    )
    sites = (*profile.array.sites, "all")
    for site in sites:
        if site == "all":
            for (own, key), count in list(found.items()):
                found["all", key] += count if own != "all" else 0
        total, good = found[site, "count"], found[site, "test"]
        if not found[site, "faults"]:
            continue
        low, high = wilson(good, total)
        print(
            f"| {site} | {found[site, 'faults']:,} | {total:,} | {good:,}"
            f" ({100 * good / total:.2f} %, {low:.2f} to {high:.2f}) | {found[site, 'image']:,}"
            f" | {found[site, 'images']:,} | {found[site, 'quiet noticed']:,} of"
            f" {found[site, 'quiet']:,} |"
        )
    for fault in missed[:20]:
        print(f"  not noticed: {fault}")
    return found["all", "test"] >= LEAST * found["all", "count"] > 0


def alarms(work: Path, name: str, case: tuple[Any, ...], times: int, simulator: str) -> bool:
    """Print what images and checks on a core that watches its array showed; whether all is well."""
    network, schedule, profile, codes, built = case
    built = replace(built, watch=True)
    inside = built.array.on_chip
    test = self_test(network, schedule, inside, limits_of(network, schedule, built))
    assert test is not None
    folder = work / "vectors"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "watch.npz", shape=[test.bases[0], test.steps, test.passes], times=times,
        signature=signature(_in_order(test.answers(profile)))[0],
    )  # fmt: skip
    plan = core_cases.build(network, schedule, profile, inside, built=built)
    jobs = {"images": expected(network, schedule, profile, codes, inside)}
    bench("core_alarm_tests", plan, jobs, work, "--faults", "--simulator", simulator)
    said = json.loads((work / "results" / "alarms.json").read_text())
    print(f"{name}, {simulator}: {said}", flush=True)
    return not (said["alarms"] or said["differ"]) and said["images"] == times * len(codes)


def small() -> tuple[Any, ...]:
    """A small healthy core and 100 images."""
    rng = np.random.default_rng(1)
    spec = ArraySpec(pe=4, simd=2, weight_bits=3, act_bits=4, acc_bits=16)
    network = core_cases.random_network(rng, spec, (1, 1, 6), [], classes=3, hidden=4)
    schedule = core_cases.random_schedule(rng, network, spec)
    codes = core_cases.images(rng, network, 100)
    built = core_cases.options((True,) * len(network.layers))
    return network, schedule, FaultProfile(spec), codes, built


def digits(work: Path) -> tuple[Any, ...]:
    """The core of digits-cnn and 4 images."""
    build = regress_images.flow(Run("noticing", "digits-cnn", "", 0, 1, faults=True), work)
    codes = arithmetic.quantise(build.dataset.heldout.images[:4], build.network.input)
    array = replace(build.hardware.array, on_chip=build.on_chip)
    built = replace(build.hardware, array=array)
    return build.deployed, build.schedule, build.profile, codes, built


def main() -> int:
    """All of it, or a part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--pes", type=int, help="PEs that are tried, the faulty ones first")
    parser.add_argument("--wmem-pes", type=int, default=2, help="of these, whose banks are tried")
    parser.add_argument("--work", type=Path, help="folder that keeps the steps of the flows")
    parser.add_argument("--faulty", type=int, help="one chip only, with so many faulty PEs")
    parser.add_argument("--only", choices=("faults", "alarms", "cycles"))
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        if options.only in {None, "alarms"}:
            good &= alarms(work / "alarms", "small", small(), 100, "verilator")
        if options.only in {None, "cycles"}:
            case = digits(work / "seed1")
            good &= alarms(work / "cycles", "digits-cnn", case, 1, "icarus")
        if options.only not in {None, "faults"}:
            return int(not good)
        for faulty in FAULTY if options.faulty is None else (options.faulty,):
            name = f"{faulty} faulty PEs"
            run = Run("noticing", "digits-cnn", "", 0, 1, faults=faulty > 0)
            build = regress_images.flow(run, work / f"pes{faulty}", **{"faults.faulty_pes": faulty})
            good &= measure(build, name, options.columns, options.pes, options.wmem_pes)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
