"""Figures for many draws of a table's images at once, NaN where they are undefined."""

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
