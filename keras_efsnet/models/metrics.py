"""Overlap metrics of masks, on any backend."""

from typing import Any

import keras
from keras import ops

from keras_efsnet.models.losses import mean_weight


def overlap_from_counts(intersection: Any, truth: Any, prediction: Any) -> Any:
    """Intersection over union and Dice coefficient from pixel counts.

    Both scores are 1 for two empty masks and 0 for one empty mask.

    Args:
        intersection: lesion pixels in both masks, any shape.
        truth: lesion pixels in the truth, the same shape.
        prediction: lesion pixels in the prediction, the same shape.

    Returns:
        `(iou, dice)`, float32 of the same shape, in [0, 1].
    """
    shared = ops.cast(intersection, "float32")
    both = ops.cast(truth, "float32") + ops.cast(prediction, "float32")
    empty = ops.cast(ops.equal(both, 0.0), "float32")
    # `empty` turns 0 / 0 into 1.
    iou = (shared + empty) / (both - shared + empty)
    return iou, (2.0 * shared + empty) / (both + empty)


@keras.saving.register_keras_serializable(package="keras_efsnet")
class Dice(keras.metrics.Mean):
    """Mean Dice coefficient of the images; see `overlap_from_counts` for empty masks.

    Pass it to `compile` in `weighted_metrics`. In `metrics`, Keras ignores sample
    weights, and images without a mask (weight 0) would count. Weights may also be those
    of pixels, as in `DiceBCE`; what has the weight 0 does not count.

    Args:
        threshold: float in (0, 1); probabilities above it are lesion.
        name: the metric's name.
        dtype: dtype of the sums.

    Input shape: truth (0 or 1) and probability `(batch, height, width, 1)`, sample
        weights `(batch,)` or, with or without a last axis of 1, `(batch, height,
        width)`.
    Output shape: a scalar in [0, 1].

    Example:
        >>> metric = Dice()
        >>> metric.update_state([[1.0, 1.0, 0.0]], [[0.9, 0.2, 0.1]])
        >>> print(f"{float(metric.result()):.3f}")
        0.667
    """

    def __init__(
        self, threshold: float = 0.5, name: str = "dice", dtype: Any = None
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.threshold = threshold

    def update_state(self, y_true, y_pred, sample_weight=None):
        truth = _flatten(y_true)
        prediction = _flatten(ops.greater(y_pred, self.threshold))
        shared = truth * prediction
        if sample_weight is not None and len(sample_weight.shape) > 2:
            weight = _flatten(sample_weight)
            truth, prediction, shared = (
                weight * pixels for pixels in (truth, prediction, shared)
            )
            sample_weight = mean_weight(weight)
        counts = (ops.sum(pixels, axis=1) for pixels in (shared, truth, prediction))
        _, dice = overlap_from_counts(*counts)
        super().update_state(dice, sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold}


def _flatten(mask):
    mask = ops.cast(mask, "float32")
    return ops.reshape(mask, (ops.shape(mask)[0], -1))
