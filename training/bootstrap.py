"""Computes metrics for many weightings of the images at once; NaN means undefined.

Weights `(r, n)` say how often each of `r` bootstrap draws contains each of `n` images.
"""

import numpy as np
from scipy.stats import norm, t

RESAMPLES = 1000
SEED = 0


def draw_groups(groups: np.ndarray) -> np.ndarray:
    """Draws whole groups of images with replacement, 1,000 times, seeded.

    Args:
        groups: each image's group, numbered from 0, `(n,)`.

    Returns:
        Weights, float64 `(1000, n)`.
    """
    count = int(groups.max()) + 1
    drawn = np.random.default_rng(SEED).integers(count, size=(RESAMPLES, count))
    drawn += count * np.arange(RESAMPLES)[:, np.newaxis]
    times = np.bincount(drawn.ravel(), minlength=RESAMPLES * count)
    return times.reshape(RESAMPLES, count)[:, groups].astype(np.float64)


def percentile_interval(values: np.ndarray, groups: int) -> list[float] | None:
    """Gives the expanded 95 % percentile interval of a metric's bootstrap draws.

    The plain one, from 2.5 to 97.5 %, is too narrow for few groups. This one reaches
    as far as Student's t for the number of groups does beyond the normal distribution.

    Args:
        values: the metric of each draw, `(r,)`; NaN is left out.
        groups: the number of independent groups of images.

    Returns:
        Low and high; None where all draws agree, which says nothing of the spread.

    Reference: Hesterberg, "What teachers should know about the bootstrap", The American
        Statistician 69, 2015, section 5.3 (expanded percentile interval).
    """
    reach = np.sqrt(groups / (groups - 1)) * t.ppf(0.975, groups - 1)
    low, high = np.nanquantile(values, [norm.cdf(-reach), norm.cdf(reach)])
    return None if np.isclose(low, high, atol=1e-9) else [float(low), float(high)]


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Computes weighted means `(r,)` of values `(n,)`; weights `(r, n)`."""
    return ratio(weights @ values, weights.sum(axis=1))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divides sums by counts; NaN where the count is 0."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def weighted_auroc(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Computes the AUROC of each draw; ties count half.

    Args:
        scores, positive: float and bool `(n,)`.
        weights: `(r, n)`.

    Returns:
        `(r,)`; NaN without positives or without negatives.
    """
    false, true = weighted_roc(scores, positive, weights)
    new = np.diff(false, axis=1)
    halfway = (true[:, 1:] + true[:, :-1]) / 2
    return ratio((new * halfway).sum(axis=1), true[:, -1] * false[:, -1])


def weighted_sensitivity(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray, specificity: float
) -> np.ndarray:
    """Computes each draw's highest sensitivity at no less than a specificity.

    The threshold is one of the scores (an image counts as positive from there on), or
    above all of them. Arguments and result as for `weighted_auroc`.
    """
    false, true = weighted_roc(scores, positive, weights)
    allowed = (1 - specificity) * false[:, -1:] + 1e-9
    defined = np.where(false[:, -1] > 0, true[:, -1], 0)
    return ratio(np.where(false <= allowed, true, 0).max(axis=1), defined)


def weighted_specificity(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray, sensitivity: float
) -> np.ndarray:
    """Computes each draw's highest specificity at no less than a sensitivity.

    It is that of the opposite test, whose positives are the negatives.
    """
    return weighted_sensitivity(-scores, ~positive, weights, sensitivity)


def weighted_roc(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Counts the negatives and positives from each threshold on, highest first.

    Arguments as for `weighted_auroc`.

    Returns:
        Negatives and positives, `(r, thresholds + 1)` each, from none to all.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ties = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]][: len(ranked)])
    ordered = weights[:, order]
    counts = []
    for chosen in (~positive[order], positive[order]):
        new = np.add.reduceat(ordered * chosen, ties, axis=1)
        counts.append(np.pad(np.cumsum(new, axis=1), ((0, 0), (1, 0))))
    false, true = counts
    return false, true
