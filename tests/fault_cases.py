"""Random faults on random arrays whose compiled Verilog takes its faults at run time."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from hascodesign.contract import arithmetic, array
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.types import (
    ArraySpec,
    Dataflow,
    Fault,
    FaultProfile,
    IntArray,
    IntegerNetwork,
    Schedule,
)
from hascodesign.engine import gemm
from hascodesign.render.rtl import RtlOptions
from hascodesign.verify.replay import without
from tests import rtl_cases
from tests.preload_cases import preloaded

COLUMNS = 3
LAYERS = 3  # unsigned of two passes or more, signed from the weight stream, last
P = 0.5


@dataclass(frozen=True)
class Build:
    """One compiled array; ``number`` draws its sizes, weights and maps."""

    seed: int
    number: int

    @cached_property
    def spec(self) -> ArraySpec:
        rng = np.random.default_rng([self.seed, self.number])
        pe, simd = int(rng.integers(1, 6)), int(rng.integers(1, 6))
        weight, act = (int(bits) for bits in rng.integers(1, 9, 2))
        dataflow: Dataflow = "ws" if self.number % 2 else "os"
        return ArraySpec(pe, simd, weight, act, int(rng.integers(16, 33)), dataflow)

    @cached_property
    def job(self) -> tuple[IntegerNetwork, Schedule]:
        net, schedule = network(self.spec, np.random.default_rng([self.seed, self.number, 1]))
        if self.number // 2 % 2:
            rng = np.random.default_rng([self.seed, self.number, 3])
            net = preloaded(rng, net, self.spec.acc_bits)
        return net, schedule

    @property
    def words(self) -> int:
        net, schedule = self.job
        return array.wmem_words(net, self.spec, schedule)

    def plan(self) -> BuildPlan:
        on_chip = tuple(index != 1 for index in range(LAYERS))
        options = RtlOptions(self.number // 2 % 4, "dsp", on_chip)
        return rtl_cases.build(*self.job, FaultProfile(self.spec), options)

    def case(self, number: int) -> Case:
        """Several faults met by one of the layers."""
        rng = np.random.default_rng([self.seed, self.number, 2, number])
        count = int(rng.integers(1, 13))
        profile = rtl_cases.any_profile(rng, self.spec, count, self.words, rtl_cases.DRAWS)
        return Case(f"case_{number:05d}", profile, number % LAYERS, int(rng.integers(1 << 31)))


@dataclass(frozen=True)
class Small(Build):
    """The 2 x 2 array of 3-bit operands."""

    dataflow: Dataflow = "os"

    @cached_property
    def spec(self) -> ArraySpec:
        return ArraySpec(2, 2, 3, 3, 16, self.dataflow)

    def every_fault(self) -> Iterator[Case]:
        """Every site, bit and kind, one at a time, on every layer that can meet it."""
        net, schedule = self.job
        bases = [*array.wmem_bases(net, schedule), self.words]
        for number, fault in enumerate(single_faults(self.spec, self.words)):
            profile = FaultProfile(self.spec, (fault,), seed=number)
            for index in range(LAYERS):
                own = range(bases[index], bases[index + 1])
                if fault.address is None or fault.address in own:
                    yield Case(f"fault_{number:05d}_{index}", profile, index, number)


@dataclass(frozen=True)
class Case:
    """A profile and one layer's activations and column counters."""

    name: str
    profile: FaultProfile
    layer: int
    seed: int

    def write(self, build: Build, folder: Path) -> None:
        """The bench's job file, with the accumulators of the reference."""
        net, schedule = build.job
        item, row_map = net.layers[self.layer], schedule.layers[self.layer]
        base = array.wmem_bases(net, schedule)[self.layer]
        rng = np.random.default_rng(self.seed)
        acts = rtl_cases.activations(rng, build.spec, item, COLUMNS)
        counters = np.sort(rng.choice(1 << 24, COLUMNS, replace=False))
        acc = rtl_cases.accumulate(self.profile, item, row_map, acts, base, counters)
        fast = gemm.accumulate(self.profile, item, row_map, acts, wmem_base=base, columns=counters)
        assert np.array_equal(acc, fast), f"the two engines differ: {self.profile}"
        sums = acc + item.bias[:, None]
        codes = sums if item.output is None else arithmetic.output_codes(item.output, sums)
        faults = rtl_cases.fault_arrays(self.profile)
        np.savez(
            folder / f"{self.name}.npz",
            weights=item.weights,
            activations=acts,
            k_order=array.k_order(item.depth, build.spec.simd),
            slots=row_map.slots,
            layer_index=np.array(item.index),
            columns=counters,
            acc=acc,
            codes=codes,
            **faults,
        )


