"""A small network on a small faulty array, for the tests of the verification."""

from __future__ import annotations

import numpy as np

from hascodesign.contract import array
from hascodesign.contract.types import (
    ArraySpec,
    Conv,
    Fault,
    FaultProfile,
    InputQuant,
    IntArray,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    RowMap,
    Schedule,
    Thresholds,
    frozen,
)

ARRAY = ArraySpec(pe=4, simd=3, weight_bits=4, act_bits=8, acc_bits=16, dataflow="os")
PROFILE = FaultProfile(
    ARRAY,
    (
        Fault(0, "sa1", "product", simd=1, bit=7),
        Fault(1, "flip", "psum", bit=4),
        Fault(2, "sa0", "weight", simd=2, bit=3),
        Fault(2, "sa1", "act", simd=0, bit=2),
        Fault(3, "dead"),
    ),
    seed=5,
)


def thresholds(rng: np.random.Generator, rows: int, spread: int) -> Thresholds:
    """Three thresholds a row, some rows descending."""
    descending = rng.integers(0, 2, rows).astype(bool)
    values = np.sort(rng.integers(-spread, spread, (rows, 3)), axis=1)
    values[descending] = values[descending, ::-1]
    return Thresholds(frozen(values), frozen(descending, np.bool_), 0)


def network(seed: int = 1) -> IntegerNetwork:
    """Convolution of 5 rows, pool, dense of 3 rows."""
    rng = np.random.default_rng(seed)
    conv = MultiplyLayer(
        name="conv",
        index=0,
        weights=frozen(rng.integers(-8, 8, (5, 18))),
        bias=frozen(rng.integers(-300, 300, 5)),
        weight_bits=4,
        in_bits=8,
        in_signed=False,
        conv=Conv((6, 6, 2), (3, 3), (1, 1), (0, 0)),
        output=thresholds(rng, 5, 4000),
        out_bits=2,
        out_signed=False,
    )
    dense = MultiplyLayer(
        name="dense",
        index=1,
        weights=frozen(rng.integers(-8, 8, (3, 20))),
        bias=frozen(rng.integers(-9, 9, 3)),
        weight_bits=4,
        in_bits=2,
        in_signed=False,
        conv=None,
        output=None,
        out_bits=0,
        out_signed=True,
    )
    pool = MaxPool((2, 2), (2, 2), (4, 4, 5))
    quant = InputQuant(1.0, 8, False, 0, 255)
    return IntegerNetwork("small", quant, (6, 6, 2), (conv, pool, dense), 1.0)


def schedule(net: IntegerNetwork) -> Schedule:
    """Rows out of order, idle slots in between."""
    conv = RowMap("conv", 5, frozen([[3, -1, 0, 4], [2, 1, -1, -1]]))
    dense = RowMap("dense", 3, frozen([[-1, 2, 1, 0]]))
    assert [layer.name for layer in net.layers] == ["conv", "dense"]
    return Schedule(ARRAY, (conv, dense))


def input_codes(images: int, seed: int = 2) -> IntArray:
    """Input codes [images, 6, 6, 2]."""
    return np.random.default_rng(seed).integers(0, 256, (images, 6, 6, 2))


def random_profile(seed: int, count: int, spec: ArraySpec = ARRAY) -> FaultProfile:
    """Permanent faults on all sites, no two on one bit, PE 3 dead."""
    rng = array.generator(seed, "random profile of a test")
    seen: set[tuple[object, ...]] = set()
    faults: list[Fault] = [Fault(3, "dead")]
    while len(faults) < count:
        site = ("wmem", "weight", "act", "product", "psum")[rng.integers(5)]
        simd = None if site == "psum" else int(rng.integers(spec.simd))
        address = int(rng.integers(19)) if site == "wmem" else None
        bit = int(rng.integers(spec.site_bits(site)))
        kind = ("sa0", "sa1", "flip")[rng.integers(3)]
        fault = Fault(int(rng.integers(3)), kind, site, simd, bit, address)
        place = (fault.pe, site, simd, bit, address)
        if place not in seen:
            seen.add(place)
            faults.append(fault)
    return FaultProfile(spec, tuple(faults))
