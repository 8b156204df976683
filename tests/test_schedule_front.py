"""The front of loss, passes and power: against enumeration, its seeds, and the point it renders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from hascodesign.contract.array import identity_schedule
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.results import MOVES, FrontPoint, SearchResult
from hascodesign.contract.types import Fault, FaultProfile, Schedule
from hascodesign.engine.loss import Judgement
from hascodesign.engine.network import Evaluator
from hascodesign.schedule.evolve import search
from hascodesign.schedule.formats import check, to_json
from hascodesign.schedule.front import (
    _with_spare_passes,
    most_passes,
    pick,
    rule,
    search_front,
)
from hascodesign.schedule.individuals import FrontJudge, Individuals, PowerShares, undominated
from hascodesign.schedule.nsga import evolve_front
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.problem import Problem, silent
from hascodesign.schedule.space import make_space
from tests.schedule_stand_in import array, by_table, dense_network, on_classes, pictures

ARRAY = array()
NETWORK = dense_network([6, 3], 8, seed=1)
PROFILE = FaultProfile(
    ARRAY,
    (
        Fault(pe=1, kind="sa1", site="psum", bit=7),
        Fault(pe=2, kind="sa1", site="product", simd=1, bit=6),
    ),
)
POWER = PowerShares(0.6, 0.1, "a model")
ALL = ("accuracy", "passes", "power")
OPTIONS = SearchOptions(
    population=8, generations=6, evaluations=300, random_maps=2, objectives=ALL, allowed_points=0.0
)


def tables(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.exponential(1.0, (rows, 4)) * [0, 1, 2, 0] for rows in (6, 3)]


def found(seed: int = 1, options: SearchOptions = OPTIONS) -> SearchResult:
    return search_front(pictures(NETWORK, PROFILE, images=20), options, seed, POWER)


class Table:
    """An evaluator of a separable loss."""

    def judge_many(self, schedules: Sequence[Schedule]) -> list[Judgement]:
        losses = []
        for one in schedules:
            passes = tuple(m.passes for m in one.layers)
            space = make_space(NETWORK, PROFILE, passes=passes)
            losses += by_table(space, tables(4))([space.encode(one)])
        return [Judgement(loss, 0, 100) for loss in losses]


def least_cost(table: np.ndarray, passes: int) -> float:
    """Least separable cost of one layer in so many passes, by every choice of PEs."""
    fits = [
        table[range(len(table)), pes].sum()
        for pes in product(range(4), repeat=len(table))
        if max(np.bincount(pes)) <= passes
    ]
    return float(min(fits))


def test_the_front_of_a_separable_loss_is_the_one_by_enumeration() -> None:
    # least passes 2 and 1; two healthy PEs take all rows in 3 and 2
    assert most_passes(NETWORK, PROFILE, OPTIONS) == (3, 2)
    every = {}
    for passes in product((2, 3), (1, 2)):
        costs = [least_cost(t, n) for t, n in zip(tables(4), passes, strict=True)]
        # a pass takes ceil(8 inputs / 3 multipliers) and ceil(6 rows / 3) cycles
        cycles = (3 * passes[0] + 2 * passes[1]) / (3 * 2 + 2 * 1)
        every[passes] = (1.0 + sum(costs), float(sum(passes)), 0.6 * cycles + 0.1)
    values = np.array(list(every.values()))
    wanted = sorted(values[undominated(values)].tolist(), key=lambda v: v[1:])
    space = make_space(NETWORK, PROFILE, passes=(3, 2))
    problem = Problem.of(pictures(NETWORK, PROFILE, 5), space)
    subject = Individuals(problem, on_classes(space, tables(4)), POWER, ALL)
    judge = FrontJudge(subject, Table(), 300, None, silent)
    assert evolve_front(subject, judge, [identity_schedule(NETWORK, ARRAY)], OPTIONS, 1) == []
    values = judge.values(judge.front())
    points = sorted(values.tolist(), key=lambda v: v[1:])
    assert np.array(points) == pytest.approx(np.array(wanted))
    assert len(points) >= 3
    for individual in judge.front():
        check(subject.decode(individual), NETWORK)


def test_the_front_has_the_best_map_of_the_least_passes_and_of_the_most() -> None:
    evaluator = pictures(NETWORK, PROFILE, images=15)
    options = replace(OPTIONS, evaluations=120)
    result = search_front(evaluator, options, 3, POWER)
    assert result.front is not None
    points = result.front.points
    single = search(evaluator, replace(options, objectives=("accuracy",)), 3)
    assert points[0].passes == 3
    assert points[0].loss <= single.loss
    for a, b in product(points, points):
        if a is not b:
            no_worse = a.loss <= b.loss and a.passes <= b.passes and a.power <= b.power
            assert not no_worse
    assert result.evaluations <= 2 * 120
    assert result.schedule is result.front.picked.schedule
    assert result.loss == result.front.picked.loss


@pytest.mark.parametrize("site", ["product", "wmem"])
def test_the_points_of_a_front_have_their_rows_written(site: str) -> None:
    address = {"address": 1} if site == "wmem" else {}
    spec = array(acc_bits=24, wmem_depth=20)
    faults = tuple(Fault(pe, "sa1", site, pe % 3, 3 - pe % 2, **address) for pe in range(3))
    evaluator = pictures(NETWORK, FaultProfile(spec, faults), images=60)
    result = search_front(evaluator, replace(OPTIONS, moves=MOVES), 2, POWER)
    front = result.front
    assert front is not None
    assert any(point.written is not None for point in front.points)
    for point in front.points:
        network = point.written or NETWORK
        one = Evaluator(network, evaluator.profile, evaluator.codes, evaluator.labels)
        judged = one.judge(point.schedule)
        assert point.loss == pytest.approx(judged.loss, abs=1e-12)
        assert point.accuracy == judged.accuracy
    assert result.written is front.picked.written
    assert result.loss == front.picked.loss


def test_same_seed_same_front() -> None:
    def bytes_of(result: SearchResult) -> list[bytes]:
        assert result.front is not None
        return [to_json(result.schedule), *(to_json(p.schedule) for p in result.front.points)]

    assert bytes_of(found(5)) == bytes_of(found(5))


def point(accuracy: float, passes: int, power: float, loss: float) -> FrontPoint:
    return FrontPoint(identity_schedule(NETWORK, ARRAY), loss, accuracy, passes, power)


def test_the_point_that_is_rendered_follows_the_rule() -> None:
    points = [
        point(0.90, 3, 0.7, 0.5),
        point(0.985, 4, 0.9, 0.2),
        point(0.985, 5, 0.8, 0.1),
        point(0.99, 6, 1.0, 0.05),
    ]
    assert pick(points, 0.0, ALL) == 3
    assert pick(points, 0.5, ALL) == 1
    assert pick(points, 0.5, ("accuracy", "power", "passes")) == 2
    assert pick(points, 20.0, ALL) == 0
    assert rule(0.5, ALL) == (
        "the least passes, then the least power, then the least loss, among the points within"
        " 0.5 points of the best calibration accuracy"
    )


def test_equal_points_stand_once() -> None:
    values = np.array([[1.0, 2.0], [1.0, 2.0], [0.5, 3.0], [1.0, 3.0], [2.0, 1.0]])
    assert undominated(values) == [0, 2, 4]


def test_extra_passes_and_the_banks_bound_the_passes() -> None:
    assert most_passes(NETWORK, PROFILE, replace(OPTIONS, extra_passes=2)) == (4, 3)
    none_healthy = FaultProfile(
        ARRAY, tuple(Fault(pe=p, kind="sa1", site="psum", bit=p) for p in range(4))
    )
    assert most_passes(NETWORK, none_healthy, OPTIONS) == (4, 2)
    # 3 and 2 words a pass: the least takes 8 words
    for depth, passes in ((8, (2, 1)), (11, (3, 1)), (12, (3, 1)), (13, (3, 2))):
        banks = FaultProfile(array(wmem_depth=depth), PROFILE.faults)
        assert most_passes(NETWORK, banks, OPTIONS) == passes


def test_pes_that_are_all_alike_leave_the_least_passes_alone() -> None:
    clean = FaultProfile(ARRAY)
    result = search_front(pictures(NETWORK, clean, images=10), OPTIONS, 1, POWER)
    assert result.front is not None
    assert [p.passes for p in result.front.points] == [3]


def test_ctrl_c_gives_the_best_map_of_the_least_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FrontJudge, "values", stopped)
    result = found()
    assert result.interrupted
    assert any("Ctrl-C" in note for note in result.notes)
    check(result.schedule, NETWORK)
    assert [m.passes for m in result.schedule.layers] == [2, 1]
    assert result.front is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"objectives": ("passes",)}, "objectives must name accuracy"),
        ({"objectives": ("accuracy", "accuracy")}, "objectives must differ"),
        ({"objectives": ("accuracy", "area")}, "must be accuracy, passes or power, not area"),
        ({"allowed_points": -1.0}, "allowed_points must be in [0, 100], not -1.0"),
    ],
)
def test_objectives_out_of_range_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(OPTIONS, **change)
    assert words in str(caught.value)


# one healthy PE of four, where spare passes win a lot
CRAMPED = FaultProfile(
    ARRAY,
    tuple(Fault(pe=p, kind="flip", site="psum", bit=b) for p, b in ((0, 5), (1, 7), (3, 6))),
)
STRICT = replace(dense_network([8, 4], 5, seed=4), logit_scale=0.1)


def test_the_front_is_no_worse_than_the_assignments_it_begins_with() -> None:
    evaluator = pictures(STRICT, CRAMPED, images=40)
    most = most_passes(STRICT, CRAMPED, OPTIONS)
    maps = list(_with_spare_passes(evaluator, (), most, 1))
    # least passes 2 and 1, at most 4 and 2
    assert {sum(m.passes for m in one.layers) for one in maps} == {4, 6}
    few = replace(OPTIONS, evaluations=len(maps) + 30)
    front = search_front(evaluator, few, 1, POWER).front
    assert front is not None
    for one, judged in zip(maps, evaluator.judge_many(maps), strict=True):
        check(one, STRICT)
        passes = sum(m.passes for m in one.layers)
        assert any(p.passes <= passes and p.loss <= judged.loss for p in front.points)


def test_a_map_is_the_same_as_an_individual() -> None:
    evaluator = pictures(STRICT, CRAMPED, images=20)
    most = most_passes(STRICT, CRAMPED, OPTIONS)
    space = make_space(STRICT, CRAMPED, passes=most)
    costs = [np.zeros((layer.rows, len(layer.members))) for layer in space.layers]
    subject = Individuals(Problem.of(evaluator, space), costs, POWER, ALL)
    maps = list(_with_spare_passes(evaluator, (), most, 1))
    again = [subject.decode(subject.placed(one)) for one in maps]
    assert maps
    for one, two in zip(maps, again, strict=True):
        before, after = evaluator.judge_many([one, two])
        assert before.loss == after.loss
        assert [m.passes for m in one.layers] == [m.passes for m in two.layers]