def network(spec: ArraySpec, rng: np.random.Generator) -> tuple[IntegerNetwork, Schedule]:
    bits = min(3, spec.act_bits)
    layers = [
        rtl_cases.layer(rng, spec, 0, spec.pe + 1, 2 * spec.simd, out_bits=bits),
        rtl_cases.layer(rng, spec, 1, spec.pe, spec.simd + 1, in_signed=True, out_bits=bits),
        rtl_cases.layer(rng, spec, 2, 1, spec.simd, kind="last", in_signed=True),
    ]
    maps = [rtl_cases.random_map(rng, item, spec.pe, item.index % 2) for item in layers]
    return rtl_cases.network(layers), Schedule(spec, tuple(maps))


def single_faults(spec: ArraySpec, words: int) -> Iterator[Fault]:
    for pe in range(spec.pe):
        yield Fault(pe, "dead")
        for site in spec.sites:
            for simd in range(spec.simd) if spec.has_lane(site) else [None]:
                for address in range(words) if site == "wmem" else [None]:
                    for bit in range(spec.site_bits(site)):
                        for kind in ("sa0", "sa1", "flip"):
                            yield Fault(pe, kind, site, simd, bit, address)
                        yield Fault(pe, "transient", site, simd, bit, address, P)
                    whole = (0, spec.site_bits(site) - 1)
                    yield Fault(pe, "transient", site, simd, None, address, P, whole)


@dataclass(frozen=True)
class Outcome:
    compared: int  # accumulators and codes
    wrong: dict[str, int]  # integers that differ, by case


def simulate(
    build: Build,
    cases: Sequence[Case],
    work: Path,
    simulator: str,
    library: Path | None = None,
) -> Outcome:
    """Run cases through one compiled array; what came is read from files, not from the bench.

    ``library`` keeps what Verilator compiles of its own for the next array.
    """
    shutil.rmtree(work, ignore_errors=True)
    (work / "vectors").mkdir(parents=True)
    for case in cases:
        case.write(build, work / "vectors")
    options = ["--bench-masks", "--simulator", simulator]
    if library is not None:
        options += ["--library", str(library)]
    done = rtl_cases.run_bench(build.plan(), work, *options)
    compared, wrong = 0, {}
    for case in cases:
        got = work / "results" / f"{case.name}.npz"
        assert got.is_file(), done.stdout[-3000:] + done.stderr[-1000:]
        with np.load(work / "vectors" / f"{case.name}.npz") as given, np.load(got) as came:
            pairs: list[tuple[IntArray, IntArray]] = [(given[k], came[k]) for k in ("acc", "codes")]
            differ = sum(int(np.count_nonzero(a != b)) for a, b in pairs)
            compared += sum(a.size for a, _ in pairs)
        if differ:
            wrong[case.name] = differ
    said = len(re.findall("integers differ", done.stdout))
    assert (done.returncode == 0) == (not wrong) == (not said), done.stdout[-3000:]
    return Outcome(compared, wrong)


def shrunk(build: Build, case: Case, work: Path, simulator: str) -> Case:
    """The case without every fault that the difference does not need; entries keep their places."""
    needed = [i for i, f in enumerate(case.profile.faults) if f.kind != "transient" or f.p]
    while True:
        smaller = {
            f"without_{i:03d}": replace(
                case, name=f"without_{i:03d}", profile=without(case.profile, i)
            )
            for i in needed
        }
        wrong = simulate(build, list(smaller.values()), work, simulator).wrong if smaller else {}
        if not wrong:
            return case
        name = sorted(wrong)[0]
        case = replace(smaller[name], name=case.name)
        needed.remove(int(name.removeprefix("without_")))
