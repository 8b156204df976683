"""The search space: which rows meet which faults, and nothing that makes no difference.

A chromosome is one permutation per layer, end to end: the entry at a slot (pass by pass, then PE by
PE) is the row it computes, or R and above for idle. Slots of one *class* meet the same faults, so
rows may change places within a class without changing one bit of the result; the canonical
chromosome holds them in ascending order, and equal canonical chromosomes compute the same.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from hascodesign.contract.array import least_passes, site_masks
from hascodesign.contract.types import (
    ArraySpec,
    FaultProfile,
    IntArray,
    IntegerNetwork,
    RowMap,
    Schedule,
    Site,
    frozen,
)

HEALTHY = 0  # class of the slots that meet no fault


@dataclass(frozen=True, slots=True)
class LayerSpace:
    """The slots of one layer."""

    name: str
    rows: int  # R
    passes: int
    steps: int  # T, words of each weight bank that one pass takes
    start: int  # first gene of the layer in a chromosome
    classes: IntArray  # [passes*P] class of each slot; 0 meets no fault
    members: tuple[IntArray, ...]  # slots of each class, ascending
    kinds: IntArray  # [classes] 0 = healthy; classes that differ in nothing but the draws share one

    @property
    def slots(self) -> int:
        """Slots, passes*P."""
        return int(self.classes.size)

    @property
    def free(self) -> bool:
        """Whether two maps of the layer can differ in their result."""
        return sum(m.size > 0 for m in self.members) > 1

    @property
    def healthy_pes(self) -> IntArray:
        """PEs that meet no fault in any pass."""
        clean = (self.classes == HEALTHY).reshape(self.passes, -1)
        return np.flatnonzero(clean.all(axis=0))

    def genes(self, chromosome: IntArray) -> IntArray:
        """View of this layer's part of a chromosome."""
        return chromosome[..., self.start : self.start + self.slots]


@dataclass(frozen=True, slots=True)
class Space:
    """All layers' slots."""

    array: ArraySpec
    layers: tuple[LayerSpace, ...]

    @property
    def genes(self) -> int:
        """Length of a chromosome."""
        return sum(layer.slots for layer in self.layers)

    @property
    def alike(self) -> bool:
        """Whether every map computes the same."""
        return not any(layer.free for layer in self.layers)

    def canonical(self, chromosome: IntArray) -> IntArray:
        """Representative of all chromosomes that compute the same; rows ascending per class."""
        out = np.empty(self.genes, dtype=np.int64)
        for layer in self.layers:
            genes = np.minimum(layer.genes(chromosome), layer.rows)
            mine = layer.genes(out)
            for members in layer.members:
                mine[members] = np.sort(genes[members])
            idle = np.flatnonzero(mine == layer.rows)
            mine[idle] += np.arange(idle.size)
        return out

    def encode(self, schedule: Schedule) -> IntArray:
        """Canonical chromosome of a schedule with this space's passes."""
        parts = []
        for layer, row_map in zip(self.layers, schedule.layers, strict=True):
            genes = row_map.slots.reshape(-1).copy()
            genes[genes < 0] = layer.rows
            parts.append(genes)
        return self.canonical(np.concatenate(parts))

    def decode(self, chromosome: IntArray) -> Schedule:
        """Schedule of a chromosome, canonical or not."""
        return Schedule(
            self.array,
            tuple(self.layer_map(layer, layer.genes(chromosome)) for layer in self.layers),
        )

    def layer_map(self, layer: LayerSpace, genes: IntArray) -> RowMap:
        """Row map of one layer's genes."""
        slots = np.where(genes < layer.rows, genes, -1).reshape(layer.passes, self.array.pe)
        return RowMap(layer.name, layer.rows, frozen(slots))

    def identity(self) -> IntArray:
        """Chromosome of the order without scheduling; not canonical."""
        return np.concatenate([np.arange(layer.slots) for layer in self.layers])

    def random(self, rng: np.random.Generator) -> IntArray:
        """Chromosome with every layer's slots in random order; not canonical."""
        return np.concatenate([rng.permutation(layer.slots) for layer in self.layers])


