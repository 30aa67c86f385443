"""Losses for the mask, on any backend."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_efsnet")
class DiceBCE(keras.losses.Loss):
    """Soft Dice loss plus binary cross-entropy of the mask, one value per image.

    Cross-entropy alone neglects small lesions; Dice alone gives normal images almost no
    gradient. Probabilities of exactly 0 and 1 are safe. Give images without a mask a
    sample weight of 0.

    Args:
        smoothing: pixels added to numerator and denominator of the Dice quotient; the
            loss of two empty masks is then 0.
        dice_weight: weight of the Dice loss; the cross-entropy's is 1.

    Input shape: truth (0 or 1) and probability in [0, 1], `(batch, height, width, 1)`.
    Output shape: `(batch,)` before reduction, float at least 0.

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
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.smoothing = smoothing
        self.dice_weight = dice_weight

    def call(self, y_true, y_pred):
        y_true = ops.cast(y_true, "float32")
        y_pred = ops.cast(y_pred, "float32")
        pixels = tuple(range(1, len(y_pred.shape)))
        entropy = ops.mean(_binary_crossentropy(y_true, y_pred), axis=pixels)
        shared = ops.sum(y_true * y_pred, axis=pixels)
        both = ops.sum(y_true, axis=pixels) + ops.sum(y_pred, axis=pixels)
        dice = 1 - (2 * shared + self.smoothing) / (both + self.smoothing)
        return entropy + self.dice_weight * dice

    def get_config(self) -> dict[str, Any]:
        config = {"smoothing": self.smoothing, "dice_weight": self.dice_weight}
        return {**super().get_config(), **config}


def _binary_crossentropy(y_true, y_pred):
    epsilon = keras.config.epsilon()
    y_pred = ops.clip(y_pred, epsilon, 1 - epsilon)
    return -y_true * ops.log(y_pred) - (1 - y_true) * ops.log(1 - y_pred)
