"""What ends a search early or leaves it nothing to win, and the sentence that says so."""

from __future__ import annotations

import numpy as np
import pytest

from hascodesign.contract.types import FaultProfile, IntArray, Schedule
from hascodesign.engine.loss import MOST, SHARPNESS
from hascodesign.schedule.evolve import ALIKE, search
from hascodesign.schedule.judging import win_note
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.space import make_space
from tests.schedule_stand_in import (
    ARRAY,
    NETWORK,
    PROFILE,
    SMALL,
    CostedTableEvaluator,
    NetworkEvaluator,
    tables,
)


@pytest.mark.parametrize("after", [8, 30, 60])
def test_ctrl_c_gives_the_best_so_far(after: int) -> None:
    evaluator = CostedTableEvaluator(tables(3), interrupt_after=after)
    options = SearchOptions(population=12, generations=50, plateau=50, random_maps=0)

    with pytest.MonkeyPatch.context() as patch:
        result = _search_and_forget_the_interrupt(evaluator, options, patch)
    assert any("Stopped by Ctrl-C" in note for note in result.notes)
    assert result.loss <= min(b.loss for b in result.baselines)


def _search_and_forget_the_interrupt(evaluator, options, patch):
    judge = evaluator.judge_many

    def once(schedules):
        try:
            return judge(schedules)
        except KeyboardInterrupt:
            evaluator.interrupt_after = None
            raise

    patch.setattr(evaluator, "judge_many", once)
    return search(NETWORK, PROFILE, evaluator, options, seed=1)


def test_the_time_limit_stops_and_says_so() -> None:
    evaluator = CostedTableEvaluator(tables(3))
    options = SearchOptions(seconds=1e-9, random_maps=2)
    result = search(NETWORK, PROFILE, evaluator, options, seed=1)
    assert result.notes[0].startswith("Stopped early: the time limit of 1e-09 s is reached")
    assert result.loss <= min(b.loss for b in result.baselines)


def test_the_time_limit_spares_the_first_proposals_of_the_model() -> None:
    evaluator = NetworkEvaluator(NETWORK, PROFILE, images=15)
    options = SearchOptions(seconds=1e-9, random_maps=0)
    result = search(NETWORK, PROFILE, evaluator, options, seed=1)
    assert result.notes[0].startswith("Stopped early: the time limit")
    assert 0 < result.evaluations <= options.finalists
    assert result.loss < min(b.loss for b in result.baselines)


def test_alike_pes_are_said_in_one_sentence_and_not_searched() -> None:
    evaluator = NetworkEvaluator(NETWORK, FaultProfile(ARRAY))
    result = search(NETWORK, FaultProfile(ARRAY), evaluator, SMALL, seed=1)
    assert result.notes == (ALIKE,)
    assert result.evaluations == 0
    assert (result.bound, result.gap) == (0.0, 0.0)
    assert result.loss == evaluator.healthy_judgement().loss
    assert len({b.loss for b in result.baselines}) == 1


class Answers:
    """Logits by number of the row that PE 0 takes first, to set each image's loss by hand."""

    def __init__(self, margins: dict[int, list[float]]) -> None:
        self.margins = margins
        self.labels = np.zeros(len(margins[0]), dtype=np.int64)

    def logits(self, schedule: Schedule) -> IntArray:
        margin = np.array(self.margins[int(schedule.layers[0].slots[0, 0])])
        return np.stack([margin, np.zeros(len(margin))], axis=1).astype(np.int64)


def test_a_win_within_noise_is_said() -> None:
    space = make_space(NETWORK, PROFILE)
    swapped = space.identity()
    swapped[[0, 1]] = swapped[[1, 0]]
    plain, chosen = space.decode(space.identity()), space.decode(swapped)
    rng = np.random.default_rng(0)
    before = rng.integers(-100, 100, 40)
    sure = Answers({0: before.tolist(), 1: (before + 50 + rng.integers(0, 9, 40)).tolist()})
    assert win_note(NETWORK, (sure, None), plain, chosen) == []
    unsure = Answers({0: before.tolist(), 1: (before + rng.integers(-50, 50, 40)).tolist()})
    (note,) = win_note(NETWORK, (unsure, sure, object()), plain, plain)
    assert "wins 0.0000 nats" in note
    assert "80 calibration images" in note
    (note,) = win_note(NETWORK, (unsure,), plain, chosen)
    scale = SHARPNESS * NETWORK.logit_scale
    losses = [
        np.minimum(np.log1p(np.exp(-scale * np.array(unsure.margins[row]))), MOST) for row in (0, 1)
    ]
    won = losses[0] - losses[1]
    margin = 1.96 * won.std(ddof=1) / 40**0.5
    assert f"wins {won.mean():.4f} nats" in note
    assert f"noise of {margin:.4f} nats" in note
    # the other way round it is a loss, and no win either
    assert len(win_note(NETWORK, (sure,), chosen, plain)) == 1
