"""Computes metrics for many bootstrap draws at once; NaN means undefined."""

import numpy as np


def count_images(draws: np.ndarray) -> np.ndarray:
    """Counts how often each draw `(r, n)` contains each image: float64 `(r, n)`."""
    r, n = draws.shape
    flat = draws + n * np.arange(r)[:, np.newaxis]
    return np.bincount(flat.ravel(), minlength=r * n).reshape(r, n).astype(np.float64)


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
        weights: how often each draw contains each image, `(r, n)`.

    Returns:
        `(r,)`; NaN without positives or without negatives.
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
