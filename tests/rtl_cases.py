"""Random small networks, schedules and profiles, and a literal model of the array, for the tests
of the Verilog."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hascodesign.common.files import write_tree
from hascodesign.common.shipped import share
from hascodesign.contract import arithmetic, array
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.types import (
    ArraySpec,
    Fault,
    FaultProfile,
    InputQuant,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    RowMap,
    Schedule,
    Shift,
    Site,
    Thresholds,
    frozen,
)
from hascodesign.engine import reference
from hascodesign.render.rom import build_roms, rom_files
from hascodesign.render.rtl import RtlOptions, render_rtl

SITES: tuple[Site, ...] = ("weight", "act", "product", "psum")
MASKS = (("and", "and_"), ("or", "or_"), ("xor", "xor"))
WORDS, DRAWS = 8, 4  # faulty words and transients that each PE of the bench can hold
NOWHERE = 1 << 32  # no address


def layer(
    rng: np.random.Generator,
    spec: ArraySpec,
    index: int,
    rows: int,
    depth: int,
    *,
    kind: str = "thresholds",
    in_signed: bool = False,
    out_bits: int = 4,
    out_signed: bool = False,
) -> MultiplyLayer:
    low = -(1 << (spec.weight_bits - 1)) if spec.weight_bits > 1 else -1
    weights = rng.integers(low, (1 << (spec.weight_bits - 1)), (rows, depth))
    bias = rng.integers(-300, 300, rows)
    output: Thresholds | Shift | None = None
    lowest = -(1 << (out_bits - 1)) if out_signed else 0
    if kind == "thresholds":
        levels = (1 << out_bits) - 1
        values = np.sort(rng.integers(-2000, 2000, (rows, levels)), axis=1)
        descending = rng.integers(0, 2, rows).astype(bool)
        values[descending] = values[descending, ::-1]
        output = Thresholds(frozen(values), frozen(descending, bool), lowest)
    elif kind == "shift":
        output = Shift(int(rng.integers(0, 8)), lowest, lowest + (1 << out_bits) - 1)
    return MultiplyLayer(
        name=f"layer{index}",
        index=index,
        weights=frozen(weights),
        bias=frozen(bias),
        weight_bits=spec.weight_bits,
        in_bits=spec.act_bits,
        in_signed=in_signed,
        conv=None,
        output=output,
        out_bits=0 if output is None else out_bits,
        out_signed=out_signed,
    )


def network(layers: Sequence[MultiplyLayer]) -> IntegerNetwork:
    return IntegerNetwork(
        "case", InputQuant(1.0, 8, False, 0, 255), (1, 1, layers[0].depth), tuple(layers), 1.0
    )


def random_map(rng: np.random.Generator, item: MultiplyLayer, pe: int, spare: int = 0) -> RowMap:
    """Rows anywhere, idle slots anywhere."""
    passes = array.least_passes(item.rows, pe) + spare
    slots = np.full(passes * pe, -1)
    slots[: item.rows] = np.arange(item.rows)
    return RowMap(item.name, item.rows, frozen(rng.permutation(slots).reshape(passes, pe)))


def random_profile(rng: np.random.Generator, spec: ArraySpec, count: int) -> FaultProfile:
    """Faults on distinct bits, any permanent kind and site; one PE in four dead."""
    entries: dict[tuple[object, ...], Fault] = {}
    dead = {pe for pe in range(spec.pe) if pe % 4 == 3}
    for _ in range(count):
        pe = int(rng.integers(spec.pe))
        if pe in dead:
            entries[(pe,)] = Fault(pe, "dead")
            continue
        site = SITES[rng.integers(4)]
        alone = site == "psum" and spec.dataflow == "os"
        simd = None if alone else int(rng.integers(spec.simd))
        bit = int(rng.integers(spec.site_bits(site)))
        kind = ("sa0", "sa1", "flip")[rng.integers(3)]
        entries[(pe, site, simd, bit)] = Fault(pe, kind, site, simd, bit)
    return FaultProfile(spec, tuple(entries.values()))


def any_profile(
    rng: np.random.Generator, spec: ArraySpec, count: int, words: int, slots: int = 0
) -> FaultProfile:
    """Faults of every kind on every site of the dataflow, distinct bits, one PE in eight dead.

    ``words`` are the words of each bank; with ``slots`` no PE gets more faulty words or transients
    than the registers of the bench hold.
    """
    sites = spec.sites
    entries: dict[tuple[object, ...], Fault] = {}
    dead = {pe for pe in range(spec.pe) if rng.random() < 0.125}
    for _ in range(count):
        pe, site = int(rng.integers(spec.pe)), sites[rng.integers(len(sites))]
        if pe in dead:
            entries[(pe,)] = Fault(pe, "dead")
            continue
        simd = int(rng.integers(spec.simd)) if spec.has_lane(site) else None
        address = int(rng.integers(words)) if site == "wmem" else None
        bit = int(rng.integers(spec.site_bits(site)))
        own = [fault for fault in entries.values() if fault.pe == pe]
        if slots and site == "wmem" and len({f.address for f in own} - {None}) >= 2 * slots:
            continue
        if rng.random() < 0.4:
            if slots and sum(fault.kind == "transient" for fault in own) >= slots:
                continue
            p = (0.0, 0.1, 0.5, 0.9, 1.0)[rng.integers(5)]
            high = int(rng.integers(bit, spec.site_bits(site)))
            one = Fault(pe, "transient", site, simd, bit, address, p)
            many = Fault(pe, "transient", site, simd, None, address, p, (bit, high))
            entries[(len(entries), "transient")] = one if rng.random() < 0.5 else many
            continue
        kind = ("sa0", "sa1", "flip")[rng.integers(3)]
        entries[(pe, site, simd, bit, address)] = Fault(pe, kind, site, simd, bit, address)
    return FaultProfile(spec, tuple(entries.values()), seed=int(rng.integers(1 << 32)))


def accumulate(
    profile: FaultProfile,
    item: MultiplyLayer,
    row_map: RowMap,
    activations: IntArray,
    base: int = 0,
    columns: IntArray | None = None,
) -> IntArray:
    """ACC [R, N], one wire at a time, straight from the definition of the array."""
    return reference.accumulate(
        profile, item, row_map, activations, wmem_base=base, columns=columns
    )


def activations(
    rng: np.random.Generator, spec: ArraySpec, item: MultiplyLayer, columns: int
) -> IntArray:
    low, high = 0, 1 << spec.act_bits
    if item.in_signed:
        low, high = -(high >> 1), high >> 1
    if item.depth == 1 and columns == high - low:
        return np.arange(low, high)[None]  # every code once
    return rng.integers(low, high, (item.depth, columns))


def fault_arrays(profile: FaultProfile) -> dict[str, IntArray]:
    """A profile as the bench writes it into an array built with --bench-masks."""
    spec, arrays = profile.array, {}
    sites = [*SITES, "acc"] if spec.dataflow == "ws" else SITES
    for site in sites:
        masks = array.site_masks(profile, site)
        arrays |= {f"set_{site}_{m}": getattr(masks, n) for m, n in MASKS}
    words = max((f.address for f in profile.faults if f.address is not None), default=0) + 1
    masks = array.site_masks(profile, "wmem", words)
    held = np.full((spec.pe, WORDS), NOWHERE)
    bank = {m: np.zeros((spec.pe, WORDS, spec.simd), dtype=np.int64) for m, _ in MASKS}
    for pe in range(spec.pe):
        places = np.flatnonzero(masks.active[pe].any(axis=0))
        held[pe, : len(places)] = places
        for m, n in MASKS:
            bank[m][pe, : len(places)] = getattr(masks, n)[pe][:, places].T
    arrays |= {f"set_wmem_{m}": values for m, values in bank.items()}
    arrays |= {"set_wmem_address": held, "set_seed": np.full(spec.pe, profile.seed & 0xFFFFFFFF)}
    return arrays | _draws(profile)


def _draws(profile: FaultProfile) -> dict[str, IntArray]:
    shape = (profile.array.pe, DRAWS)
    names = ("entry", "threshold", "lowest", "span", "site", "place", "address")
    draws = {name: np.zeros(shape, dtype=np.int64) for name in names}
    used = np.zeros(shape[0], dtype=np.int64)
    for entry, fault in enumerate(profile.faults):
        if fault.kind != "transient" or fault.p == 0:  # p = 0 never fires and takes no draw
            continue
        assert fault.p is not None and fault.site is not None
        low, high = reference.transient_bits(fault)
        values = (
            entry, int(fault.p * 2**32), low, high - low + 1,
            ("wmem", *SITES, "acc").index(fault.site), fault.simd or 0,
            NOWHERE if fault.address is None else fault.address,
        )  # fmt: skip
        for name, value in zip(names, values, strict=True):
            draws[name][fault.pe, used[fault.pe]] = value
        used[fault.pe] += 1
    return {f"set_draw_{name}": values for name, values in draws.items()}


def write_job(
    folder: Path,
    profile: FaultProfile,
    net: IntegerNetwork,
    schedule: Schedule,
    columns: int,
    rng: np.random.Generator,
    *,
    suffix: str = "",
    masks: bool = False,
    counters: IntArray | None = None,
) -> dict[str, tuple[IntArray, IntArray]]:
    """One npz per layer; expected (acc, codes) by file stem."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    bases = array.wmem_bases(net, schedule)
    for item, row_map, base in zip(net.layers, schedule.layers, bases, strict=True):
        acts = activations(rng, profile.array, item, columns)
        acc = accumulate(profile, item, row_map, acts, base, counters)
        sums = acc + item.bias[:, None]
        codes = sums if item.output is None else arithmetic.output_codes(item.output, sums)
        expected[item.name + suffix] = (acc, codes)
        np.savez(
            folder / f"{item.name}{suffix}.npz",
            weights=item.weights,
            activations=acts,
            act_signed=np.array(item.in_signed),
            k_order=array.k_order(item.depth, profile.array.simd),
            slots=row_map.slots,
            wmem_base=np.array(base),
            layer_index=np.array(item.index),
            columns=np.arange(columns) if counters is None else counters,
            acc=acc,
            codes=codes,
            bias=item.bias,
            **(fault_arrays(profile) if masks else {}),
        )
    return expected


