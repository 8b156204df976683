"""What the search needs of the fault model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from hascodesign.contract.types import FloatArray, IntArray, Schedule

Progress = Callable[[str, int, int], None]  # what, done, total


def silent(_what: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


class Judgement(Protocol):
    """What a schedule does to the network on one set of images."""

    @property
    def loss(self) -> float:
        """Mean cross-entropy, nats."""
        ...

    @property
    def correct(self) -> int:
        """Images classified correctly."""
        ...

    @property
    def n(self) -> int:
        """Images judged."""
        ...


class Evaluator(Protocol):
    """One network on one faulty array, judged on one fixed set of images."""

    def judge_many(self, schedules: Sequence[Schedule]) -> Sequence[Judgement]:
        """Judge each schedule; the same numbers in any order and any grouping."""
        ...

    def healthy_judgement(self) -> Judgement:
        """Judge the same network on an array without faults."""
        ...


@runtime_checkable
class RowCosts(Protocol):
    """An evaluator that costs rows on PEs faster than by judging whole schedules."""

    def row_costs(self, layer_index: int) -> FloatArray:
        """Loss increase [R, P] where only that row of that layer meets that PE's faults."""
        ...


@runtime_checkable
class JudgesOnce(Protocol):
    """An evaluator that is faster where no later schedule will resemble these."""

    def judge_once(self, schedules: Sequence[Schedule]) -> Sequence[Judgement]:
        """As `Evaluator.judge_many`."""
        ...


@runtime_checkable
class Labelled(Protocol):
    """An evaluator that shows the labels it judges by."""

    @property
    def labels(self) -> IntArray:
        """Class of each image, [n]."""
        ...

    def logits(self, schedule: Schedule) -> IntArray:
        """Integer logits [n, classes]."""
        ...


@runtime_checkable
class Pictured(Labelled, Protocol):
    """An evaluator that shows the images it judges by, so that the loss can be modelled."""

    @property
    def codes(self) -> IntArray:
        """Input codes [n, height, width, channels]."""
        ...
