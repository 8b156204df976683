"""Transient draws: the same bytes however they are computed, at the rate asked for, independent."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import chi2, chi2_contingency, chisquare

from hascodesign.contract import array
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, MultiplyLayer, RowMap, frozen
from hascodesign.engine import gemm
from hascodesign.engine.reference import transient_bits

LIMIT = 1e-4  # chance that a sound draw fails one test; all draws are fixed by their seeds
PES, STEPS, COLUMNS = 8, 12, 2000


def layer(spec: ArraySpec, steps: int) -> MultiplyLayer:
    """Weights and activations are 0: what comes out is what the faults put in."""
    weights = frozen(np.zeros((spec.pe, steps * spec.simd)))
    return MultiplyLayer(
        name="layer", index=0, weights=weights, bias=frozen(np.zeros(spec.pe)), weight_bits=4,
        in_bits=8, in_signed=False, conv=None, output=None, out_bits=0, out_signed=True,
    )  # fmt: skip


def fired(seed: int, p: float, bits: tuple[int, int], steps: int = STEPS) -> np.ndarray:
    """Bit that each PE inverts at each column and step, -1 for none, [pe, column, step].

    A step's inversion is read from the sum of two runs that differ in that step only.
    """
    spec = ArraySpec(PES, 1, 4, 8, 32)
    faults = tuple(Fault(pe, "transient", "product", 0, p=p, bits=bits) for pe in range(PES))
    profile = FaultProfile(spec, faults, seed=seed)
    found = []
    for step in range(steps):
        runs = []
        for last in (step, step + 1):
            sums = np.zeros((PES, COLUMNS), dtype=np.int64)
            if last:
                item = layer(spec, last)
                row_map = RowMap("layer", PES, frozen(np.arange(PES)[None]))
                codes = np.zeros((last, COLUMNS), dtype=np.int64)
                sums = gemm.accumulate(profile, item, row_map, codes, wmem_base=0)
            runs.append(sums)
        found.append(runs[1] - runs[0])
    flips = np.stack(found, axis=-1)
    width = spec.product_bits
    flips = np.where(flips < 0, flips + (1 << width), flips)  # its highest bit is the sign
    assert ((flips & (flips - 1)) == 0).all()  # one bit at a time
    return np.where(flips == 0, -1, np.log2(np.maximum(flips, 1)).astype(np.int64))


@pytest.fixture(scope="module")
def draws() -> np.ndarray:
    return fired(seed=7, p=0.3, bits=(2, 9))


def test_the_rate_of_each_bit(draws: np.ndarray) -> None:
    """Chi-square over 'none' and every bit, of each PE; the p values together, too."""
    expected = draws[0].size * np.array([0.7, *[0.3 / 8] * 8])
    total = 0.0
    for pe in range(PES):
        counts = np.array([(draws[pe] == bit).sum() for bit in (-1, *range(2, 10))])
        assert counts.sum() == draws[pe].size
        result = chisquare(counts, expected)
        assert result.pvalue > LIMIT, (pe, counts)
        total += result.statistic
    assert LIMIT < chi2.sf(total, 8 * PES) < 1 - LIMIT  # nor better than chance


@pytest.mark.parametrize("p", [0.002, 0.05, 0.5, 0.97])
def test_the_rate_asked_for(p: float) -> None:
    hits = fired(seed=11, p=p, bits=(4, 4), steps=4) >= 0
    result = chisquare([hits.sum(), (~hits).sum()], [hits.size * p, hits.size * (1 - p)])
    assert result.pvalue > LIMIT


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_neighbours_are_independent(draws: np.ndarray, axis: int) -> None:
    """Neighbouring PEs, columns and steps: whether they fire, and which bit."""
    first = np.take(draws, range(draws.shape[axis] - 1), axis=axis)
    second = np.take(draws, range(1, draws.shape[axis]), axis=axis)
    both = np.array(
        [
            [((first >= 0) == one) & ((second >= 0) == other) for other in (False, True)]
            for one in (False, True)
        ]
    ).sum(axis=(2, 3, 4))
    assert chi2_contingency(both).pvalue > LIMIT
    hit = (first >= 0) & (second >= 0)
    table = np.zeros((8, 8))
    np.add.at(table, (first[hit] - 2, second[hit] - 2), 1)
    assert chi2_contingency(table).pvalue > LIMIT
    correlation = np.corrcoef((first >= 0).ravel(), (second >= 0).ravel())[0, 1]
    assert abs(correlation) < 4 / first.size**0.5


def test_seeds_layers_passes_and_entries_are_independent() -> None:
    spec = ArraySpec(1, 1, 4, 8, 32)
    coordinates = [(1, 0, 0, 0), (2, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1)]
    hits = []
    for seed, index, number, entry in coordinates:
        nothing = (Fault(0, "transient", "product", 0, 0, p=0.0),) * entry
        faults = (*nothing, Fault(0, "transient", "product", 0, 3, p=0.5))
        slots = np.full((number + 1, 1), -1)
        slots[number] = 0
        sums = gemm.accumulate(
            FaultProfile(spec, faults, seed=seed), layer(spec, 1),
            RowMap("layer", 1, frozen(slots)), np.zeros((1, 20_000), dtype=np.int64),
            layer_index=index, wmem_base=0,
        )  # fmt: skip
        hits.append(sums[0] != 0)
    for one in range(len(hits)):
        for other in range(one):
            assert abs(np.corrcoef(hits[one], hits[other])[0, 1]) < 4 / 20_000**0.5


def test_the_definition_by_hand() -> None:
    """One PE's draws, straight from the words of the contract."""

    def mix(x: int) -> int:
        x ^= x >> 16
        x = x * 0x7FEB352D & 0xFFFFFFFF
        x ^= x >> 15
        x = x * 0x846CA68B & 0xFFFFFFFF
        return x ^ x >> 16

    found = fired(seed=7, p=0.3, bits=(2, 9), steps=3)
    for pe, column, step in np.ndindex(PES, 40, 3):
        h = 0
        for word in (7, 0, pe, 0, column, step):
            h = mix(((h ^ word) + 0x9E3779B9) & 0xFFFFFFFF)
        bit = 2 + (mix((h + 0x9E3779B9) & 0xFFFFFFFF) * 8 >> 32)
        assert found[pe, column, step] == (bit if h < int(0.3 * 2**32) else -1)
    assert transient_bits(Fault(0, "transient", "product", 0, p=0.3, bits=(2, 9))) == (2, 9)
    assert int(array.mix(np.uint64(12345))) == mix(12345)


