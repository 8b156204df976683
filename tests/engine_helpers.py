"""Random layers, networks, profiles and maps for the engine's tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hascodesign.contract.array import k_order, least_passes
from hascodesign.contract.types import (
    ArraySpec,
    Conv,
    Fault,
    InputQuant,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    RowMap,
    Schedule,
    Shift,
    Thresholds,
    frozen,
)

Rng = np.random.Generator


def random_spec(rng: Rng, dataflow: str = "os") -> ArraySpec:
    return ArraySpec(
        pe=int(rng.integers(1, 6)),
        simd=int(rng.integers(1, 7)),
        weight_bits=int(rng.integers(1, 9)),
        act_bits=int(rng.integers(1, 9)),
        acc_bits=int(rng.integers(16, 33)),
        dataflow=dataflow,
    )


def random_codes(rng: Rng, shape, bits: int, signed: bool) -> np.ndarray:
    low = -(1 << (bits - 1)) if signed else 0
    return rng.integers(low, low + (1 << bits), size=shape)


def dense_layer(rng: Rng, spec: ArraySpec, rows: int, depth: int, index: int = 0) -> MultiplyLayer:
    weight_bits = int(rng.integers(1, spec.weight_bits + 1))
    return MultiplyLayer(
        name=f"layer{index}",
        index=index,
        weights=frozen(random_codes(rng, (rows, depth), weight_bits, True)),
        bias=frozen(rng.integers(-50, 50, rows)),
        weight_bits=weight_bits,
        in_bits=int(rng.integers(1, spec.act_bits + 1)),
        in_signed=bool(rng.integers(2)),
        conv=None,
        output=None,
        out_bits=0,
        out_signed=True,
    )


def random_map(rng: Rng, layer: MultiplyLayer, pe: int, spare: int = 0) -> RowMap:
    passes = least_passes(layer.rows, pe) + spare
    slots = np.full(passes * pe, -1)
    slots[rng.permutation(passes * pe)[: layer.rows]] = rng.permutation(layer.rows)
    return RowMap(layer.name, layer.rows, frozen(slots.reshape(passes, pe)))


def random_order(rng: Rng, depth: int, simd: int) -> np.ndarray:
    steps = len(k_order(depth, simd)) + int(rng.integers(0, 3))
    order = np.full(steps * simd, -1)
    order[rng.permutation(steps * simd)[:depth]] = rng.permutation(depth)
    return order.reshape(steps, simd)


def random_faults(
    rng: Rng,
    spec: ArraySpec,
    count: int,
    *,
    words: int = 4,
    kinds: tuple[str, ...] = ("sa0", "sa1", "flip", "transient", "dead"),
    sites: tuple[str, ...] | None = None,
) -> tuple[Fault, ...]:
    """Faults that break no rule of the profile: one permanent per bit, nothing beside dead."""
    if sites is None:
        sites = spec.sites
    dead: set[int] = set()
    used: set[tuple] = set()
    faults: list[Fault] = []
    for _ in range(count):
        pe, kind = int(rng.integers(spec.pe)), str(rng.choice(kinds))
        if pe in dead or (kind == "dead" and any(f.pe == pe for f in faults)):
            continue
        if kind == "dead":
            dead.add(pe)
            faults.append(Fault(pe=pe, kind="dead"))
            continue
        site = str(rng.choice(sites))
        simd = int(rng.integers(spec.simd)) if spec.has_lane(site) else None
        address = int(rng.integers(words)) if site == "wmem" else None
        bits = spec.site_bits(site)
        bit = int(rng.integers(bits))
        if kind == "transient":
            high = int(rng.integers(bit, bits))
            p = float(rng.choice([0.0, 0.1, 0.5, 1.0]))
            whole = bool(rng.integers(2))
            faults.append(
                Fault(pe, kind, site, simd, None if whole else bit, address, p)
                if not whole
                else Fault(pe, kind, site, simd, None, address, p, (bit, high))
            )
            continue
        if (pe, site, simd, address, bit) in used:
            continue
        used.add((pe, site, simd, address, bit))
        faults.append(Fault(pe, kind, site, simd, bit, address))
    return tuple(faults)


def random_output(rng: Rng, rows: int, bits: int, signed: bool, spread: int):
    """Thresholds of either slope with a constant and an unreachable one, or a shift."""
    lowest = -(1 << (bits - 1)) if signed else 0
    highest = lowest + (1 << bits) - 1
    if rng.integers(3) == 0:
        return Shift(int(rng.integers(0, 4)), lowest, highest)
    descending = rng.integers(2, size=rows).astype(bool)
    values = np.sort(rng.integers(-spread, spread + 1, (rows, highest - lowest)), axis=1)
    values[0, -1] = 1 << 34  # never
    if rows > 1:
        values[1, 0] = -(1 << 34)  # always
    values[descending] = -values[descending]
    return Thresholds(frozen(values), frozen(descending, bool), lowest)


def random_network(rng: Rng, spec: ArraySpec, image=(6, 5, 2)) -> IntegerNetwork:
    """Conv with padding and stride, pool, conv, pool, dense, dense."""
    stages: list = []
    signed, bits = bool(rng.integers(2)), int(rng.integers(2, spec.act_bits + 1))
    source = InputQuant(1.0, bits, signed, *_ends(bits, signed))
    shape = image
    convs = (((3, 2), (1, 1), (1, 0)), ((2, 2), (2, 1), (0, 1)))  # kernel, stride, padding
    pools = (((2, 2), (1, 1)), ((2, 1), (1, 2)))  # kernel, stride
    for index, rows in enumerate((5, 6, 7, 3)):
        conv = Conv(shape, *convs[index]) if index < 2 else None
        depth = int(np.prod(conv.kernel)) * shape[2] if conv else int(np.prod(shape))
        layer = dense_layer(rng, spec, rows, depth, index)
        last = index == 3
        out_signed = bool(rng.integers(2))
        out_bits = int(rng.integers(2, min(spec.act_bits, 5) + 1))
        spread = 1 << max(spec.weight_bits + bits - 3, 2)
        layer = replace(
            layer,
            conv=conv,
            in_bits=bits,
            in_signed=signed,
            output=None if last else random_output(rng, rows, out_bits, out_signed, spread),
            out_bits=0 if last else out_bits,
            out_signed=out_signed,
        )
        stages.append(layer)
        shape = (1, 1, rows) if conv is None else (*conv.out_size, rows)
        signed, bits = out_signed, out_bits
        if index < 2:
            pool = MaxPool(*pools[index], shape)
            stages.append(pool)
            shape = pool.out_shape
    return IntegerNetwork("random", source, image, tuple(stages), 0.05)


def _ends(bits: int, signed: bool) -> tuple[int, int]:
    low = -(1 << (bits - 1)) if signed else 0
    return low, low + (1 << bits) - 1


def random_inputs(rng: Rng, network: IntegerNetwork, images: int):
    shape = (images, *network.in_shape)
    codes = random_codes(rng, shape, network.input.bits, network.input.signed)
    labels = rng.integers(0, network.layers[-1].rows, images)
    return codes, labels


def random_schedule(rng: Rng, network: IntegerNetwork, spec: ArraySpec, spare: int = 0) -> Schedule:
    maps = (random_map(rng, layer, spec.pe, spare) for layer in network.layers)
    return Schedule(spec, tuple(maps))
