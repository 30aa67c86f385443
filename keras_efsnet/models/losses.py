"""Losses for the mask, on any backend."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_efsnet")
class DiceBCE(keras.losses.Loss):
    """Soft Dice loss plus binary cross-entropy of the mask, one value per image.

    Cross-entropy alone neglects small lesions; Dice alone gives normal images almost no
    gradient. Probabilities of exactly 0 and 1 are safe.

    Sample weights are those of images, `(batch,)`, or of pixels, `(batch, height,
    width)` with or without a last axis of 1. What has the weight 0, such as an image
    without a mask, does not count in the mean either. An image's own weight is the mean
    of its pixels' weights above 0.

    Args:
        smoothing: pixels added to numerator and denominator of the Dice quotient; the
            loss of two empty masks is then 0.
        dice_weight: weight of the Dice loss; the cross-entropy's is 1.

    Input shape: truth (0 or 1) and probability in [0, 1], `(batch, height, width, 1)`.
    Output shape: a number; `(batch,)` before reduction; float at least 0.

    Example:

    >>> loss = DiceBCE()
    >>> mask = keras.ops.ones((1, 8, 8, 1))
    >>> round(float(loss(mask, mask)), 4)
    0.0

    Reference: Milletari et al. 2016, "V-Net" (Dice loss, squares left out).
    """

    def __init__(
        self,
        smoothing: float = 1.0,
        dice_weight: float = 1.0,
        name: str = "dice_bce",
        reduction: str = "mean_with_sample_weight",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.smoothing = smoothing
        self.dice_weight = dice_weight

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            sample_weight = ops.convert_to_tensor(sample_weight, "float32")
        if sample_weight is not None and len(sample_weight.shape) > 2:
            # Pixels' weights travel with the truth; Keras reduces over images.
            weight = sample_weight
            weight = weight if len(weight.shape) == 4 else weight[..., None]
            weight = ops.broadcast_to(weight, ops.shape(y_pred))
            sample_weight = mean_weight(weight)
            own = ops.maximum(sample_weight, keras.config.epsilon())
            weight = weight / ops.reshape(own, (-1, 1, 1, 1))
            y_true = ops.concatenate([ops.cast(y_true, "float32"), weight], axis=-1)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        y_pred = ops.cast(y_pred, "float32")
        y_true = ops.cast(y_true, "float32")
        weighted = y_true.shape[-1] == 2
        weight = y_true[..., 1:] if weighted else ops.ones_like(y_pred)
        y_true = y_true[..., :1]

        def total(x):
            return ops.sum(weight * x, axis=(1, 2, 3))

        entropy = total(_binary_crossentropy(y_true, y_pred)) / ops.maximum(
            total(ops.ones_like(y_pred)), keras.config.epsilon()
        )
        both = total(y_true) + total(y_pred)
        shared = total(y_true * y_pred)
        dice = 1 - (2 * shared + self.smoothing) / (both + self.smoothing)
        return entropy + self.dice_weight * dice

    def get_config(self) -> dict[str, Any]:
        config = {"smoothing": self.smoothing, "dice_weight": self.dice_weight}
        return {**super().get_config(), **config}


def mean_weight(weight):
    """The weight of each image, `(batch,)`: the mean of its pixels' weights above 0."""
    axes = tuple(range(1, len(weight.shape)))
    counted = ops.sum(ops.cast(weight > 0, "float32"), axis=axes)
    return ops.sum(weight, axis=axes) / ops.maximum(counted, 1.0)


def _binary_crossentropy(y_true, y_pred):
    epsilon = keras.config.epsilon()
    y_pred = ops.clip(y_pred, epsilon, 1 - epsilon)
    return -y_true * ops.log(y_pred) - (1 - y_true) * ops.log(1 - y_pred)
