"""The bootstrap: figures for many draws of a table's images at once.

NaN stands for an undefined figure.
"""

import numpy as np


def count_images(draws: np.ndarray) -> np.ndarray:
    """Counts how often each draw `(r, n)` holds each image: float64 `(r, n)`."""
    r, n = draws.shape
    flat = draws + n * np.arange(r)[:, np.newaxis]
    counts = np.bincount(flat.ravel(), minlength=r * n)
    return counts.reshape(r, n).astype(np.float64)


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted means `(r,)` of values `(n,)`; weights `(r, n)`."""
    return ratio(weights @ values, weights.sum(axis=1))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divides numbers by counts, with NaN where the whole is 0."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def weighted_auroc(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """The chance that a positive outranks a negative, ties half, for each draw.

    Args:
        scores, positive: float and bool `(n,)`.
        weights: how often each draw holds each image, `(r, n)`.

    Returns:
        `(r,)`; NaN where a side is empty.
    """
    order = np.argsort(scores)
    ranked = scores[order]
    ties = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    ordered = weights[:, order]
    positives = np.add.reduceat(ordered * positive[order], ties, axis=1)
    negatives = np.add.reduceat(ordered * ~positive[order], ties, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return ratio((positives * below).sum(axis=1), pairs)
