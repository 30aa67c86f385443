"""The referral rule: when and why a person should review a prediction.

Its limits come from a model's card, fitted by `keras_efsnet.training.calibrate`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_efsnet.prediction.appearance import Appearance

CLASS_UNSURE = "class unsure"
MASK_MARGIN_LOW = "mask margin low"
DISAGREE = "mask and class disagree"
NOT_B_MODE = "does not look like B-mode"
REASONS = (CLASS_UNSURE, MASK_MARGIN_LOW, DISAGREE, NOT_B_MODE)
"""All reasons, in the order of `find_reasons`."""


@dataclass(frozen=True)
class ReferralRule:
    """The limits below which a prediction is referred.

    Args:
        minimum_class_probability: smallest probability of a sure class; in [0, 1].
        minimum_mask_margin: smallest sufficient `mask_margin`; in [0, 1].
        look: appearance of the training images; None accepts any image.

    Raises:
        ValueError: a number is outside its range.
    """

    minimum_class_probability: float
    minimum_mask_margin: float
    look: Appearance | None = None

    def __post_init__(self) -> None:
        for name in ("minimum_class_probability", "minimum_mask_margin"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(
                    f"refer: {name} must be in [0, 1], got {value}; 0 refers no image."
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
    class_probability: float,
    margin: float,
    class_normal: bool,
    lesion_found: bool,
    image: np.ndarray | None,
) -> tuple[str, ...]:
    """Returns the reasons to refer an image, in the order of `REASONS`.

    Args:
        rule: the model's limits.
        class_probability: probability of the predicted class.
        margin: from `mask_margin`.
        class_normal: the predicted class is normal.
        lesion_found: the mask has a lesion, before the normal gate empties it.
        image: uint8 `(h, w)`, the network's input; None skips its appearance.
    """
    different = rule.look and image is not None and not rule.look.accepts(image)
    objections = {
        CLASS_UNSURE: class_probability < rule.minimum_class_probability,
        MASK_MARGIN_LOW: margin < rule.minimum_mask_margin,
        DISAGREE: class_normal == lesion_found,
        NOT_B_MODE: different,
    }
    return tuple(reason for reason in REASONS if objections[reason])
