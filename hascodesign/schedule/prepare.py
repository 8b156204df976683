"""What a search starts from: the space, the loss model, the costs, the assignment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from hascodesign.contract.array import generator
from hascodesign.contract.types import FaultProfile, FloatArray, IntArray, IntegerNetwork
from hascodesign.engine.network import Evaluator as NetworkEvaluator
from hascodesign.schedule.assign import Assignment, assign
from hascodesign.schedule.baselines import rule_costs
from hascodesign.schedule.cost import plain_costs, row_costs
from hascodesign.schedule.fitness import Fitness, by_network
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.protocols import Evaluator, Labelled, Pictured, Progress, RowCosts, silent
from hascodesign.schedule.rebuild import rebuilt
from hascodesign.schedule.space import Space, make_space
from hascodesign.schedule.spare import budget, spread_passes
from hascodesign.schedule.surrogate import LogitModel, make_model, pairs_of

EXACT_PAIRS = 512  # rows times classes up to which every cost is evaluated exactly
MOST_PAIRS = 100_000  # rows times kinds of slots up to which each is costed at all
# multiply-accumulates of the network that a search may take where no limit is set; most rows are
# kept from one evaluation to the next, so that far fewer are done
WORK = 4e12
FEWEST, MOST = 64, 600  # evaluations
IMAGE_WORK = 5e9  # multiply-accumulates of one evaluation, above which fewer images are judged
FEWEST_SEARCHED = 256  # images
COSTED = 192  # images that cost rows as trained where the rows will be written anew
BY_RULE = (
    "Too many kinds of slots to cost each row on each: assignment, bound and gap follow "
    "saliency times severity and are not in nats."
)


@dataclass(slots=True)
class Run:
    """What one search gathers on its way."""

    space: Space
    evaluator: Evaluator
    selection: Evaluator | None
    options: SearchOptions
    fitness: Fitness
    costs: Sequence[FloatArray]
    assigned: Assignment  # by the costs; the bound
    best_assignment: IntArray  # canonical; this or that by the loss of the plain logits
    model: LogitModel | None
    model_around: Callable[[IntArray | None], LogitModel | None]
    rebuilt: Callable[[], Iterator[IntArray]]  # maps found layer by layer, the best first
    history: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False  # by Ctrl-C
    progress: Progress = silent


def prepare(
    network: IntegerNetwork,
    profile: FaultProfile,
    evaluator: Evaluator,
    options: SearchOptions | None,
    progress: Progress,
    selection: Evaluator | None,
    passes: tuple[int, ...] | None = None,
) -> Run:
    """Space, model, costs and assignment, before the search; see `evolve.search`."""
    options = SearchOptions() if options is None else options
    if passes is None and options.spare_passes and isinstance(evaluator, Pictured):
        spare = budget(network, profile.array.pe, options.spare_passes)
        images = (evaluator.codes, evaluator.labels)
        passes = spread_passes(network, profile, spare, *images)
    space = make_space(network, profile, options.extra_passes, passes)
    costing = _few(network, profile, evaluator) if options.moves else evaluator
    limit = options.evaluations or options.times * affordable(network, evaluator)
    fitness = Fitness(space, by_network(space, evaluator), limit, options.seconds, progress)

    def model_around(chromosome: IntArray | None) -> LogitModel | None:
        wanted = options.model and not space.alike and pairs_of(space) <= MOST_PAIRS
        if not (wanted and isinstance(costing, Pictured)):
            return None
        images = (costing.codes, costing.labels)
        return make_model(network, profile, space, *images, chromosome, progress)

    def maps() -> Iterator[IntArray]:
        if options.model and isinstance(evaluator, Pictured):
            yield from rebuilt(network, profile, space, evaluator.codes, evaluator.labels)

    model: LogitModel | None = None
    notes: list[str] = []
    if pairs_of(space) > MOST_PAIRS:
        costs = rule_costs(network, profile, space)
        notes.append(BY_RULE)
    else:
        if not (isinstance(costing, RowCosts) and slot_pairs(space) <= EXACT_PAIRS):
            model = model_around(None)
        costs = costs_of(space, costing, model, progress)
    assigned = assign(space, costs)
    best_assignment = _best_assignment(space, costing, model, assigned)
    return Run(
        space,
        evaluator,
        selection,
        options,
        fitness,
        costs,
        assigned,
        best_assignment,
        model,
        model_around,
        maps,
        notes=notes,
        progress=progress,
    )


def _few(network: IntegerNetwork, profile: FaultProfile, evaluator: Evaluator) -> Evaluator:
    """The evaluator on its first images: what written rows need of the costs of trained ones."""
    if not isinstance(evaluator, NetworkEvaluator):
        return evaluator
    images = (evaluator.codes[:COSTED], evaluator.labels[:COSTED])
    return NetworkEvaluator(network, profile, *images, device=evaluator.device)


def split(
    network: IntegerNetwork, profile: FaultProfile, evaluator: Evaluator, seed: int
) -> tuple[Evaluator, Evaluator | None, list[str]]:
    """Fewer images to search on, and as many others to choose on, where all are too much work.

    Returns
    -------
    evaluator, selection, notes
        The evaluator given, None and no note where all images can be afforded.
    """
    if not isinstance(evaluator, Pictured):
        return evaluator, None, []
    n = len(evaluator.labels)
    some = max(FEWEST_SEARCHED, int(IMAGE_WORK / network.macs))
    if 2 * some >= n:
        return evaluator, None, []
    order = generator(seed, "schedule images").permutation(n)
    codes, labels = evaluator.codes, evaluator.labels
    device = evaluator.device if isinstance(evaluator, NetworkEvaluator) else None
    first, second = (
        NetworkEvaluator(network, profile, codes[part], labels[part], device=device)
        for part in (np.sort(order[:some]), np.sort(order[some : 2 * some]))
    )
    note = f"Searched on {some} of {n} calibration images; {some} others chose the winner."
    return first, second, [note]


def affordable(network: IntegerNetwork, evaluator: Evaluator) -> int:
    """Evaluations that suit about half a minute on two cores; the same on every machine."""
    images = len(evaluator.labels) if isinstance(evaluator, Labelled) else 1
    return int(min(MOST, max(FEWEST, WORK / (network.macs * images))))


def costs_of(
    space: Space, evaluator: Evaluator, model: LogitModel | None, progress: Progress
) -> list[FloatArray]:
    """Row costs: 0 where all maps compute the same, modelled where there is a model, else exact."""
    if space.alike:
        return [np.zeros((layer.rows, len(layer.members))) for layer in space.layers]
    return row_costs(space, evaluator, progress) if model is None else model.costs()


def _best_assignment(
    space: Space,
    evaluator: Evaluator,
    model: LogitModel | None,
    assigned: Assignment,
) -> IntArray:
    """The assignment by the costs, or by those of the plain logits where that loses less.

    By the search's sharper loss the fault of one row alone costs next to nothing, however large it
    is: the plain logits still tell which rows take less harm.
    """
    if space.alike:
        return assigned.chromosome
    if model is not None:
        costs = model.costs(sharpness=1.0)
    elif isinstance(evaluator, NetworkEvaluator) and slot_pairs(space) <= EXACT_PAIRS:
        costs = plain_costs(space, evaluator)
    else:
        return assigned.chromosome
    both = (assigned.chromosome, assign(space, costs).chromosome)
    if np.array_equal(both[0], both[1]):
        return assigned.chromosome
    judged = evaluator.judge_many([space.decode(one) for one in both])
    return both[int(np.argmin([one.loss for one in judged]))]


def slot_pairs(space: Space) -> int:
    """Pairs of a row and a class of slots with faults, over all layers."""
    return sum(layer.rows * (len(layer.members) - 1) for layer in space.layers)
