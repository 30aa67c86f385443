"""When a person should look instead of trusting the prediction, and why.

The limits are numbers of a model's card, fitted by `keras_efsnet.training.calibrate`.
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
"""Every reason, in the order in which they are given."""


@dataclass(frozen=True)
class ReferralRule:
    """A model's limits of trust.

    Args:
        minimum_class_probability: the class is unsure where its probability is below
            this; in [0, 1].
        minimum_mask_margin: the mask's margin (`mask_margin`) is low below this; in
            [0, 1].
        look: what the training images look like, or None for any image.

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
    """How far the network is from the other answer to "is there a lesion?".

    Chosen: the highest probability of lesion in the image, p, gives |2 p - 1|, whether
    the mask is empty (p is at most 0.5) or not. On validation images it found wrong
    masks better than the mean probability inside the mask or along its border.

    Args:
        mask_probability: `(h, w)` in [0, 1], the network's output.

    Returns:
        A number in [0, 1]; 1 is sure.
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
    """Says why a prediction should not be trusted.

    Args:
        rule: the model's limits.
        class_probability: of the predicted class.
        margin: the mask's, from `mask_margin`.
        class_normal: the predicted class is normal.
        lesion_found: the mask has a lesion of the smallest size; also where the normal
            gate then empties it, as that is where they disagree most.
        image: uint8 `(h, w)`, the network's input; None leaves its look out.

    Returns:
        Some of `REASONS` in their order; empty where nothing speaks against it.
    """
    different = rule.look and image is not None and not rule.look.accepts(image)
    objections = {
        CLASS_UNSURE: class_probability < rule.minimum_class_probability,
        MASK_MARGIN_LOW: margin < rule.minimum_mask_margin,
        DISAGREE: class_normal == lesion_found,
        NOT_B_MODE: different,
    }
    return tuple(reason for reason in REASONS if objections[reason])
