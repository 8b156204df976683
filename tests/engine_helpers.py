"""Random layers, networks, profiles and maps for the engine's tests."""

from __future__ import annotations

import numpy as np

from hascodesign.types import (
    ArraySpec,
    Conv,
    Fault,
    FaultProfile,
    InputQuant,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    RowMap,
    Schedule,
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
    passes = -(-layer.rows // pe) + spare
    slots = np.full(passes * pe, -1)
    slots[rng.permutation(passes * pe)[: layer.rows]] = rng.permutation(layer.rows)
    return RowMap(layer.name, layer.rows, frozen(slots.reshape(passes, pe)))


def random_order(rng: Rng, depth: int, simd: int) -> np.ndarray:
    steps = -(-depth // simd) + int(rng.integers(0, 3))
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
        sites = ("wmem", "weight", "act", "product", "psum")
        sites += ("acc",) if spec.dataflow == "ws" else ()
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
        at_foot = site == "acc" or (site == "psum" and spec.dataflow == "os")
        simd = None if at_foot else int(rng.integers(spec.simd))
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