WORKER = """
import hashlib, sys
import numpy as np
from hascodesign.engine.network import Evaluator
from hascodesign.contract.array import identity_schedule
from tests import rtl_cases
from tests import verify_cases as cases
net = cases.network()
rng = np.random.default_rng(5)
profile = rtl_cases.any_profile(rng, cases.ARRAY, 12, 40)
assert any(fault.kind == "transient" and fault.p for fault in profile.faults)
codes = cases.input_codes(70)
labels = np.zeros(70, dtype=np.int64)
schedules = [cases.schedule(net), identity_schedule(net, cases.ARRAY)]
evaluator = Evaluator(net, profile, codes, labels)
order = schedules if sys.argv[1] == "forth" else schedules[::-1]
logits = [evaluator.logits(one) for one in order]
logits = logits if sys.argv[1] == "forth" else logits[::-1]
print(hashlib.sha256(b"".join(one.tobytes() for one in logits)).hexdigest())
"""


def test_the_same_bytes_with_one_worker_and_two_in_any_order() -> None:
    """Workers are threads; a process has as many as it begins with."""
    said = set()
    for threads, way in (("1", "forth"), ("2", "forth"), ("2", "back")):
        environment = {**os.environ, "NUMBA_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", WORKER, way],
            capture_output=True, text=True, env=environment, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said.add(done.stdout.strip())
    assert len(said) == 1
    assert len(said.pop()) == hashlib.sha256().digest_size * 2


@pytest.mark.parametrize("batch", [1, 7, 64, 130])
def test_the_same_bytes_in_any_batch(batch: int) -> None:
    """Columns carry their counters, so neither the batch nor its place in the run matters."""
    spec = ArraySpec(PES, 2, 4, 8, 24, "ws")
    faults = tuple(
        Fault(pe, "transient", "act", pe % 2, p=0.4, bits=(0, 7)) for pe in range(PES)
    )  # handed on from PE to PE
    profile = FaultProfile(spec, faults, seed=3)
    rng = np.random.default_rng(1)
    weights = frozen(rng.integers(-8, 8, (PES, 11)))
    item = layer(spec, 6)
    item = MultiplyLayer(
        **{name: getattr(item, name) for name in item.__dataclass_fields__} | {"weights": weights}
    )
    codes, row_map = rng.integers(0, 256, (11, 130)), RowMap("layer", PES, frozen([range(PES)]))
    whole = gemm.accumulate(profile, item, row_map, codes, wmem_base=0)
    order = rng.permutation(130)
    parts = np.empty_like(whole)
    for start in range(0, 130, batch):
        some = order[start : start + batch]
        parts[:, some] = gemm.accumulate(
            profile, item, row_map, codes[:, some], wmem_base=0, columns=some
        )
    np.testing.assert_array_equal(parts, whole)
    healthy = gemm.accumulate(FaultProfile(spec), item, row_map, codes, wmem_base=0)
    assert (whole != healthy).mean() > 0.5
