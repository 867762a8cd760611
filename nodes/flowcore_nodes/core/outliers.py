"""How far a number is from what was usual: z-score, Tukey's fences, exponentially weighted mean and variance. Pure.

Each says of a value what was expected before it, how far from that is still usual, and a score: 1 is at the limit of
what is usual, whatever the method; None where the history does not spread and the value is another.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Judgement:
    """What is said of a value.

    Attributes:
        expected: mean or median of what was usual.
        low, high: what is from low to high is usual.
        score: how far away, in units of the limit; negative below what was expected.
    """

    expected: float
    low: float
    high: float
    score: float | None

    @property
    def is_anomaly(self) -> bool:
        """It is beyond what is usual."""
        return self.score is None or abs(self.score) > 1


def by_z_score(history: "np.ndarray", value: float, limit: float, least_spread: float) -> Judgement:
    """By the mean and the standard deviation of the history, that of a sample: divided by n - 1.

    Args:
        history: (n,) float64, n at least 2.
        value: what is judged; it is not in the history.
        limit: standard deviations that are usual.
        least_spread: the standard deviation is taken to be at least this.
    """
    return _around(float(history.mean()), max(float(history.std(ddof=1)), least_spread) * limit, value)


def by_fences(history: "np.ndarray", value: float, limit: float, least_spread: float) -> Judgement:
    """By quartiles: usual is what is not farther than `limit` interquartile ranges outside of them.

    J. W. Tukey, "Exploratory Data Analysis" (1977), has 1.5 for what is outside and 3 for what is far out. Quartiles
    are interpolated linearly, type 7 of R. J. Hyndman, Y. Fan, The American Statistician 50 (1996), 361.
    """
    import numpy as np

    lower, median, upper = (float(one) for one in np.quantile(history, (0.25, 0.5, 0.75)))
    reach = max(upper - lower, least_spread) * limit
    if lower <= value <= upper:
        score: float | None = 0.0
    else:
        away = value - upper if value > upper else value - lower
        score = away / reach if reach > 0 else None
    return Judgement(median, lower - reach, upper + reach, score)


def by_weighted_mean(mean: float, variance: float, value: float, limit: float, least_spread: float) -> Judgement:
    """By the exponentially weighted mean and variance of what was before."""
    return _around(mean, max(math.sqrt(variance), least_spread) * limit, value)


def weighted(mean: float, variance: float, value: float, alpha: float) -> tuple[float, float]:
    """Mean and variance with one value more.

    They are those of all values so far, the newest weighted by alpha and each one before it by 1 - alpha times that,
    the first one by what is left to 1. T. Finch, "Incremental calculation of weighted mean and variance" (University of
    Cambridge, 2009), equations 124 and 143.
    """
    away = value - mean
    step = alpha * away
    return mean + step, (1 - alpha) * (variance + away * step)


def _around(expected: float, reach: float, value: float) -> Judgement:
    away = value - expected
    score = away / reach if reach > 0 else (0.0 if away == 0 else None)
    return Judgement(expected, expected - reach, expected + reach, score)
