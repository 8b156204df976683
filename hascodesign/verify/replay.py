"""Which faults columns exercise, for every site, kind and dataflow: the faulty PEs step by step.

Slower than the masks of ``coverage``, which permanent faults of an output-stationary array take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract import array
from hascodesign.contract.types import (
    BoolArray,
    Fault,
    FaultProfile,
    IntArray,
    MultiplyLayer,
    RowMap,
    Site,
)
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.reference import GOLDEN, WORD, transient_bits
from hascodesign.engine.slots import pe_faults

Entries = Sequence[tuple[int, Fault]]


@dataclass(frozen=True, slots=True)
class Replay:
    """One layer's run on some columns of the faulty array."""

    profile: FaultProfile
    layer: MultiplyLayer
    row_map: RowMap
    activations: IntArray  # X [K, N]
    base: int  # first word of the layer in every weight bank
    columns: IntArray  # [N] column counters
    order: IntArray = field(init=False)  # [T, S]

    def __post_init__(self) -> None:
        order = array.k_order(self.layer.depth, self.profile.array.simd)
        object.__setattr__(self, "order", order)

    def changed(self) -> BoolArray:
        """Whether some accumulator differs from the run without each fault, [faults, N]."""
        first = self._on_array(self.profile)
        struck = self._accumulate(first)
        rows = []
        for entry in range(len(self.profile.faults)):
            other = self._on_array(without(self.profile, entry), like=first)
            rows.append((struck != self._accumulate(other)).any(axis=0))
        return np.array(rows, dtype=np.bool_).reshape(-1, len(self.columns))

    def exercised(self) -> BoolArray:
        """Whether some value at each fault's site differs from the one without it, [faults, N]."""
        found = np.zeros((len(self.profile.faults), len(self.columns)), dtype=np.bool_)
        words = array.stored_weights(self.layer.weights, self.order, self.row_map.slots)
        starts = array.stored_preloads(array.row_preloads(self.layer), self.row_map.slots)
        acts = array.step_activations(self.activations, self.order)[None]  # [1, T, S, N]
        lanes = [acts[:, :, s] for s in range(self.profile.array.simd)]
        for pe in range(self.profile.array.pe):
            if any(fault.pe == pe for fault in self.profile.faults):
                taken = _Pe(self, pe, found).run(words[pe], starts[pe], lanes)
                if self.profile.array.dataflow == "ws":
                    lanes = taken  # the next PE takes them from this one
        return found

    def _on_array(self, profile: FaultProfile, like: LayerOnArray | None = None) -> LayerOnArray:
        return LayerOnArray(
            profile,
            pe_faults(profile),
            self.layer,
            passes=self.row_map.passes,
            base=self.base,
            layer_index=self.layer.index,
            like=like,
        )

    def _accumulate(self, on_array: LayerOnArray) -> IntArray:
        rows, classes = np.arange(self.layer.rows), on_array.classes_of(self.row_map)
        codes = (self.activations & 0xFF).astype(np.uint8)
        return on_array.accumulate(rows, classes, codes, self.columns).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Pe:
    run_of: Replay
    pe: int
    found: BoolArray  # [faults, N], written to

    def run(self, words: IntArray, starts: IntArray, fed: Sequence[IntArray]) -> list[IntArray]:
        """Activations [passes, T, N] at each multiplier; notes on the way which faults act.

        ``words`` [passes, T, S] are the stored weights, ``starts`` [passes] what the accumulator
        starts from, ``fed`` the activations on their way in.
        """
        spec, slots = self.run_of.profile.array, self.run_of.row_map.slots
        own = slots[:, self.pe] >= 0
        on: BoolArray = np.any(slots[:, self.pe :] >= 0, axis=1)
        systolic = spec.dataflow == "ws"
        acts = [
            self._meet("act", s, fed[s], on if systolic else own, self.run_of.layer.in_signed)
            for s in range(spec.simd)
        ]
        products = []
        for s in range(spec.simd):
            word = self._meet("wmem", s, words[:, :, s, None], own)
            weight = self._meet("weight", s, word, own)
            products.append(self._meet("product", s, weight * acts[s], own))
        feet = [f for f in self.run_of.profile.faults if f.pe == self.pe and f.kind != "dead"]
        if any(fault.site in ("psum", "acc") for fault in feet):
            self._sum(products, starts, own, systolic)
        return acts

    def _sum(
        self, products: Sequence[IntArray], starts: IntArray, own: BoolArray, systolic: bool
    ) -> None:
        shape = np.broadcast_shapes(*(product.shape for product in products))
        acc = np.broadcast_to(starts[:, None, None], (shape[0], 1, shape[2]))
        for step in range(shape[1]):
            parts = [product[:, step : step + 1] for product in products]
            if not systolic:
                acc = self._meet("psum", None, acc + sum(parts), own, step=step)
                continue
            q = np.zeros_like(acc)
            for s, part in enumerate(parts):
                q = self._meet("psum", s, q + part, own, step=step)
            acc = self._meet("acc", None, acc + q, own, step=step)

    def _meet(
        self,
        site: Site,
        simd: int | None,
        values: IntArray,
        read: BoolArray,
        signed: bool = True,
        step: int | None = None,
    ) -> IntArray:
        """Values [passes, T, N] after one site; T is 1 where one step is given."""
        run = self.run_of
        steps = np.arange(len(run.order)) if step is None else np.array([step])
        passes = np.arange(run.row_map.passes)[:, None, None]
        address = run.base + passes * len(run.order) + steps[:, None]
        met = values
        for entry, fault in self._entries(site, simd):
            there = np.ones_like(address, dtype=np.bool_)
            if fault.address is not None:
                there = address == fault.address
            if fault.kind == "transient":
                flips = _flips(run, entry, fault, passes, steps[:, None]) * there
            elif fault.kind == "dead":
                flips = values
            else:
                bit = np.int64(1) << (fault.bit or 0)
                free = {"sa0": values, "sa1": ~values, "flip": np.full_like(values, -1)}[fault.kind]
                flips = (bit & free) * there
            met = met ^ flips
            hits = (flips != 0) & read[:, None, None]
            self.found[entry] |= hits.any(axis=(0, 1))
        return array.wrap(met, run.profile.array.site_bits(site), signed)

    def _entries(self, site: Site, simd: int | None) -> Entries:
        return [
            (entry, fault)
            for entry, fault in enumerate(self.run_of.profile.faults)
            if fault.pe == self.pe
            and (
                (fault.site == site and fault.simd == simd)
                or (fault.kind == "dead" and site == "product")
            )
        ]


