"""The confidence interval against published values."""

from __future__ import annotations

import math

import pytest

from hascodesign.common.stats import Z95, accuracy, mean_accuracy, wilson


def test_published_example() -> None:
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3
    for correct, n, low, high in [
        (81, 263, 25.53, 36.62),
        (15, 148, 6.24, 16.05),
        (1, 29, 0.61, 17.18),
    ]:
        got = wilson(correct, n)
        assert got[0] == pytest.approx(low, abs=0.01)
        assert got[1] == pytest.approx(high, abs=0.01)
    assert wilson(0, 20) == pytest.approx((0.0, 16.11), abs=0.01)


def test_ends_solve_the_score_equation() -> None:
    for edge in wilson(37, 90):
        p = edge / 100
        assert abs(37 / 90 - p) == pytest.approx(Z95 * math.sqrt(p * (1 - p) / 90), rel=1e-12)


def test_ends_of_the_scale_are_exact() -> None:
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 100.0


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts(correct: int, n: int) -> None:
    with pytest.raises(ValueError, match=r"correct must be in 0\.\.n"):
        wilson(correct, n)


def test_accuracy_holds_the_percentage() -> None:
    got = accuracy(351, 360)
    assert (got.value, got.n, got.ci95) == (97.5, 360, wilson(351, 360))


def test_mean_over_maps_has_a_t_interval_within_the_scale() -> None:
    got = mean_accuracy([180, 186, 195], 360)
    assert (got.value, got.n) == (pytest.approx(100 * 187 / 360), 360)
    # t(0.975, 2) = 4.302653, standard deviation of 180, 186, 195 = sqrt(57)
    half = 4.302653 * math.sqrt(57 / 3) * 100 / 360
    assert got.ci95 == pytest.approx((got.value - half, got.value + half), abs=1e-4)
    assert mean_accuracy([360, 350], 360).ci95[1] == 100.0
    assert mean_accuracy([90], 360).ci95 == (25.0, 25.0)
