"""The methods of `study benchmark`: what the field does about faulty PEs, in one harness.

Every method sees the calibration images alone, and takes the least passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np

from hascodesign.common import interrupt
from hascodesign.contract.array import identity_schedule
from hascodesign.contract.results import Move
from hascodesign.contract.types import FaultProfile, IntegerNetwork, Schedule, frozen
from hascodesign.engine.classes import HEALTHY
from hascodesign.engine.network import Evaluator
from hascodesign.flow.flow import Flow
from hascodesign.schedule import baselines, evolve
from hascodesign.schedule.fitting import words
from hascodesign.schedule.fitting.layer import LayerWriter
from hascodesign.schedule.fitting.network import NetworkWriter, with_layers
from hascodesign.schedule.fitting.search import MapSearch
from hascodesign.schedule.problem import Problem
from hascodesign.schedule.space import make_space

#: Evaluations of the HAS study's own algorithm: its first population and 100 generations.
STUDY_EVALUATIONS = baselines.STUDY_POPULATION * (baselines.STUDY_GENERATIONS + 1)
SEARCH = "search"  # what all others are held against


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a method makes of a network for a chip."""

    schedule: Schedule
    network: IntegerNetwork | None = None  # with rows as written; None: as trained
    evaluations: int = 0  # runs of the whole network, or parts of it, on calibration images


class Subject:
    """A network on a chip; nothing that one method learns serves another.

    Parameters
    ----------
    flow : with the chip's profile.
    bypassed : whether the array gives 0 for every faulty multiplier, and for a PE whose sum is
        faulty.
    """

    def __init__(self, flow: Flow, *, bypassed: bool = False) -> None:
        self.flow, self.seed, self.network = flow, flow.config.seed, flow.network
        self.profile = baselines.fap_profile(flow.profile) if bypassed else flow.profile

    @cached_property
    def evaluator(self) -> Evaluator:
        """On the calibration images."""
        made: Evaluator = self.flow.evaluator(
            self.flow.dataset.calibration, Evaluator, self.profile
        )
        return made

    @cached_property
    def problem(self) -> Problem:
        """In the least passes."""
        return Problem.of(self.evaluator, make_space(self.network, self.profile))

    @property
    def plain(self) -> Schedule:
        """Rows in their order."""
        return identity_schedule(self.network, self.profile.array)


def zeroed(problem: Problem, schedule: Schedule) -> IntegerNetwork:
    """The network with 0 for every word that a faulty multiplier of its slot would take.

    Fault-aware pruning without its bypass: what the fault makes of a 0 stays.

    Parameters
    ----------
    problem : the network and the array.
    schedule : where the rows stand.
    """
    layers = []
    for index, (layer, row_map) in enumerate(
        zip(problem.network.layers, schedule.layers, strict=True)
    ):
        on_array = LayerWriter(problem, index, ()).on_array
        classes, weights = on_array.classes_of(row_map), layer.weights.copy()
        for number in np.unique(classes[classes != HEALTHY]).tolist():
            slot, rows = on_array.classes[number], np.flatnonzero(classes == number)
            for simd in words.touched(slot):
                ks = on_array.order[words.struck(on_array, slot, simd), simd]
                weights[np.ix_(rows, ks)] = 0
        layers.append(replace(layer, weights=frozen(weights)))
    return with_layers(problem.network, layers)


Method = Callable[[Subject], Chosen]


def _plain(one: Subject) -> Chosen:
    return Chosen(one.plain)


def _random(one: Subject) -> Chosen:
    found, fitness = baselines.random_best(one.evaluator, STUDY_EVALUATIONS, one.seed)
    return Chosen(found, evaluations=fitness.evaluations)


def _rule(one: Subject) -> Chosen:
    return Chosen(baselines.greedy(one.network, one.profile))


def _assignment(one: Subject) -> Chosen:
    return Chosen(MapSearch(one.problem, (), one.seed).first.schedule, evaluations=1)


def _genetic(one: Subject) -> Chosen:
    found, fitness = baselines.genetic_alone(one.evaluator, STUDY_EVALUATIONS, one.seed)
    return Chosen(found, evaluations=fitness.evaluations)


def _zeroed(one: Subject) -> Chosen:
    return Chosen(one.plain, zeroed(one.problem, one.plain))


def _written(*moves: Move) -> Method:
    """Rows in their order, written by some moves."""

    def method(one: Subject) -> Chosen:
        deployed = NetworkWriter(one.problem, moves or _moves(one), one.seed).on_map(one.plain)
        return Chosen(deployed.schedule, deployed.network, 1)

    return method


def _moves(one: Subject) -> tuple[Move, ...]:
    return one.flow.config.schedule.moves


def _maps(one: Subject) -> Chosen:
    return _searched(one, ())


def _search(one: Subject) -> Chosen:
    return _searched(one, _moves(one))


def _searched(one: Subject, moves: tuple[Move, ...]) -> Chosen:
    options = replace(evolve.SearchOptions(**one.flow.config.schedule.model_dump()), moves=moves)
    found = interrupt.whole(lambda: evolve.search(one.evaluator, options, one.seed))
    return Chosen(found.schedule, found.written, found.evaluations)


#: By name, in the order they are shown: words for people, and the method.
METHODS: Mapping[str, tuple[str, Method]] = MappingProxyType(
    {
        "plain": ("plain order", _plain),
        "random": (f"best of {STUDY_EVALUATIONS:,} random maps", _random),
        "rule": ("saliency against severity, sorted (as SalvageDNN)", _rule),
        "has": (f"GA of the HAS study, {STUDY_EVALUATIONS:,} evaluations", _genetic),
        "assignment": ("assignment of rows as trained", _assignment),
        "maps": ("maps alone: assignment, GA, swaps", _maps),
        "zeroed": ("plain order, words at faulty multipliers 0 (FAP in memory)", _zeroed),
        "recalibrated": (
            "plain order, thresholds and biases refitted (as BatchNorm's recalibration)",
            _written("constant", "thresholds"),
        ),
        "words": ("plain order, words re-encoded (as FAQ)", _written("words")),
        "sign": ("plain order, signs flipped (as arXiv 2512.18459)", _written("sign")),
        "written": ("plain order, rows written by all moves", _written()),
        SEARCH: ("rows written and placed (the default search)", _search),
        "fap": ("faulty multipliers bypassed (FAP), plain order", _plain),
        "fap-assignment": ("faulty multipliers bypassed, assignment", _assignment),
    }
)
#: Methods on an array whose faulty multipliers are bypassed: hardware that the others do without.
BYPASSED = frozenset({"fap", "fap-assignment"})


def judge(flow: Flow, name: str) -> tuple[FaultProfile, Chosen]:
    """What a method makes of a flow's network and chip, and the profile that it is judged under."""
    subject = Subject(flow, bypassed=name in BYPASSED)
    return subject.profile, METHODS[name][1](subject)
