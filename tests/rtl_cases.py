"""Random small networks, schedules and profiles, and a literal model of the array, for the tests
of the Verilog."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hascodesign import array, ops
from hascodesign.files import write_tree
from hascodesign.render.rom import build_roms, rom_files
from hascodesign.render.rtl import RtlOptions, render_rtl
from hascodesign.resources import share
from hascodesign.types import (
    ArraySpec,
    BuildPlan,
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

SITES: tuple[Site, ...] = ("weight", "act", "product", "psum")


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
        simd = None if site == "psum" else int(rng.integers(spec.simd))
        bit = int(rng.integers(spec.site_bits(site)))
        kind = ("sa0", "sa1", "flip")[rng.integers(3)]
        entries[(pe, site, simd, bit)] = Fault(pe, kind, site, simd, bit)
    return FaultProfile(spec, tuple(entries.values()))


def accumulate(
    profile: FaultProfile, item: MultiplyLayer, row_map: RowMap, activations: IntArray
) -> IntArray:
    """ACC [R, N], one wire at a time, straight from the definition of the array."""
    spec = profile.array
    order = array.k_order(item.depth, spec.simd)
    masks = {s: array.site_masks(profile, s) for s in SITES}

    def met(site: str, where: tuple[int, ...], value: int, signed: bool = True) -> int:
        m = masks[site]
        word = ((value & int(m.and_[where])) | int(m.or_[where])) ^ int(m.xor[where])
        word &= (1 << m.bits) - 1
        return word - (1 << m.bits) if signed and word >> (m.bits - 1) else word

    out = np.zeros((item.rows, activations.shape[1]), dtype=np.int64)
    for slots in row_map.slots.tolist():
        for pe, row in enumerate(slots):
            if row < 0:
                continue
            for column in range(activations.shape[1]):
                acc = 0
                for step in order.tolist():
                    total = 0
                    for s, k in enumerate(step):
                        w = 0 if k < 0 else int(item.weights[row, k])
                        a = 0 if k < 0 else int(activations[k, column])
                        w = met("weight", (pe, s), w)
                        a = met("act", (pe, s), a, item.in_signed)
                        total += met("product", (pe, s), w * a)
                    acc = met("psum", (pe,), acc + total)
                out[row, column] = acc
    return out


def activations(
    rng: np.random.Generator, spec: ArraySpec, item: MultiplyLayer, columns: int
) -> IntArray:
    low, high = 0, 1 << spec.act_bits
    if item.in_signed:
        low, high = -(high >> 1), high >> 1
    if item.depth == 1 and columns == high - low:
        return np.arange(low, high)[None]  # every code once
    return rng.integers(low, high, (item.depth, columns))


def mask_arrays(profile: FaultProfile) -> dict[str, IntArray]:
    """Masks as the bench writes them into an array built with --bench-masks."""
    arrays = {}
    for site in SITES:
        masks = array.site_masks(profile, site)
        arrays |= {f"{site}_and": masks.and_, f"{site}_or": masks.or_, f"{site}_xor": masks.xor}
    return arrays


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
) -> dict[str, tuple[IntArray, IntArray]]:
    """One npz per layer; expected (acc, codes) by file stem."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    bases = array.wmem_bases(net, schedule)
    for item, row_map, base in zip(net.layers, schedule.layers, bases, strict=True):
        acts = activations(rng, profile.array, item, columns)
        acc = accumulate(profile, item, row_map, acts)
        sums = acc + item.bias[:, None]
        codes = sums if item.output is None else ops.output_codes(item.output, sums)
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
            columns=np.arange(columns),
            acc=acc,
            codes=codes,
            bias=item.bias,
            **(mask_arrays(profile) if masks else {}),
        )
    return expected


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
