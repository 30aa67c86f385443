"""Areas under ROC curves of a table, and of many weighted draws of it at once."""

import numpy as np
from sklearn.metrics import roc_auc_score

from keras_efsnet.training.draws import ratio


def exact_auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The area under the ROC curve, from scikit-learn; NaN where a side is empty."""
    undefined = positive.all() or not positive.any()
    return np.nan if undefined else float(roc_auc_score(positive, scores))


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
