"""The search space: which rows meet which faults, and nothing that makes no difference.

A chromosome is one permutation per layer, end to end: the entry at a slot (pass by pass, then PE by
PE) is the row it computes, or R and above for idle. Slots of one *class* meet the same faults, so
rows may change places within a class without changing one bit of the result; the canonical
chromosome holds them in ascending order, and equal canonical chromosomes compute the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hascodesign.contract.array import least_passes
from hascodesign.contract.types import (
    ArraySpec,
    FaultProfile,
    IntArray,
    IntegerNetwork,
    RowMap,
    Schedule,
    frozen,
)
from hascodesign.engine.classes import HEALTHY, SlotClass, classify
from hascodesign.engine.slots import pe_faults


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

    def base(self, index: int) -> int:
        """First word of a layer in every weight bank."""
        return sum(layer.passes * layer.steps for layer in self.layers[:index])

    @property
    def passes(self) -> tuple[int, ...]:
        """Of each layer."""
        return tuple(layer.passes for layer in self.layers)

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
    faults = pe_faults(profile)
    layers: list[LayerSpace] = []
    start = base = 0
    for layer, count in zip(network.layers, passes, strict=True):
        steps = spec.steps(layer.depth)
        found, table = classify(faults, steps=steps, passes=count, base=base)
        classes = table.reshape(-1)
        members = tuple(frozen(np.flatnonzero(classes == c)) for c in range(len(found)))
        layers.append(
            LayerSpace(
                layer.name,
                layer.rows,
                count,
                steps,
                start,
                frozen(classes),
                members,
                frozen(_kinds(found)),
            )
        )
        start += count * spec.pe
        base += count * steps
    return Space(spec, tuple(layers))


def _kinds(classes: Sequence[SlotClass]) -> IntArray:
    """Number of each class's kind, in the order of appearance; the healthy one comes first."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(c.kind, len(numbers)) for c in classes], dtype=np.int64)
