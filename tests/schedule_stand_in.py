"""Small networks, profiles and evaluators for the tests of the search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import log_softmax

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
from hascodesign.engine.loss import MOST, SHARPNESS
from hascodesign.schedule.options import SearchOptions


@dataclass(frozen=True)
class Judgement:
    loss: float
    correct: int
    n: int


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


class NetworkEvaluator:
    """The whole network on the step-by-step engine."""

    def __init__(self, network: IntegerNetwork, profile: FaultProfile, images: int = 40) -> None:
        rng = np.random.default_rng(99)
        self.network, self.profile = network, profile
        self.codes = rng.integers(0, 8, (images, *network.in_shape))
        self.labels: IntArray = np.argmax(self._run(None), axis=1)
        self.calls = 0

    def _run(self, schedule: Schedule | None) -> IntArray:
        bases = None if schedule is None else wmem_bases(self.network, schedule)

        def accumulate(layer: MultiplyLayer, x: IntArray) -> IntArray:
            if schedule is None or bases is None:
                return layer.weights @ x
            row_map = schedule.layers[layer.index]
            base = bases[layer.index]
            return reference.accumulate(self.profile, layer, row_map, x, wmem_base=base)

        *_, last = arithmetic.walk(self.network, self.codes, accumulate)
        return last.codes.T

    def logits(self, schedule: Schedule) -> IntArray:
        return self._run(schedule)

    def _judge(self, logits: IntArray) -> Judgement:
        self.calls += 1
        logp = log_softmax(SHARPNESS * self.network.logit_scale * logits, axis=1)
        loss = np.minimum(-logp[np.arange(len(logits)), self.labels], MOST).mean()
        correct = int((np.argmax(logits, axis=1) == self.labels).sum())
        return Judgement(float(loss), correct, len(logits))

    def judge_many(self, schedules: Sequence[Schedule]) -> list[Judgement]:
        return [self._judge(self._run(schedule)) for schedule in schedules]

    def healthy_judgement(self) -> Judgement:
        return self._judge(self._run(None))


@dataclass
class TableEvaluator:
    """A loss that is a sum of row costs on PEs, and whatever `extra` adds."""

    tables: Sequence[np.ndarray]  # per layer [R, P]
    extra: Callable[[Schedule], float] = lambda _schedule: 0.0
    interrupt_after: int | None = None
    batches: list[int] = field(default_factory=list)

    def _loss(self, schedule: Schedule) -> float:
        total = 1.0 + self.extra(schedule)
        for table, row_map in zip(self.tables, schedule.layers, strict=True):
            _, pes = np.nonzero(row_map.slots >= 0)
            total += float(np.sort(table[row_map.slots[row_map.slots >= 0], pes]).sum())
        return total

    def judge_many(self, schedules: Sequence[Schedule]) -> list[Judgement]:
        self.batches.append(len(schedules))
        if self.interrupt_after is not None and sum(self.batches) > self.interrupt_after:
            raise KeyboardInterrupt
        return [Judgement(self._loss(s), 0, 100) for s in schedules]

    def healthy_judgement(self) -> Judgement:
        return Judgement(1.0, 0, 100)


class CostedTableEvaluator(TableEvaluator):
    """The same, offering its row costs."""

    def row_costs(self, layer_index: int) -> np.ndarray:
        return self.tables[layer_index]


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
