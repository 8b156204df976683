"""Every accuracy that the flow reports, from one evaluator of held-out images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hascodesign.common import stats
from hascodesign.contract import array as arrays
from hascodesign.contract.results import Accuracy, SearchResult
from hascodesign.contract.types import ArraySpec, IntegerNetwork

if TYPE_CHECKING:
    from hascodesign.engine.network import Evaluator


def accuracies(
    evaluator: Evaluator,
    network: IntegerNetwork,
    spec: ArraySpec,
    search: SearchResult,
    brevitas_correct: int,
    n: int,
) -> dict[str, Accuracy]:
    """Accuracy by name: healthy, and faulty under the search's schedule and each of its baselines.

    Parameters
    ----------
    evaluator : of the held-out images under the profile.
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
        "scheduled": search.schedule,
    }
    points = () if search.front is None else search.front.points
    chosen |= {f"front_{number:02d}": point.schedule for number, point in enumerate(points)}
    judged = evaluator.judge_many([*chosen.values(), *(b.schedule for b in randoms)])
    correct = [j.correct for j in judged]
    result = {
        "brevitas": stats.accuracy(brevitas_correct, n),
        "integer": stats.accuracy(evaluator.healthy_judgement().correct, n),
    }
    result |= {name: stats.accuracy(count, n) for name, count in zip(chosen, correct, strict=False)}
    result["faulty_random_mean"] = stats.mean_accuracy(correct[len(chosen) :], n)
    return result
