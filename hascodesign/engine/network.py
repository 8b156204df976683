"""A whole network on the faulty array: its logits, its loss, its every layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.array import identity_schedule, wmem_bases
from hascodesign.engine import gemm
from hascodesign.engine.loss import Judgement, judge
from hascodesign.ops import LayerTrace, walk
from hascodesign.types import (
    FaultProfile,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    Schedule,
)


class Evaluator:
    """Judges schedules of one network on one profile, on one set of images.

    Parameters
    ----------
    network : the network.
    profile : a profile that has been checked.
    codes : [n, height, width, channels] input codes.
    labels : [n] classes.
    cache_bytes : bound on what is kept between judgements.
    """

    def __init__(
        self,
        network: IntegerNetwork,
        profile: FaultProfile,
        codes: NDArray[Any],
        labels: IntArray,
        *,
        cache_bytes: int = 512 << 20,
    ) -> None:
        self.network = network
        self.profile = profile
        self.codes = codes
        self.labels = labels
        self.cache_bytes = cache_bytes

    def judge(self, schedule: Schedule) -> Judgement:
        """Loss and correct answers of the network under a schedule."""
        return judge(self.logits(schedule), self.labels, self.network.logit_scale)

    def judge_many(self, schedules: Sequence[Schedule]) -> list[Judgement]:
        """`judge` of each."""
        return [self.judge(schedule) for schedule in schedules]

    def healthy_judgement(self) -> Judgement:
        """The same network on an array without faults."""
        healthy = Evaluator(self.network, replace(self.profile, faults=()), self.codes, self.labels)
        return healthy.judge(identity_schedule(self.network, self.profile.array))

    def logits(self, schedule: Schedule) -> IntArray:
        """[n, classes] integer logits, ACC + bias of the last layer."""
        *_, last = self.trace(schedule)
        return np.ascontiguousarray(last.codes.T)

    def trace(self, schedule: Schedule) -> Iterator[LayerTrace]:
        """Every multiply layer in turn: what it took and gave."""
        bases = wmem_bases(self.network, schedule)

        def accumulate(layer: MultiplyLayer, activations: NDArray[Any]) -> IntArray:
            row_map, base = schedule.layers[layer.index], bases[layer.index]
            return gemm.accumulate(self.profile, layer, row_map, activations, wmem_base=base)

        return walk(self.network, self.codes, accumulate)
