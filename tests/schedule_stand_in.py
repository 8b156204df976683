"""Small networks, profiles and evaluators for the tests of the search."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hascodesign.contract import arithmetic
from hascodesign.contract.array import wmem_bases
from hascodesign.contract.types import (
    ArraySpec,
    Fault,
    FaultProfile,
    InputQuant,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    Schedule,
    Thresholds,
    frozen,
)
from hascodesign.engine import reference
from hascodesign.engine.network import Evaluator
from hascodesign.schedule.fitness import Judge
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.space import Space


def dense_network(widths: Sequence[int], inputs: int, seed: int) -> IntegerNetwork:
    """Dense layers of random 4-bit weights with random thresholds."""
    rng = np.random.default_rng(seed)
    layers, depth = [], inputs
    for index, rows in enumerate(widths):
        last = index == len(widths) - 1
        thresholds = Thresholds(
            frozen(np.sort(rng.integers(-60, 60, (rows, 7)), axis=1)),
            frozen(np.zeros(rows), bool),
            0,
        )
        layers.append(
            MultiplyLayer(
                name=f"dense{index}",
                index=index,
                weights=frozen(rng.integers(-7, 8, (rows, depth))),
                bias=frozen(rng.integers(-9, 10, rows)),
                weight_bits=4,
                in_bits=3,
                in_signed=False,
                conv=None,
                output=None if last else thresholds,
                out_bits=0 if last else 3,
                out_signed=False,
            )
        )
        depth = rows
    quant = InputQuant(1.0, 3, False, 0, 7)
    return IntegerNetwork("tiny", quant, (1, 1, inputs), tuple(layers), 0.02)


def array(pe: int = 4, simd: int = 3, **changes: object) -> ArraySpec:
    fields = {"pe": pe, "simd": simd, "weight_bits": 4, "act_bits": 3, "acc_bits": 16} | changes
    return ArraySpec(**fields)


class Reference:
    """The whole network on the step-by-step engine."""

    def __init__(self, network: IntegerNetwork, profile: FaultProfile, images: int = 40) -> None:
        self.network, self.profile = network, profile
        self.codes = np.random.default_rng(99).integers(0, 8, (images, *network.in_shape))

    def logits(self, schedule: Schedule | None) -> IntArray:
        """[n, classes]; healthy without a schedule."""
        bases = None if schedule is None else wmem_bases(self.network, schedule)

        def accumulate(layer: MultiplyLayer, x: IntArray) -> IntArray:
            if schedule is None or bases is None:
                return layer.weights @ x
            row_map = schedule.layers[layer.index]
            base = bases[layer.index]
            return reference.accumulate(self.profile, layer, row_map, x, wmem_base=base)

        *_, last = arithmetic.walk(self.network, self.codes, accumulate)
        return last.codes.T


def pictures(network: IntegerNetwork, profile: FaultProfile, images: int = 40) -> Evaluator:
    """An evaluator of drawn images, each of the class that the healthy network gives it."""
    healthy = Reference(network, profile, images)
    labels = np.argmax(healthy.logits(None), axis=1)
    return Evaluator(network, profile, healthy.codes, labels)


def by_table(
    space: Space,
    tables: Sequence[np.ndarray],
    extra: Callable[[Schedule], float] = lambda _schedule: 0.0,
    interrupt_after: int | None = None,
) -> Judge:
    """A loss that is a sum of row costs [R, P] on PEs, and whatever ``extra`` adds."""
    judged = 0

    def loss(chromosome: IntArray) -> float:
        nonlocal judged
        judged += 1
        if interrupt_after is not None and judged > interrupt_after:
            raise KeyboardInterrupt
        schedule = space.decode(chromosome)
        total = 1.0 + extra(schedule)
        for table, row_map in zip(tables, schedule.layers, strict=True):
            _, pes = np.nonzero(row_map.slots >= 0)
            total += float(np.sort(table[row_map.slots[row_map.slots >= 0], pes]).sum())
        return total

    return lambda chromosomes: [loss(one) for one in chromosomes]


def on_classes(space: Space, tables: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Row costs [R, classes] of those on PEs, alike on all PEs of a class."""
    pes = [[members[0] % space.array.pe for members in layer.members] for layer in space.layers]
    return [table[:, some] for table, some in zip(tables, pes, strict=True)]


def separable(space: Space, costs: Sequence[np.ndarray], chromosome: IntArray) -> float:
    """Sum over all rows of the cost of the row on the class of its slot."""
    total = 0.0
    for layer, cost in zip(space.layers, costs, strict=True):
        genes = layer.genes(chromosome)
        used = genes < layer.rows
        total += float(np.sort(cost[genes[used], layer.classes[used]]).sum())
    return total


NETWORK = dense_network([6, 3], 5, seed=1)
ARRAY = array()
FAULTS = (
    Fault(pe=1, kind="sa1", site="psum", bit=7),
    Fault(pe=2, kind="sa1", site="product", simd=1, bit=6),
)
PROFILE = FaultProfile(ARRAY, FAULTS)
SMALL = SearchOptions(population=8, generations=6, evaluations=300, random_maps=5)


def tables(seed: int, pes: tuple[int, ...] = (1, 2)) -> list[np.ndarray]:
    """Row costs that are 0 on healthy PEs."""
    rng = np.random.default_rng(seed)
    out = []
    for layer in NETWORK.layers:
        table = np.zeros((layer.rows, ARRAY.pe))
        table[:, pes] = rng.exponential(1.0, (layer.rows, len(pes)))
        out.append(table)
    return out
