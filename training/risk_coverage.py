"""Computes risk-coverage curves: the error if the least certain images are left out.

Reference: Geifman and El-Yaniv, "Selective classification for deep neural networks",
NeurIPS 2017 (risk-coverage curve); El-Yaniv and Wiener, JMLR 11, 2010.
"""

import numpy as np

from keras_efsnet.training.bootstrap import count_images, mean


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
    confidence: np.ndarray, risk: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    """Computes the area under the risk-coverage curve of each draw.

    Args:
        confidence, risk: as in `risk_coverage`.
        draws: each draw's images, `(r, m)`.

    Returns:
        float64 `(r,)`; 0 is best, and a random order gives the mean risk.
    """
    order = _surest_first(confidence, risk)
    place = np.argsort(order)
    drawn = risk[order][np.sort(place[draws], axis=1)]
    images = np.arange(1, draws.shape[1] + 1)
    return (np.cumsum(drawn, axis=1) / images).mean(axis=1)


def kept_and_referred(
    referred: np.ndarray, right: np.ndarray, dice: np.ndarray, draws: np.ndarray
) -> dict[str, np.ndarray]:
    """Computes accuracy and Dice of kept and of referred images.

    Args:
        referred: bool `(n,)`.
        right: `(n,)`, 1 for a correct class, else 0.
        dice: `(n,)`.
        draws: each draw's images, `(r, m)`.

    Returns:
        By name `(r,)`: `referred` (their fraction), `accuracy_kept`, and so on.
    """
    weights = count_images(draws)
    parts = {"kept": weights * ~referred, "referred": weights * referred}
    return {
        "referred": mean(referred, weights),
        **{f"accuracy_{name}": mean(right, part) for name, part in parts.items()},
        **{f"dice_{name}": mean(dice, part) for name, part in parts.items()},
    }


def _surest_first(confidence: np.ndarray, risk: np.ndarray) -> np.ndarray:
    return np.lexsort((-risk, -confidence))
