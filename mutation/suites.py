"""The designs that are mutated, and the benches that each mutant meets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hascodesign.common.files import write_tree
from hascodesign.common.shipped import share
from hascodesign.contract import array
from hascodesign.contract.types import (
    ArraySpec,
    Fault,
    FaultProfile,
    IntegerNetwork,
    MultiplyLayer,
    Schedule,
    Shift,
    Thresholds,
    frozen,
)
from hascodesign.render.rom import build_roms
from hascodesign.render.rtl import RtlOptions
from hascodesign.verify.core import expected
from tests import core_cases, rtl_cases, stage_cases

PE_FILES = ("has_pe.v", "has_product.v", "has_multiplier.v", "has_delay.v", "has_fault.v")


@dataclass(frozen=True, slots=True)
class Bench:
    """One run of the simulator."""

    modules: str  # of the tests, commas between
    options: tuple[str, ...] = ()  # of run_bench
    vectors: str = "vectors"  # folder of the jobs


CORE_MODULES = {
    f"has_{name}": Bench(f"{name}_tests", (), "")
    for name in (
        "act_buffer", "bank_address", "conv_walk", "feature_maps", "gather", "lane_range",
        "logits", "packet", "pool_walk", "registers", "results", "rotate", "scatter",
    )
}  # fmt: skip
ARRAY_MODULES = {
    f"has_{name}": Bench(f"{name}_tests", (), "")
    for name in ("drain", "shift", "steps", "transient")
} | {"has_fault_masks": Bench("fault_masks_tests", (), "masks")}


@dataclass(frozen=True, slots=True)
class Suite:
    """A design, which of its modules are mutated, and the benches that it must pass."""

    name: str
    folder: Path  # has rtl/, roms/ and the folders of the jobs
    top: str
    parameters: dict[str, int]
    select: tuple[str, ...]  # yosys module patterns
    benches: tuple[Bench, ...]  # cheapest first
    modules: dict[str, Bench] = field(default_factory=dict)  # of a module alone, before those


def pe_suite(folder: Path) -> Suite:
    """One PE with all its registers, and masks of the bench."""
    rtl = {f"rtl/{n}": (share("rtl_templates") / n).read_bytes() for n in PE_FILES}
    write_tree(folder, rtl)
    (folder / "roms").mkdir(exist_ok=True)
    sizes = {"SIMD": 4, "WEIGHT_BITS": 3, "ACT_BITS": 4, "ACC_BITS": 16, "PIPELINE": 5}
    sizes["FAULT_SITES"] = 1
    return Suite("pe", folder, "has_pe", sizes, ("*",), (Bench("pe_tests"),))


def array_suite(folder: Path) -> Suite:
    """An array with layers of every output, one of them external, and faults of every kind.

    A run over every activation code puts v on either side of every threshold and half.
    """
    rng = np.random.default_rng(5)
    spec = ArraySpec(4, 2, 3, 5, 17)
    kinds = (("thresholds", 6, 5), ("shift", 5, 7), ("last", 3, 6))
    layers = [
        rtl_cases.layer(rng, spec, i, rows, depth, kind=kind, in_signed=i == 1, out_signed=i == 1)
        for i, (kind, rows, depth) in enumerate(kinds)
    ]
    layers += [ramp(rng, spec, len(layers) + i, output) for i, output in enumerate(edges(rng))]
    net = rtl_cases.network(layers)
    # passes enough to count beyond two bits
    spare = [3 if item.index == 0 else item.index % 2 for item in layers]
    maps = [
        rtl_cases.random_map(rng, x, spec.pe, more) for x, more in zip(layers, spare, strict=True)
    ]
    schedule = Schedule(spec, tuple(maps))
    profile = rtl_cases.any_profile(rng, spec, 16, array.wmem_words(net, spec, schedule))
    awake = [awakened(fault) for fault in profile.faults if fault.kind != "dead"]
    profile = replace(profile, faults=(*awake, *later_words(profile, net, schedule)))
    options = RtlOptions(pipeline=4, on_chip=tuple(i != 1 for i in range(len(layers))))
    write_tree(folder, rtl_cases.build(net, schedule, profile, options).files)
    codes = 1 << spec.act_bits
    rtl_cases.write_job(folder / "vectors", profile, net, schedule, codes, rng)
    rtl_cases.write_masks(folder / "masks", profile, np.random.default_rng(6))
    rtl_cases.write_job(folder / "few", profile, net, schedule, 5, rng)
    for item in layers[3:]:
        (folder / "few" / f"{item.name}.npz").unlink()
    benches = (
        Bench("layer_tests", (), "few"),
        Bench("layer_tests", ("--built", "--pauses", "7")),
        Bench("control_tests", ("--built",), "few"),
    )
    sites = {"FAULT_SITES": 1}
    return Suite("array", folder, "has_array", sites, ("*",), benches, dict(ARRAY_MODULES))


def awakened(fault: Fault) -> Fault:
    """A transient that fires now and then, so that every bit of its draw counts."""
    return replace(fault, p=0.4) if fault.kind == "transient" else fault


def later_words(profile: FaultProfile, net: IntegerNetwork, schedule: Schedule) -> list[Fault]:
    """Inverted bits in bank words of second passes: their address is a product of counters."""
    taken = {(fault.pe, fault.address) for fault in profile.faults}
    bases, found = array.wmem_bases(net, schedule), list[Fault]()
    for item, base in zip(net.layers[:3], bases[:3], strict=True):
        steps = profile.array.steps(item.depth)
        for pe in range(profile.array.pe):
            word = base + steps + pe % steps
            if (pe, word) not in taken:
                found.append(Fault(pe, "flip", "wmem", pe % 2, pe % 3, word))
    return found


def edges(rng: np.random.Generator) -> list[Thresholds | Shift]:
    """Thresholds of several depths in one search, and shifts up to beyond the width of v."""
    outputs: list[Thresholds | Shift] = []
    for bits, lowest in ((1, 0), (3, -4), (5, -16)):
        values = np.sort(rng.integers(-20, 21, (5, (1 << bits) - 1)), axis=1)
        values[1] = values[1, ::-1]
        values[2], values[3] = -(1 << 20), 1 << 20  # always, never
        values[4] = -(1 << 20)  # never: descending
        down = np.array([False, True, False, False, True])
        outputs.append(Thresholds(frozen(values), frozen(down, bool), lowest))
    outputs += [Shift(shift, 0, 15) for shift in (0, 1, 3)]
    outputs += [Shift(shift, -8, 7) for shift in (2, 4, 9, 40)]
    outputs += [Shift(shift, -8, 7) for shift in range(5, 18)]
    return outputs


def ramp(
    rng: np.random.Generator, spec: ArraySpec, index: int, output: Thresholds | Shift
) -> MultiplyLayer:
    """Accumulator = the activation code or its double, whatever the sign; a small bias.

    Of a long shift the bias lies a power of two from a tie, so that every bit below counts.
    """
    lowest = output.lowest if isinstance(output, Thresholds) else output.low
    bits = 4 if isinstance(output, Shift) else len(output.values[0]).bit_length()
    rows = 5 if isinstance(output, Thresholds) else 3
    weights, bias = rng.choice([1, 2, -2], (rows, 1)), rng.integers(-2, 3, rows)
    if isinstance(output, Shift) and 5 <= output.shift < spec.acc_bits:
        half = 1 << (output.shift - 1)
        bias += half * rng.choice([-3, -1, 1, 3], rows) + (1 << rng.integers(2, output.shift, rows))
    return MultiplyLayer(
        f"layer{index}", index, frozen(weights), frozen(bias), 3, spec.act_bits, True, None,
        output, bits, lowest < 0,
    )  # fmt: skip


def core_suite(folder: Path) -> Suite:
    """A core with padding, pooling and dense layers, all weights on chip."""
    rng = np.random.default_rng(7)
    spec = ArraySpec(4, 4, 4, 4, 20)
    net = core_cases.random_network(rng, spec, (5, 4, 2), [(6, 3, 1, 1)], classes=3)
    other_net = balanced(rng, core_cases.other_weights(rng, net), spec)
    schedule = core_cases.identity(net, spec)
    other = Schedule(spec, tuple(rtl_cases.random_map(rng, item, spec.pe) for item in net.layers))
    codes, healthy = core_cases.images(rng, net, 2), FaultProfile(spec)
    inside = (True,) * len(net.layers)
    plan = core_cases.build(net, schedule, healthy)
    write_tree(folder, plan.files)
    images(folder / "vectors", net, schedule, codes)
    images(folder / "vectors", other_net, other, close(rng, other_net, other, 4), "other")
    roms, built = build_roms(other_net, other, inside), build_roms(net, schedule, inside)
    core_cases.write_memories(folder / "vectors/memories.npz", roms, built, spec)
    images(folder / "modes", net, schedule, codes)
    core_cases.write_memories(folder / "modes/memories.npz", built, built, spec)
    limits = stage_cases.limits_of(plan)
    stages = [stage_cases.random_stage(rng, spec, limits, number) for number in range(4)]
    stage_cases.write_stages(folder / "modes/stages.npz", healthy, stages)
    images(folder / "many", net, schedule, core_cases.images(rng, net, 20))
    modules = sorted(path.name.split(".")[0] for path in share("rtl_templates", "core").iterdir())
    benches = (
        Bench("core_tests"),
        Bench("core_streams_tests,core_counter_tests", ("--built",)),
        Bench("core_tests", ("--built", "--pauses", "3"), "many"),
        Bench("core_protocol_tests,core_map_tests", ("--built",)),
        Bench("core_packet_tests,core_fetch_tests", ("--built",)),
        Bench("core_test_mode_tests", ("--built",), "modes"),
    )
    selected = tuple(f"*{name}*" for name in modules)
    return Suite("core", folder, "has_core", {}, selected, benches, dict(CORE_MODULES))


def balanced(rng: np.random.Generator, net: IntegerNetwork, spec: ArraySpec) -> IntegerNetwork:
    """The network with biases of the last layer that make each class as likely as any."""
    inside, some = (True,) * len(net.layers), core_cases.images(rng, net, 50)
    job = expected(net, core_cases.identity(net, spec), FaultProfile(spec), some, inside)
    last = net.layers[-1]
    middle = np.round(job[f"acc_{last.index}"].mean(axis=1)).astype(np.int64)
    return replace(net, stages=(*net.stages[:-1], replace(last, bias=frozen(-middle))))


def close(
    rng: np.random.Generator, net: IntegerNetwork, schedule: Schedule, count: int
) -> np.typing.NDArray[np.int64]:
    """Images whose two greatest logits lie closest, so that small errors change the class."""
    drawn = core_cases.images(rng, net, 100 * count)
    inside = (True,) * len(net.layers)
    job = expected(net, schedule, FaultProfile(schedule.array), drawn, inside)
    logits = np.sort(job[f"out_{len(net.layers) - 1}"], axis=0)
    return drawn[np.argsort(logits[-1] - logits[-2], kind="stable")[:count]]


def images(
    folder: Path,
    net: IntegerNetwork,
    schedule: Schedule,
    codes: np.typing.NDArray[np.int64],
    name: str = "images",
) -> None:
    """One job of the core's benches, healthy, all weights on chip."""
    folder.mkdir(exist_ok=True)
    inside = (True,) * len(net.layers)
    job = expected(net, schedule, FaultProfile(schedule.array), codes, inside)
    np.savez(folder / f"{name}.npz", allow_pickle=False, **job)


SUITES: dict[str, Callable[[Path], Suite]] = {
    "pe": pe_suite,
    "array": array_suite,
    "core": core_suite,
}
