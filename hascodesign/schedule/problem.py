"""What a search passes around."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.types import FaultProfile, IntArray, IntegerNetwork
from hascodesign.engine.network import Evaluator
from hascodesign.schedule.space import Space

Progress = Callable[[str, int, int], None]  # what, done, total


def silent(_what: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A network on a faulty array, and the images that show what a map does to it."""

    network: IntegerNetwork
    profile: FaultProfile
    space: Space
    codes: NDArray[Any]  # [n, height, width, channels] input codes
    labels: IntArray  # [n]
    device: str | None = None  # of torch, as Evaluator takes it

    @classmethod
    def of(cls, evaluator: Evaluator, space: Space) -> Problem:
        """With the network, the array and the images of an evaluator."""
        return cls(
            network=evaluator.network,
            profile=evaluator.profile,
            space=space,
            codes=evaluator.codes,
            labels=evaluator.labels,
            device=evaluator.device,
        )

    def on(self, images: IntArray | slice) -> Problem:
        """The same on some of the images."""
        return replace(self, codes=self.codes[images], labels=self.labels[images])

    def evaluator(self, network: IntegerNetwork | None = None) -> Evaluator:
        """Judges schedules of the network, or of another with the same layers."""
        chosen = self.network if network is None else network
        return Evaluator(chosen, self.profile, self.codes, self.labels, device=self.device)

    def healthy(self) -> Evaluator:
        """The same without faults."""
        clean = replace(self.profile, faults=())
        return Evaluator(self.network, clean, self.codes, self.labels, device=self.device)


def some(n: int, count: int, rng: np.random.Generator) -> IntArray:
    """Places of at most ``count`` of n images, ascending."""
    return np.sort(rng.permutation(n)[:count])
