"""Computes risk-coverage curves: the error if the least certain images are left out.

Reference: Geifman and El-Yaniv, "Selective classification for deep neural networks",
NeurIPS 2017 (risk-coverage curve); El-Yaniv and Wiener, JMLR 11, 2010.
"""

import numpy as np

from keras_efsnet.training.bootstrap import ratio


def risk_coverage(
    confidence: np.ndarray, risk: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the risk-coverage curve of a set of images.

    Args:
        confidence: `(n,)`, higher is more certain. In ties, higher risk comes first.
        risk: `(n,)`, each image's loss, such as 1 for a wrong class.

    Returns:
        The fraction of images kept, the most certain ones, from 1 / n to 1, and their
        mean risk; float64 `(n,)` each.
    """
    images = np.arange(1, len(risk) + 1)
    sorted_risk = risk[_surest_first(confidence, risk)]
    return images / len(risk), np.cumsum(sorted_risk) / images


def area_under_risk(
    confidence: np.ndarray, risk: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Computes the area under the risk-coverage curve of each draw.

    It is the mean of `risk_coverage` over the draw's images. An image that is there `w`
    times, after `c` images with a sum of risks `s`, has its risk `r` in the means
    (s + j r) / (c + j) = r + (s - c r) / (c + j), for j = 1 to w. Differences of
    harmonic numbers sum these without repeating the image.

    Args:
        confidence, risk: as in `risk_coverage`.
        weights: how often each draw contains each image, `(r, n)`.

    Returns:
        float64 `(r,)`; 0 is best, and a random order gives the mean risk.
    """
    order = _surest_first(confidence, risk)
    times, loss = weights[:, order], risk[order]
    after = np.cumsum(times, axis=1)
    before = after - times
    sum_before = np.cumsum(times * loss, axis=1) - times * loss
    last = int(after.max(initial=0))
    harmonic = np.r_[0, np.cumsum(1 / np.arange(1, last + 1))]
    steps = harmonic[after.astype(int)] - harmonic[before.astype(int)]
    total = (times * loss + (sum_before - before * loss) * steps).sum(axis=1)
    return ratio(total, times.sum(axis=1))


def _surest_first(confidence: np.ndarray, risk: np.ndarray) -> np.ndarray:
    return np.lexsort((-risk, -confidence))
