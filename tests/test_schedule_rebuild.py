"""Maps found layer by layer: costs that are the network's own, maps that enumeration confirms."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest

from hascodesign.contract import arithmetic
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import Fault, FaultProfile, IntArray
from hascodesign.engine.classes import HEALTHY
from hascodesign.engine.loss import MOST, SHARPNESS, cross_entropy
from hascodesign.schedule.evolve import search
from hascodesign.schedule.layer_maps import (
    AT_ONCE,
    Quadratic,
    _moves,
    least_loss,
    least_square,
    room,
    spread,
)
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.rebuild import Clean, rebuilt
from hascodesign.schedule.singles import Singles
from hascodesign.schedule.space import Space, make_space
from hascodesign.schedule.spare import budget, spread_passes
from tests.schedule_stand_in import NetworkEvaluator, array, dense_network
from tests.test_schedule_surrogate import PROFILE, conv_network

WIDE = replace(PROFILE, array=array(act_bits=8, acc_bits=20))


def drawn(space: Space, seed: int) -> IntArray:
    return space.canonical(space.random(np.random.default_rng(seed)))


def kinds_of(space: Space, index: int, chromosome: IntArray) -> IntArray:
    layer = space.layers[index]
    genes = layer.genes(chromosome)
    used = genes < layer.rows
    kinds = np.zeros(layer.rows, dtype=np.int64)
    kinds[genes[used]] = layer.kinds[layer.classes[used]]
    return kinds


NETWORKS = {
    "conv": conv_network(pool=False),
    "pooled": conv_network(pool=True),
    "dense": dense_network([9, 8, 4], 5, seed=4),  # one code a row and image: another way there
}


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_cost_is_that_of_the_next_layers_sums(index: int, name: str) -> None:
    network = NETWORKS[name]
    evaluator = NetworkEvaluator(network, WIDE, images=6)
    space = make_space(network, WIDE)
    clean = Clean(network, WIDE, space, evaluator.codes, evaluator.labels)
    chromosome = drawn(space, 3)
    step = clean.walked(chromosome, index)
    errors = clean.problem(step, 1.0).errors  # damping 1: every sum weighs the same
    assert errors is not None
    above = clean.steps[index + 1].layer
    wanted = clean.steps[index].pooled(clean.steps[index].codes)
    ratios = []
    for seed in range(4):
        kinds = kinds_of(space, index, drawn(space, seed))
        on_slots = [step.codes_on(place_of(space, index, kind)) for kind in range(errors.kinds)]
        codes = np.stack([on_slots[kind][row] for row, kind in enumerate(kinds)])
        moved = above.weights @ arithmetic.columns(above, step.pooled(codes) - wanted)
        cost = errors.pull(kinds)[np.arange(kinds.size), kinds].sum()
        ratios.append(cost / np.square(moved).sum())
    assert np.allclose(ratios, ratios[0], rtol=1e-4)
    assert ratios[0] > 0


def place_of(space: Space, index: int, kind: int) -> tuple[int, int]:
    layer = space.layers[index]
    slot = int(np.flatnonzero(layer.kinds[layer.classes] == kind)[0])
    return divmod(slot, space.array.pe)


def random_errors(rows: int, kinds: int, seed: int) -> Quadratic:
    vectors = np.random.default_rng(seed).normal(size=(kinds, rows, 12)).astype(np.float32)
    vectors[0] *= 0.05
    flat = vectors.reshape(kinds * rows, -1)
    return Quadratic(flat @ flat.T, kinds)


def cost_of(errors: Quadratic, kinds: IntArray) -> float:
    return float(errors.pull(kinds)[np.arange(kinds.size), kinds].sum())


def test_the_exchanges_that_are_kept_are_the_best_of_all() -> None:
    rows = 2 * AT_ONCE
    errors = random_errors(2 * rows, 2, 3)
    kinds = np.repeat([0, 1], rows)
    kept = _moves(errors, kinds, np.array([rows, rows]), errors.pull(kinds))
    before = cost_of(errors, kinds)
    gains = []
    for first in range(rows):
        tried = np.tile(kinds, (rows, 1))
        tried[:, first], tried[np.arange(rows), rows + np.arange(rows)] = 1, 0
        gains.append(min(cost_of(errors, one) for one in tried) - before)
    assert len(kept) == AT_ONCE
    assert [gain for gain, *_ in kept] == pytest.approx(sorted(gains)[:AT_ONCE], rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_no_move_and_no_exchange_is_better(seed: int) -> None:
    free = np.array([4, 1, 2])
    errors = random_errors(6, 3, seed)
    found = least_square(errors, free)
    assert (np.bincount(found, minlength=3) <= free).all()
    every = [
        np.array(kinds)
        for kinds in product(range(3), repeat=6)
        if (np.bincount(kinds, minlength=3) <= free).all()
    ]
    costs = sorted(cost_of(errors, kinds) for kinds in every)
    best = cost_of(errors, found)
    assert best <= costs[len(costs) // 10]
    for kinds in every:
        if (kinds != found).sum() == 1:  # one move
            assert cost_of(errors, kinds) >= best - 1e-4
    for one, two in product(range(6), repeat=2):
        swapped = found.copy()
        swapped[[one, two]] = swapped[[two, one]]
        assert cost_of(errors, swapped) >= best - 1e-4


def test_the_last_layer_is_the_best_of_all() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(3, 4, 30)) * 3.0
    logits[1:] += rng.normal(size=(2, 4, 1)) * 20.0
    labels = rng.integers(0, 4, 30)
    free = np.array([2, 1, 1])

    def loss(kinds: IntArray) -> float:
        picked = logits[kinds, np.arange(4)].T
        return float(cross_entropy(picked, labels, 1.0).mean())

    found = least_loss(logits, labels, free)
    every = [loss(np.array(kinds)) for kinds in set(permutations([0, 0, 1, 2]))]
    assert loss(found) == pytest.approx(min(every))
    assert min(every) < np.median(every)


def test_rebuilt_maps_beat_random_ones() -> None:
    network = dense_network([12, 10, 4], 6, seed=3)
    evaluator = NetworkEvaluator(network, PROFILE, images=60)
    space = make_space(network, PROFILE)
    found = list(rebuilt(network, PROFILE, space, evaluator.codes, evaluator.labels))
    assert len(found) == 2
    for one in found:
        assert (space.canonical(one) == one).all()
    losses = [j.loss for j in evaluator.judge_many([space.decode(one) for one in found])]
    randoms = evaluator.judge_many([space.decode(drawn(space, seed)) for seed in range(30)])
    assert min(losses) < np.quantile([j.loss for j in randoms], 0.1)
    again = list(rebuilt(network, PROFILE, space, evaluator.codes, evaluator.labels))
    assert all((one == two).all() for one, two in zip(found, again, strict=True))


def test_rows_are_spread_over_the_slots_of_their_kinds() -> None:
    space = make_space(dense_network([6, 3], 5, seed=1), PROFILE)
    layer = space.layers[0]
    free = room(layer)
    kinds = np.repeat(np.arange(free.size), free)[: layer.rows]
    genes = spread(layer, kinds)
    assert sorted(genes) == list(range(layer.slots))
    for slot, row in enumerate(genes):
        if row < layer.rows:
            assert layer.kinds[layer.classes[slot]] == kinds[row]


@pytest.mark.parametrize("around", [None, 5])
def test_singles_are_the_network_itself(around: int | None) -> None:
    network = dense_network([6, 5, 3], 5, seed=4)
    evaluator = NetworkEvaluator(network, PROFILE, images=20)
    space = make_space(network, PROFILE)
    chromosome = None if around is None else drawn(space, around)
    singles = Singles(network, PROFILE, space, evaluator.codes, chromosome)
    for index, layer in enumerate(space.layers):
        changes = singles.changes(index)
        assert not changes[:, HEALTHY].any()
        assert not changes[-1].any()
        if chromosome is None:
            continue
        genes = layer.genes(chromosome)
        # a row of a healthy slot and one of a faulty slot change places
        here = int(np.flatnonzero((layer.classes != HEALTHY) & (genes < layer.rows))[0])
        row, kind = int(genes[here]), int(layer.kinds[layer.classes[here]])
        kinds = kinds_of(space, index, chromosome)
        kinds[row] = HEALTHY
        without = singles.on_kinds(index, kinds).T
        usual = evaluator.logits(space.decode(chromosome)).T
        assert (usual - without == changes[row, kind]).all()


def test_the_loss_of_one_image_is_bounded() -> None:
    logits, labels = np.array([[0, 900], [2, 0], [0, 0]]), np.zeros(3, dtype=np.int64)
    losses = cross_entropy(logits, labels, 1.0)
    assert losses == pytest.approx([MOST, np.log1p(np.exp(-2.0 * SHARPNESS)), np.log(2.0)])


# ------------------------------------------------------------------------------------ spare passes


def test_spare_passes_go_where_they_help() -> None:
    # one healthy PE of four: 8 rows take 8 passes there, 4 rows 4
    network = replace(dense_network([8, 4], 5, seed=4), logit_scale=0.2 / SHARPNESS)
    faults = tuple(
        Fault(pe=p, kind="flip", site="psum", bit=b) for p, b in ((0, 5), (1, 7), (3, 6))
    )
    profile = FaultProfile(array(), faults)
    evaluator = NetworkEvaluator(network, profile, images=40)
    images = (evaluator.codes, evaluator.labels)
    assert budget(network, 4, 0.5) == 1
    assert spread_passes(network, profile, 0, *images) == (2, 1)
    # the layer of the logits wins the most by one pass, then the other
    assert spread_passes(network, profile, 1, *images) == (2, 2)
    assert spread_passes(network, profile, 2, *images) == (3, 2)
    # beyond all rows on the healthy PE there is nothing to win
    assert spread_passes(network, profile, 99, *images) == (8, 4)
    options = SearchOptions(evaluations=60, random_maps=3, spare_passes=0.4)
    result = search(network, profile, evaluator, options, seed=1)
    assert [m.passes for m in result.schedule.layers] == [2, 2]
    least = search(network, profile, evaluator, replace(options, spare_passes=0.0), seed=1)
    assert result.loss < least.loss


def test_bad_spare_passes_are_refused() -> None:
    with pytest.raises(ConfigError, match="spare_passes must be 0 or more"):
        SearchOptions(spare_passes=-0.5)


def test_a_longer_search_has_more_of_everything() -> None:
    longer = SearchOptions(evaluations=7, seconds=3.0).longer(10)
    assert (longer.evaluations, longer.seconds, longer.times) == (70, 30.0, 10)
    assert longer.generations == 10 * SearchOptions().generations
