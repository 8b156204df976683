"""The written rows of one search: made, held against the best map alone, and judged."""

from __future__ import annotations

from dataclasses import dataclass

from hascodesign.contract.types import FaultProfile, IntArray, IntegerNetwork, Schedule
from hascodesign.engine.network import Evaluator as NetworkEvaluator
from hascodesign.schedule.fitting.moves import moves_of
from hascodesign.schedule.fitting.search import WrittenSearch
from hascodesign.schedule.prepare import Run
from hascodesign.schedule.protocols import Evaluator, Pictured

ALONE = (
    "Rows stay as trained: on images that no fit saw, rows written for their slots lose"
    " {written:.4f} nats and the best map alone {alone:.4f}."
)


@dataclass(frozen=True, slots=True)
class WrittenMap:
    """A map, the network written for it, and what judges the two."""

    network: IntegerNetwork  # as written
    schedule: Schedule
    evaluator: Evaluator
    selection: Evaluator | None


def on_written(
    written: IntegerNetwork,
    profile: FaultProfile,
    evaluator: Evaluator,
    selection: Evaluator | None,
) -> tuple[Evaluator, Evaluator | None]:
    """Evaluators of the network as written, on the images of those of the network as trained."""

    def other(one: Evaluator) -> Evaluator:
        if not isinstance(one, Pictured):
            raise TypeError("rows are written on images, and the evaluator must show its own")
        device = one.device if isinstance(one, NetworkEvaluator) else None
        return NetworkEvaluator(written, profile, one.codes, one.labels, device=device)

    return other(evaluator), None if selection is None else other(selection)


def write(
    run: Run,
    network: IntegerNetwork,
    profile: FaultProfile,
    images: tuple[IntArray, IntArray],
    alone: Schedule,
    seed: int,
) -> WrittenMap | None:
    """The best map with rows written for it; None where the map alone loses less.

    Parameters
    ----------
    run : what the search has gathered; told of evaluations, history and notes.
    network, profile : as trained, and checked.
    images : all calibration images' codes, and their classes.
    alone : the best map with rows as trained that is known.
    seed : of every draw.
    """
    search = WrittenSearch(network, profile, run.space, *images, moves_of(run.options.moves), seed)
    found = search.search(run.options, run.progress)
    run.fitness.evaluations += found.evaluations
    run.history.extend(found.history)
    before = search.loss(network, alone)
    if before <= found.loss:
        run.notes.append(ALONE.format(written=found.loss, alone=before))
        return None
    run.notes.append(
        f"Rows are written for their slots, fitted to {found.images} calibration images;"
        f" {found.checked} others decided what was kept."
    )
    judges = on_written(found.deployed.network, profile, run.evaluator, run.selection)
    return WrittenMap(found.deployed.network, found.deployed.schedule, *judges)