def make_space(
    network: IntegerNetwork,
    profile: FaultProfile,
    extra_passes: int = 0,
    passes: Sequence[int] | None = None,
) -> Space:
    """Slots and classes of every layer on a faulty array.

    Parameters
    ----------
    network : the network.
    profile : a profile that has been checked.
    extra_passes : spare passes of every layer beyond the least.
    passes : passes of each layer, in place of the least and the spare ones.
    """
    spec = profile.array
    if passes is None:
        least = (least_passes(layer.rows, spec.pe) for layer in network.layers)
        passes = [number + extra_passes for number in least]
    shared = _pe_signatures(profile)
    layers: list[LayerSpace] = []
    start = base = 0
    for layer, count in zip(network.layers, passes, strict=True):
        steps = spec.steps(layer.depth)
        met: list[Hashable] = []  # faults of each slot
        drawn: list[Hashable] = []  # and the pass, where they are drawn anew in each
        for number in range(count):
            words = (base + number * steps, base + (number + 1) * steps)
            for pe in range(spec.pe):
                stuck, transient = _slot_signature(profile, pe, words)
                met.append((shared[pe], stuck, transient))
                drawn.append((met[-1], number if transient else 0))
        healthy = (_healthy(profile), (), ())
        classes, kinds = _number(drawn, (healthy, 0)), _number(met, healthy)
        kind_of = np.zeros(classes.max() + 1, dtype=np.int64)
        kind_of[classes] = kinds
        members = tuple(frozen(np.flatnonzero(classes == c)) for c in range(classes.max() + 1))
        layers.append(
            LayerSpace(
                layer.name,
                layer.rows,
                count,
                steps,
                start,
                frozen(classes),
                members,
                frozen(kind_of),
            )
        )
        start += count * spec.pe
        base += count * steps
    return Space(spec, tuple(layers))


def _number(signatures: Sequence[Hashable], healthy: Hashable) -> IntArray:
    """Class of each slot: 0 for healthy, then in the order of appearance."""
    numbers: dict[Hashable, int] = {healthy: HEALTHY}
    return np.array([numbers.setdefault(s, len(numbers)) for s in signatures], dtype=np.int64)


def _sites(profile: FaultProfile) -> tuple[Site, ...]:
    sites: tuple[Site, ...] = ("weight", "product", "psum")
    return (*sites, "acc") if profile.array.dataflow == "ws" else (*sites, "act")


def _pe_signatures(profile: FaultProfile) -> list[Hashable]:
    """What each PE does to a value on its permanent masks, the same in every pass.

    Masks act bit by bit, so what they make of all zeros and of all ones says everything.
    """
    spec = profile.array
    parts: list[list[Hashable]] = [[] for _ in range(spec.pe)]
    for site in _sites(profile):
        masks = site_masks(profile, site)
        zeros, ones = masks.or_ ^ masks.xor, (masks.and_ | masks.or_) ^ masks.xor
        for pe in range(spec.pe):
            parts[pe].append((zeros[pe].tobytes(), ones[pe].tobytes()))
    if spec.dataflow == "ws":
        # an activation fault is handed on: a PE meets those of all PEs before it
        masks = site_masks(profile, "act")
        low = np.zeros(spec.simd, dtype=np.int64)
        high = np.full(spec.simd, (1 << masks.bits) - 1, dtype=np.int64)
        for pe in range(spec.pe):
            low = ((low & masks.and_[pe]) | masks.or_[pe]) ^ masks.xor[pe]
            high = ((high & masks.and_[pe]) | masks.or_[pe]) ^ masks.xor[pe]
            parts[pe].append((low.tobytes(), high.tobytes()))
    return [tuple(part) for part in parts]


def _healthy(profile: FaultProfile) -> Hashable:
    clean = FaultProfile(profile.array)
    return _pe_signatures(clean)[0]


def _slot_signature(
    profile: FaultProfile, pe: int, words: tuple[int, int]
) -> tuple[Hashable, Hashable]:
    """Faults of one pass: stuck words of the weight bank, and entries that are drawn.

    In `ws` a drawn fault of the activations is handed on.
    """
    stuck, drawn = [], []
    carried = profile.array.dataflow == "ws"
    for entry, fault in enumerate(profile.faults):
        if fault.site == "wmem" and fault.pe == pe and fault.address is not None:
            in_pass = words[0] <= fault.address < words[1]
            if in_pass and fault.kind != "transient":
                stuck.append((fault.simd, fault.address - words[0], fault.bit, fault.kind))
        if fault.kind != "transient" or not fault.p:
            continue
        here = fault.pe == pe or (carried and fault.site == "act" and fault.pe < pe)
        if here and (fault.site != "wmem" or words[0] <= (fault.address or 0) < words[1]):
            drawn.append(entry)
    return tuple(sorted(stuck, key=repr)), tuple(drawn)
