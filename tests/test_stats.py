"""The confidence interval against published values."""

from __future__ import annotations

import math

import pytest

from hascodesign.stats import Z95, accuracy, mean_accuracy, wilson


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


def test_mean_over_maps_keeps_the_images_as_its_sample() -> None:
    got = mean_accuracy([180, 181, 200], 360)
    assert got.value == pytest.approx(100 * 187 / 360)
    assert got.n == 360
    assert got.ci95 == wilson(187, 360)
    fraction = mean_accuracy([180, 181], 360)
    assert wilson(180, 360)[0] < fraction.ci95[0] < wilson(181, 360)[0]
