"""The baselines: what each is by its own definition, and how many evaluations it takes."""

from __future__ import annotations

import numpy as np
import pytest

from hascodesign.contract.array import site_masks
from hascodesign.contract.types import Fault, FaultProfile
from hascodesign.engine.network import Evaluator
from hascodesign.schedule.baselines import (
    fap_profile,
    genetic_alone,
    greedy,
    random_best,
    severity,
)
from hascodesign.schedule.evolve import judge_given, search
from hascodesign.schedule.formats import check, to_json
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.space import make_space
from tests.schedule_stand_in import array, dense_network, pictures

NETWORK = dense_network([7, 5], 5, seed=2)
ARRAY = array()
PROFILE = FaultProfile(
    ARRAY,
    (
        Fault(pe=1, kind="sa1", site="psum", bit=7),
        Fault(pe=2, kind="sa1", site="product", simd=1, bit=3),
    ),
)


def evaluator(images: int = 30) -> Evaluator:
    return pictures(NETWORK, PROFILE, images)


def test_random_best_is_the_best_of_that_many_distinct_maps() -> None:
    judge = evaluator()
    schedule, fitness = random_best(judge, 50, seed=3)
    check(schedule, NETWORK)
    assert fitness.evaluations == len(fitness.known) == 50
    assert judge.judge_many([schedule])[0].loss == min(c.loss for c in fitness.known)
    more, _ = random_best(judge, 200, seed=3)
    assert judge.judge_many([more])[0].loss <= judge.judge_many([schedule])[0].loss


def test_random_best_ends_where_every_map_is_known() -> None:
    small = dense_network([2], 5, seed=2)
    one = FaultProfile(ARRAY, (Fault(pe=0, kind="dead"),))
    _, fitness = random_best(pictures(small, one, images=5), 100, seed=3)
    assert fitness.evaluations == 3  # PE 0 takes row 0, row 1 or none


def test_genetic_alone_keeps_to_its_evaluations_and_beats_chance() -> None:
    judge = evaluator(4)
    schedule, fitness = genetic_alone(judge, 300, seed=1, generations=30)
    check(schedule, NETWORK)
    assert fitness.evaluations <= 300
    assert len(fitness.known) == fitness.evaluations
    rng = np.random.default_rng(0)
    space = make_space(NETWORK, PROFILE)
    chance = judge.judge_many([space.decode(space.random(rng)) for _ in range(50)])
    assert judge.judge_many([schedule])[0].loss <= min(j.loss for j in chance)
    again, _ = genetic_alone(judge, 300, seed=1, generations=30)
    assert to_json(again) == to_json(schedule)


def test_greedy_puts_the_least_salient_rows_on_the_most_severe_pes() -> None:
    faults = FaultProfile(
        ARRAY,
        (
            Fault(pe=0, kind="sa1", site="product", simd=1, bit=1),
            Fault(pe=3, kind="sa1", site="psum", bit=12),
        ),
    )
    schedule = greedy(NETWORK, faults)
    check(schedule, NETWORK)
    first, second = NETWORK.layers
    by_size = np.argsort(np.abs(first.weights).sum(axis=1), kind="stable")
    # 7 rows in 8 slots: the idle one and the least row on PE 3, the next two on PE 0
    assert set(schedule.layers[0].slots[:, 3].tolist()) == {-1, int(by_size[0])}
    assert set(schedule.layers[0].slots[:, 0].tolist()) == set(by_size[1:3].tolist())
    # 5 rows in 8 slots: three idle slots, so PE 3 has none and PE 0 the least row
    assert set(schedule.layers[1].slots[:, 3].tolist()) == {-1}
    least = int(np.argsort(np.abs(second.weights).sum(axis=1), kind="stable")[0])
    assert set(schedule.layers[1].slots[:, 0].tolist()) == {-1, least}


@pytest.mark.parametrize(
    ("fault", "size"),
    [
        (Fault(pe=1, kind="sa1", site="product", simd=0, bit=5), 32 * 6),
        (Fault(pe=1, kind="sa1", site="psum", bit=4), 16 * 6),
        (Fault(pe=1, kind="sa0", site="weight", simd=0, bit=2), 4 * 4 * 6),
        (Fault(pe=1, kind="sa0", site="act", simd=0, bit=2), 4 * 8 * 6),
        (Fault(pe=1, kind="sa0", site="wmem", simd=0, bit=2, address=0), 4 * 4),
        (Fault(pe=1, kind="transient", site="psum", bits=(2, 3), p=0.5), 6 * 6 * 0.5),
        (Fault(pe=1, kind="dead"), 6 * 3 * 2**5),
    ],
)
def test_severity_in_units_of_the_accumulator(fault: Fault, size: float) -> None:
    assert severity(FaultProfile(ARRAY, (fault,)), steps=6).tolist() == [0.0, size, 0.0, 0.0]


def test_fap_zeroes_faulty_multipliers_and_silences_pes_with_faulty_sums() -> None:
    faults = FaultProfile(
        ARRAY,
        (
            Fault(pe=0, kind="sa1", site="weight", simd=2, bit=1),
            Fault(pe=0, kind="sa1", site="act", simd=2, bit=1),
            Fault(pe=1, kind="sa1", site="psum", bit=7),
            Fault(pe=1, kind="sa1", site="product", simd=1, bit=3),
            Fault(pe=3, kind="dead"),
        ),
        source="here",
    )
    bypassed = fap_profile(faults)
    assert bypassed.source == "bypassed (FAP): here"
    masks = site_masks(bypassed, "product")
    zero = (masks.and_ == 0) & (masks.or_ == 0) & (masks.xor == 0)
    assert zero.tolist() == [[False, False, True], [True] * 3, [False] * 3, [True] * 3]
    assert np.array_equal(masks.active, zero)
    for site in ("weight", "act", "psum"):
        assert not site_masks(bypassed, site).active.any()
    # one permanent entry per bit, and none beside `dead`
    places = [(f.pe, f.simd, f.bit) for f in bypassed.faults]
    assert len(set(places)) == len(places) == 8 + 2


def test_a_given_schedule_is_judged_and_not_searched() -> None:
    judge = evaluator(20)
    options = SearchOptions(random_maps=3)
    schedule = greedy(NETWORK, PROFILE)
    result = judge_given(judge, options, 1, schedule)
    assert result.schedule is schedule
    assert result.algorithm == "given"
    assert result.evaluations == 1
    assert result.loss == judge.judge_many([schedule])[0].loss
    assert [b.name for b in result.baselines][:2] == ["identity", "random_00"]
    assert result.history == ()


def test_a_given_schedule_may_have_passes_of_its_own() -> None:
    judge = evaluator()
    options = SearchOptions(population=8, generations=5, random_maps=3, extra_passes=1)
    spare = search(judge, options, seed=2)
    result = judge_given(judge, SearchOptions(random_maps=3), 2, spare.schedule)
    assert result.loss == spare.loss
    assert [m.passes for m in result.baselines[1].schedule.layers] == [3, 3]
    assert [b.loss for b in result.baselines] == [b.loss for b in spare.baselines]
