"""What ends a search early or leaves it nothing to win, and the sentence that says so."""

from __future__ import annotations

import numpy as np
import pytest

from hascodesign.contract.types import FaultProfile
from hascodesign.schedule.evolve import ALIKE, search
from hascodesign.schedule.fitness import Fitness
from hascodesign.schedule.fitting.search import MapSearch
from hascodesign.schedule.judging import win_note
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.problem import Problem, silent
from hascodesign.schedule.space import make_space
from tests.schedule_stand_in import ARRAY, NETWORK, PROFILE, SMALL, by_table, pictures, tables


@pytest.mark.parametrize("after", [0, 8, 30])
def test_ctrl_c_gives_the_best_so_far(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    space = make_space(NETWORK, PROFILE)
    judge = by_table(space, tables(3), interrupt_after=after)
    seen: list[Fitness] = []

    def fitness(self: MapSearch, *_arguments: object) -> Fitness:
        seen.append(Fitness(self.problem.space, judge, 1000))
        return seen[-1]

    monkeypatch.setattr(MapSearch, "fitness", fitness)
    monkeypatch.setattr(MapSearch, "harmed", lambda *_, **__: True)
    evaluator = pictures(NETWORK, PROFILE)
    options = SearchOptions(population=12, generations=50, plateau=50, random_maps=0)
    result = search(evaluator, options, seed=1)
    assert result.interrupted
    assert any("Stopped by Ctrl-C" in note for note in result.notes)
    assert result.loss <= min(b.loss for b in result.baselines)
    assert result.evaluations == seen[0].evaluations <= after


def test_ctrl_c_before_there_is_a_map_gives_the_best_baseline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MapSearch, "search", stopped)
    result = search(pictures(NETWORK, PROFILE), SearchOptions(random_maps=2), seed=1)
    assert result.interrupted
    assert result.notes[0] == "Stopped by Ctrl-C; this is the best schedule so far."
    losses = {b.name: b.loss for b in result.baselines}
    assert result.loss <= min(losses["identity"], losses["assignment"])


def test_the_time_limit_stops_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MapSearch, "harmed", lambda *_, **__: True)
    options = SearchOptions(seconds=1e-9, random_maps=2)
    result = search(pictures(NETWORK, PROFILE), options, seed=1)
    assert result.notes[0].startswith("Stopped early: the time limit of 1e-09 s is reached")
    assert result.evaluations == 0


def test_where_nothing_is_lost_no_map_is_searched() -> None:
    evaluator = pictures(NETWORK, PROFILE)
    space = make_space(NETWORK, PROFILE, extra_passes=1)
    maps = MapSearch(Problem.of(evaluator, space), (), 1)
    found = maps.search(SMALL, silent)  # two healthy PEs take all rows in the passes there are
    assert found.evaluations == 0
    assert np.array_equal(found.deployed.logits, maps.writer.healthy_logits)


def test_alike_pes_are_said_in_one_sentence_and_not_searched() -> None:
    evaluator = pictures(NETWORK, FaultProfile(ARRAY))
    result = search(evaluator, SMALL, seed=1)
    assert result.notes == (ALIKE,)
    assert result.evaluations == 0
    assert result.loss == result.healthy_loss == evaluator.healthy_judgement().loss
    best = {b.loss for b in result.baselines if b.name in ("identity", "assignment")}
    assert best == {result.loss}


def test_a_win_within_noise_is_said() -> None:
    rng = np.random.default_rng(0)
    before = rng.random(40)
    assert win_note(before, before - 0.5 + rng.random(40) / 9) == []
    after = before + rng.random(40) - 0.5
    (note,) = win_note(before, after)
    won = before - after
    margin = 1.96 * won.std(ddof=1) / 40**0.5
    assert f"wins {won.mean():.4f} nats" in note
    assert f"on 40 calibration images, which is within its noise of {margin:.4f} nats" in note
    # a loss is no win either
    assert len(win_note(before, before + 1.0)) == 1
    assert win_note(before[:1], before[:1]) == []