def write_masks(folder: Path, profile: FaultProfile, rng: np.random.Generator) -> None:
    """The job of the bench of has_fault_masks: places, and what faults make of zeros and ones.

    By the step-by-step reference, which has no masks. The places are those of faulty words, the
    same with one bit of the address inverted, and any.
    """
    spec, count = profile.array, 40
    words = sorted({fault.address for fault in profile.faults if fault.address is not None})
    banks = [word ^ (1 << bit) for word in words for bit in range(8)] + words * 3
    banks += rng.integers(1 << 31, size=count).tolist()
    others = rng.integers(1 << 20, size=(len(banks), 4)).tolist()
    places = [[o[0], bank, o[1], o[2], o[3]] for bank, o in zip(banks, others, strict=True)]
    item = layer(rng, spec, 0, 1, spec.simd)
    held = {"places": np.array(places, np.int64)}
    for pe in range(spec.pe):
        for site in spec.sites:
            lanes = range(spec.simd) if spec.has_lane(site) else (None,)
            texts = [wires(profile, item, site, pe, tuple(lanes), place) for place in places]
            for bit in (0, 1):
                held[f"{pe}_{site}_{bit}"] = np.array([text[bit] for text in texts])
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "masks.npz", allow_pickle=False, **held)


def wires(
    profile: FaultProfile,
    item: MultiplyLayer,
    site: Site,
    pe: int,
    lanes: Sequence[int | None],
    place: Sequence[int],
) -> tuple[str, str]:
    """All wires of a site of a PE in hexadecimal, after faults have met zeros, and ones."""
    index, bank, number, column, step = place
    bits, found = profile.array.site_bits(site), [0, 0]
    order = np.zeros((1, 1), np.int64)
    columns = np.full(2, column)
    run = reference._Run(profile, item, order, columns, index, bank - number - step, columns)
    for at, lane in enumerate(lanes):
        after = run._through(site, pe, lane, np.array([0, -1]), number, step)
        for n, word in enumerate(after.tolist()):
            found[n] |= (word & ((1 << bits) - 1)) << (bits * at)
    return f"{found[0]:x}", f"{found[1]:x}"


def build(
    net: IntegerNetwork, schedule: Schedule, profile: FaultProfile, options: RtlOptions
) -> BuildPlan:
    on_chip = options.on_chip or (True,) * len(net.layers)
    roms = build_roms(net, schedule, on_chip)
    return BuildPlan(render_rtl(net, schedule, profile, options) | rom_files(roms))


def run_bench(plan: BuildPlan, work: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The layer bench by hand on ``work / "vectors"``; results lie in ``work / "results"``."""
    write_tree(work, plan.files)
    command = [sys.executable, str(share("sim", "run_bench.py"))]
    for name in ("rtl", "roms", "vectors"):
        command += [f"--{name}", str(work / name)]
    command += ["--work", str(work), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def declared(*benches: str) -> int:
    """Tests that benches of ``sim/`` have."""
    texts = (share("sim", f"{name}.py").read_text("utf-8") for name in benches)
    return sum(text.count("@cocotb.test(") for text in texts)


def passed(said: str) -> int:
    """Tests that passed, by the last summary of cocotb in a bench's output."""
    return int(re.findall(r"TESTS=\d+ PASS=(\d+)", said)[-1])
