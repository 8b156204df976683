"""Confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from hascodesign.contract.results import Accuracy

#: 97.5 % point of the standard normal distribution.
Z95 = 1.959963984540054


def wilson(correct: int, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion, in percent.

    Parameters
    ----------
    correct : successes, 0..n.
    n : trials, at least 1.

    Returns
    -------
    (low, high) : percent, within 0..100.

    Raises
    ------
    ValueError
        No trials, or successes outside 0..n.

    References
    ----------
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
    (1927) 209-212, doi:10.1080/01621459.1927.10502953.

    Examples
    --------
    >>> wilson(0, 10)
    (0.0, 27.753279964075716)
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"correct must be in 0..n with n at least 1, not {correct} of {n}")
    share, z2 = correct / n, Z95 * Z95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # at the ends the formula gives 0 and 1 exactly, but for rounding
    low = 0.0 if correct == 0 else 100 * (middle - half)
    high = 100.0 if correct == n else 100 * (middle + half)
    return low, high


def accuracy(correct: int, n: int) -> Accuracy:
    """Share of correctly classified images, in percent, with its interval."""
    return Accuracy(100 * correct / n, n, wilson(correct, n))


def mean_accuracy(correct: Sequence[int], n: int) -> Accuracy:
    """Mean accuracy of several maps on the same n images, with a t interval over the maps.

    The interval is of the mean over maps, not of one map's accuracy.
    """
    shares = [100 * count / n for count in correct]
    low, high = mean_interval(shares)
    return Accuracy(sum(shares) / len(shares), n, (max(low, 0.0), min(high, 100.0)))


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % Student t interval of the mean; one value alone gives that value twice."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, mean
    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(stdtrit(len(values) - 1, 0.975)) * spread
    return mean - half, mean + half