def without(profile: FaultProfile, entry: int) -> FaultProfile:
    """The profile with one fault made harmless; every other keeps its entry, so its draws."""
    fault = profile.faults[entry]
    if fault.kind == "dead":
        harmless = Fault(fault.pe, "transient", "product", 0, 0, p=0.0)
    else:
        harmless = replace(fault, kind="transient", p=0.0)
    faults = (*profile.faults[:entry], harmless, *profile.faults[entry + 1 :])
    return replace(profile, faults=faults)


def _flips(run: Replay, entry: int, fault: Fault, passes: IntArray, steps: IntArray) -> IntArray:
    """Bits that one transient inverts, [passes, T, N]."""
    if fault.p is None:
        raise ValueError("a checked profile gives every transient its p")
    golden, word = np.uint64(GOLDEN), np.uint64(WORD)
    h: NDArray[np.uint64] = np.zeros(1, dtype=np.uint64)
    for part in (run.profile.seed, run.layer.index, entry, passes, run.columns, steps):
        low = (np.asarray(part, dtype=np.int64) & WORD).astype(np.uint64)
        h = array.mix(((h ^ low) + golden) & word)
    low_bit, high_bit = transient_bits(fault)
    drawn = array.mix((h + golden) & word) * np.uint64(high_bit - low_bit + 1)
    place = low_bit + (drawn >> np.uint64(32)).astype(np.int64)
    # exact: the product of a double and a power of two
    return np.where(h < np.uint64(int(fault.p * 2**32)), np.int64(1) << place, 0)
