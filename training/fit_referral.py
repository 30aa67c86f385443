"""Fits a model's referral rule: usual appearance, limits of confidence, malignancy.

The appearance rule refers 1 % of the validation images as out-of-distribution. Class
probability and mask margin share one quantile as limit, to avoid overfitting on few
images: the highest at which at most 20 % of the validation images are referred for
these reasons, for their appearance, or because mask and class disagree. If the latter
two already refer more, both limits are 0.

The limit of malignancy is a conformal quantile: of new patients like those of
validation with a malignant lesion, at least 95 % are expected to have it called
malignant or referred on every image.

Reference: Angelopoulos and Bates, "Conformal Prediction: A Gentle Introduction",
Foundations and Trends in Machine Learning 16(4), 2023, sections 1 and 3.2 (quantile and
its spread).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import beta

from keras_efsnet.images.grey import resize_image
from keras_efsnet.labels import CLASS, MASK
from keras_efsnet.prediction.appearance import Appearance, measure
from keras_efsnet.prediction.postprocess import Postprocess, Prediction, postprocess
from keras_efsnet.prediction.referral import ReferralRule, mask_margin
from keras_efsnet.training.evaluate import RawOutput

LOOK_QUANTILE = 0.99
REFERRED = 0.2
SENSITIVITY = 0.95
QUANTILES = tuple(np.arange(0, REFERRED + 0.001, 0.005).round(3).tolist())
"""Candidates for the shared quantile of class probability and mask margin."""

DIGITS = 6
"""Significant digits of the numbers in the card."""


@dataclass(frozen=True)
class Malignancy:
    """How the limit of malignancy was found.

    Attributes:
        limit: see `ReferralRule.malignancy_limit`.
        sensitivity: the expected sensitivity of the limit, at least.
        patients: validation patients (or scans) with a malignant lesion.
        lower_bound: the sensitivity that it exceeds with a probability of 95 %.
    """

    limit: float
    sensitivity: float
    patients: int
    lower_bound: float


def fit_referral(
    outputs: Sequence[RawOutput],
    rules: Postprocess,
    look: Appearance,
    malignancy_limit: float,
) -> ReferralRule:
    """Fits the referral rule, as above.

    Args:
        outputs: of the calibrated network on the validation images.
        rules: the model's other rules.
        look: from `fit_appearance`.
        malignancy_limit: from `fit_malignancy`.
    """
    held_out = [resize_image(output.grey, output.mask.shape) for output in outputs]
    best = ReferralRule(0.0, 0.0, look)
    objected = np.array(
        [
            bool(_apply(output, replace(rules, refer=best), image).refer)
            for output, image in zip(outputs, held_out, strict=True)
        ]
    )
    # Zeros where the model lacks the output, so that its limit is 0.
    classes, margins = np.zeros(len(outputs)), np.zeros(len(outputs))
    if CLASS in rules.tasks:
        classes = np.array([output.probabilities.max() for output in outputs])
    if MASK in rules.tasks:
        margins = np.array([mask_margin(output.mask) for output in outputs])
    for quantile in QUANTILES:
        lowest, margin = (
            _rounded(np.quantile(x, quantile)) for x in (classes, margins)
        )
        referred = objected | (classes < lowest) | (margins < margin)
        if referred.mean() <= REFERRED:
            best = ReferralRule(lowest, margin, look)
    return replace(best, malignancy_limit=malignancy_limit)


def fit_malignancy(
    probabilities: Sequence[float], patients: Sequence[str]
) -> Malignancy:
    """Fits the limit of malignancy.

    Args:
        probabilities: P(malignant) of each malignant image.
        patients: the patient of each, or its scan; the lowest probability counts.
    """
    lowest: dict[str, float] = {}
    for patient, probability in zip(patients, probabilities, strict=True):
        lowest[patient] = min(lowest.get(patient, 1.0), probability)
    count = len(lowest)
    below = int((1 - SENSITIVITY) * (count + 1))
    if not below:  # too few patients: every image that is not malignant is referred
        return Malignancy(0.0, SENSITIVITY, count, 1.0)
    limit = np.floor(sorted(lowest.values())[below - 1] * 10**DIGITS) / 10**DIGITS
    bound = beta.ppf(0.05, count + 1 - below, below)
    return Malignancy(float(limit), SENSITIVITY, count, float(bound))


def fit_looks(
    training: Mapping[str, Sequence[np.ndarray]],
    held_out: Mapping[str, Sequence[np.ndarray]],
) -> dict[str, Appearance]:
    """Fits the appearance of each source that has images of both kinds."""
    return {
        source: fit_appearance(images, held_out[source])
        for source, images in training.items()
        if source in held_out
    }


def fit_appearance(
    training: Sequence[np.ndarray], held_out: Sequence[np.ndarray]
) -> Appearance:
    """Fits mean and covariance to training images, the distance to held-out images.

    Args:
        training, held_out: uint8 images of the network's size.

    Raises:
        ValueError: that size is too small.
    """
    statistics = np.stack([measure(image) for image in training])
    # `pinv` ignores directions without variance, as with few or equal images.
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
