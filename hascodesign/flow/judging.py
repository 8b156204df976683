"""Every accuracy that the flow reports, and the share of faults that stay without effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hascodesign.common import stats
from hascodesign.contract import arithmetic
from hascodesign.contract import array as arrays
from hascodesign.contract.results import Accuracy, Masking, SearchResult
from hascodesign.contract.types import (
    ArraySpec,
    FaultProfile,
    IntegerNetwork,
    Schedule,
)

if TYPE_CHECKING:
    from hascodesign.engine.network import Evaluator

MOST_FAULTS = 200  # whose effect is looked at
MOST_IMAGES = 256  # that it is looked at on


def accuracies(
    evaluator_of: Callable[[IntegerNetwork | None], Evaluator],
    network: IntegerNetwork,
    spec: ArraySpec,
    search: SearchResult,
    brevitas_correct: int,
    n: int,
) -> dict[str, Accuracy]:
    """Accuracy by name: healthy, and faulty under the search's schedule and each of its baselines.

    Parameters
    ----------
    evaluator_of : of the held-out images under the profile, the network as trained (None) or as
        written for some schedule.
    network : the integer network.
    spec : the profile's array.
    search : its schedule, baselines and front are judged.
    brevitas_correct : of ``n`` images, those that the float model classifies correctly.
    n : held-out images.
    """
    named = {b.name: b for b in search.baselines}
    randoms = [b for name, b in named.items() if name.startswith("random_")]
    chosen = {
        "faulty_identity": arrays.identity_schedule(network, spec),
        "faulty_random_best": min(randoms, key=lambda b: b.loss).schedule,
        "assignment": named["assignment"].schedule,
    }
    points = () if search.front is None else search.front.points
    evaluator = evaluator_of(None)
    judged = evaluator.judge_many([*chosen.values(), *(b.schedule for b in randoms)])
    correct = [j.correct for j in judged]
    scheduled = evaluator_of(search.written).judge(search.schedule).correct
    result = {
        "brevitas": stats.accuracy(brevitas_correct, n),
        "integer": stats.accuracy(evaluator.healthy_judgement().correct, n),
    }
    result |= {name: stats.accuracy(count, n) for name, count in zip(chosen, correct, strict=False)}
    for number, point in enumerate(points):
        count = evaluator_of(point.written).judge(point.schedule).correct
        result[f"front_{number:02d}"] = stats.accuracy(count, n)
    result["scheduled"] = stats.accuracy(scheduled, n)
    result["faulty_random_mean"] = stats.mean_accuracy(correct[len(chosen) :], n)
    return result


def masking(
    network: IntegerNetwork,
    profile: FaultProfile,
    schedule: Schedule,
    images: NDArray[np.float32],
    seed: int,
) -> Masking:
    """Faults of a profile that are without effect on a schedule, on calibration images.

    Parameters
    ----------
    images : [n, channels, height, width]; the first ``MOST_IMAGES`` judge.
    seed : of more than ``MOST_FAULTS`` faults so many are drawn evenly.
    """
    from hascodesign.engine.masked import masked  # noqa: PLC0415  (numba compiles)

    total = len(profile.faults)
    entries = np.arange(total)
    if total > MOST_FAULTS:
        rng = arrays.generator(seed, "masked")
        entries = np.sort(rng.permutation(total)[:MOST_FAULTS])
    judged = images[:MOST_IMAGES]
    codes = arithmetic.quantise(judged, network.input)
    silent, kept = masked(network, profile, schedule, codes, entries.tolist())
    return Masking(total, len(entries), len(judged), silent, kept)
