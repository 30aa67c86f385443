"""The referral rule: when and why a person should review a prediction.

Its limits come from a model's card, fitted by `efsnet calibrate`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_efsnet.labels import MALIGNANT, NORMAL
from keras_efsnet.prediction.appearance import Appearance

MALIGNANCY_NOT_EXCLUDED = "malignancy not excluded"
CLASS_UNSURE = "class unsure"
MASK_MARGIN_LOW = "mask margin low"
DISAGREE = "mask and class disagree"
NOT_B_MODE = "does not look like B-mode"
REASONS = (
    MALIGNANCY_NOT_EXCLUDED,
    CLASS_UNSURE,
    MASK_MARGIN_LOW,
    DISAGREE,
    NOT_B_MODE,
)
"""All reasons, in the order of `find_reasons`."""

ADVICE: Mapping[str, str] = json.loads(
    Path(__file__).with_name("advice.json").read_text(encoding="utf-8")
)
"""For each reason what it means and what to do. The web page reads the same file."""


_OFF = {"minimum_class_probability": 0, "minimum_mask_margin": 0, "malignancy_limit": 1}
"""The limits, and the value of each that refers no image."""


@dataclass(frozen=True)
class ReferralRule:
    """The limits at which a prediction is referred.

    Args:
        minimum_class_probability: smallest probability of a sure class; in [0, 1].
        minimum_mask_margin: smallest sufficient `mask_margin`; in [0, 1].
        look: appearance of the training images; None accepts any image.
        malignancy_limit: an image that is called normal or benign is referred if
            P(malignant) is at least this; in [0, 1]. 1 switches it off.

    Raises:
        ValueError: a number is outside its range.
    """

    minimum_class_probability: float
    minimum_mask_margin: float
    look: Appearance | None = None
    malignancy_limit: float = 1.0

    def __post_init__(self) -> None:
        for name, off in _OFF.items():
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(
                    f"refer: {name} must be in [0, 1], got {value}; {off} refers no "
                    "image."
                )

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "ReferralRule":
        """Reads the rule from the `refer` of a card's `postprocess`."""
        look = facts.get("look")
        return cls(
            **{**facts, "look": None if look is None else Appearance.from_json(look)}
        )


def mask_margin(mask_probability: np.ndarray) -> float:
    """Returns how sure the network is whether there is a lesion, in [0, 1]; 1 is sure.

    Chosen: |2 p - 1| for the image's highest lesion probability p. On validation images
    it found wrong masks better than the mean probability inside the mask or along its
    border.

    Args:
        mask_probability: `(h, w)` in [0, 1], the network's output.
    """
    return abs(2 * float(mask_probability.max()) - 1)


def find_reasons(
    rule: ReferralRule,
    *,
    label: str | None,
    probabilities: Mapping[str, float],
    margin: float | None,
    lesion_found: bool | None,
    image: np.ndarray | None,
) -> tuple[str, ...]:
    """Returns the reasons to refer an image, in the order of `REASONS`.

    Reasons that need the class normal or malignant, or an output that the model lacks,
    are never given.

    Args:
        rule: the model's limits.
        label: the predicted class; None if the model has no classes.
        probabilities: by class.
        margin: from `mask_margin`; None if the model has no mask.
        lesion_found: the mask has a lesion, before the normal gate empties it; None as
            above.
        image: uint8 `(h, w)`, the network's input; None skips its appearance.
    """
    different = rule.look and image is not None and not rule.look.accepts(image)
    suspicious = probabilities.get(MALIGNANT, -1.0) >= rule.malignancy_limit
    surest = 1.0 if label is None else probabilities[label]
    has_both = lesion_found is not None and NORMAL in probabilities
    objections = {
        MALIGNANCY_NOT_EXCLUDED: suspicious and label != MALIGNANT,
        CLASS_UNSURE: surest < rule.minimum_class_probability,
        MASK_MARGIN_LOW: margin is not None and margin < rule.minimum_mask_margin,
        DISAGREE: has_both and (label == NORMAL) == lesion_found,
        NOT_B_MODE: different,
    }
    return tuple(reason for reason in REASONS if objections[reason])
