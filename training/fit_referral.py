"""Fits a model's referral rule: what its images look like, and where it becomes unsure.

The distance of the appearance refers 1 % of the validation images. The limits of class
and mask margin lie at the same quantile of the validation images, the highest at which
at most 20 % of them are referred for any reason: one number is chosen, so that few
images cannot be fitted closely. Where the other reasons alone refer more, both limits
are 0.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from keras_efsnet.images.grey import resize_image
from keras_efsnet.prediction.appearance import Appearance, measure
from keras_efsnet.prediction.postprocess import Postprocess, Prediction, postprocess
from keras_efsnet.prediction.referral import ReferralRule, mask_margin
from keras_efsnet.training.evaluate import RawOutput

LOOK_QUANTILE = 0.99
REFERRED = 0.2
QUANTILES = tuple(np.arange(0, REFERRED + 0.001, 0.005).round(3).tolist())
"""What is tried for the limits of class and mask margin, both at once."""

DIGITS = 6
"""Significant ones of the numbers in the card."""


def fit_referral(
    outputs: Sequence[RawOutput], rules: Postprocess, training: Sequence[np.ndarray]
) -> ReferralRule:
    """Fits the referral rule, as above.

    Args:
        outputs: of the calibrated network on the validation images.
        rules: the model's other rules.
        training: uint8 images of the network's size that it was trained on.

    Raises:
        ValueError: the network is too small for the appearance.
    """
    held_out = [resize_image(output.grey, output.mask.shape) for output in outputs]
    look = fit_appearance(training, held_out)
    best = ReferralRule(0.0, 0.0, look)
    objected = np.array(
        [
            bool(_apply(output, replace(rules, refer=best), image).refer)
            for output, image in zip(outputs, held_out, strict=True)
        ]
    )
    classes = np.array([output.probabilities.max() for output in outputs])
    margins = np.array([mask_margin(output.mask) for output in outputs])
    for quantile in QUANTILES:
        lowest, margin = (
            _rounded(np.quantile(x, quantile)) for x in (classes, margins)
        )
        referred = objected | (classes < lowest) | (margins < margin)
        if referred.mean() <= REFERRED:
            best = ReferralRule(lowest, margin, look)
    return best


def fit_appearance(
    training: Sequence[np.ndarray], held_out: Sequence[np.ndarray]
) -> Appearance:
    """Fits mean and covariance to training images, the distance to held-out ones.

    Args:
        training, held_out: uint8 images of the network's size.

    Raises:
        ValueError: that size is too small.
    """
    statistics = np.stack([measure(image) for image in training])
    # Few or equal images leave directions without any spread; these are ignored.
    inverse = np.linalg.pinv(np.cov(statistics.T), hermitian=True)
    look = Appearance(
        mean=tuple(map(_rounded, statistics.mean(axis=0))),
        inverse_covariance=tuple(tuple(map(_rounded, row)) for row in inverse),
        maximum_distance=float(np.finfo(np.float64).max),
    )
    distances = [look.distance(image) for image in held_out]
    limit = _rounded(np.quantile(distances, LOOK_QUANTILE))
    return replace(look, maximum_distance=limit)


def _apply(output: RawOutput, rules: Postprocess, image: np.ndarray) -> Prediction:
    shape = output.grey.shape
    return postprocess(output.mask, output.probabilities, shape, rules, image)


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")
