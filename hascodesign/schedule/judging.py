"""Schedules judged on one or both parts of the calibration data, and how sure the win is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hascodesign.contract.types import FloatArray, IntegerNetwork, Schedule
from hascodesign.engine.loss import cross_entropy
from hascodesign.schedule.protocols import Evaluator, Judgement, JudgesOnce, Labelled

NORMAL_95 = 1.959963984540054  # two-sided 95 % point of the normal distribution


@dataclass(frozen=True, slots=True)
class Judged:
    """A schedule and what it does to the network."""

    schedule: Schedule
    searched: float  # loss on the images that the search sees, nats
    loss: float  # mean loss over these and the selection images, nats
    accuracy: float  # over both, 0..1


def judge_both(
    evaluator: Evaluator,
    selection: Evaluator | None,
    schedules: Sequence[Schedule],
    *,
    once: bool = False,
) -> list[Judged]:
    """Judge each schedule on the search images and, where there are any, the selection images.

    ``once``: no later schedule will resemble these.
    """
    judge = _once if once else _many
    first = judge(evaluator, schedules)
    second = [] if selection is None else judge(selection, schedules)
    out = []
    for index, schedule in enumerate(schedules):
        parts = [first[index], *second[index : index + 1]]
        n = sum(part.n for part in parts)
        # one part stays the very number that the search compared
        loss = sum(p.loss * p.n for p in parts) / n if len(parts) > 1 else parts[0].loss
        out.append(Judged(schedule, parts[0].loss, loss, sum(p.correct for p in parts) / n))
    return out


def _many(evaluator: Evaluator, schedules: Sequence[Schedule]) -> Sequence[Judgement]:
    return evaluator.judge_many(schedules)


def _once(evaluator: Evaluator, schedules: Sequence[Schedule]) -> Sequence[Judgement]:
    if isinstance(evaluator, JudgesOnce):
        return evaluator.judge_once(schedules)
    return evaluator.judge_many(schedules)


def healthy_loss(evaluator: Evaluator, selection: Evaluator | None) -> float:
    """Mean loss over both parts on an array without faults, nats."""
    parts = [one.healthy_judgement() for one in (evaluator, selection) if one is not None]
    return sum(part.loss * part.n for part in parts) / sum(part.n for part in parts)


def image_losses(network: IntegerNetwork, evaluator: Labelled, schedule: Schedule) -> FloatArray:
    """Cross-entropy of each image, [n], nats, bounded as the engine bounds it."""
    return cross_entropy(evaluator.logits(schedule), evaluator.labels, network.logit_scale)


def win_note(
    network: IntegerNetwork,
    evaluators: Sequence[object],
    plain: Schedule,
    chosen: Schedule,
    judges: Sequence[object] | None = None,
) -> list[str]:
    """One sentence where the win over the plain order is not above its own noise, else none.

    The noise is the 95 % normal interval of the mean paired difference of the images' losses.
    ``judges`` judge the chosen schedule where its rows are not those of ``evaluators``.
    """
    parts = [
        image_losses(network, labelled, plain) - image_losses(network, other, chosen)
        for labelled, other in zip(evaluators, judges or evaluators, strict=True)
        if isinstance(labelled, Labelled) and isinstance(other, Labelled)
    ]
    won = np.concatenate(parts) if parts else np.zeros(0)
    if won.size < 2:
        return []
    margin = NORMAL_95 * float(won.std(ddof=1)) / won.size**0.5
    if won.mean() > margin:
        return []
    return [
        f"The schedule wins {won.mean():.4f} nats over the plain order on {won.size} calibration "
        f"images, which is within its noise of {margin:.4f} nats."
    ]
