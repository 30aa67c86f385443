"""Postprocessing of the network's output, shared by Keras and LiteRT."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_efsnet.images.components import Box, split_components
from keras_efsnet.images.grey import Size, resize_probability
from keras_efsnet.images.margins import inside_margins
from keras_efsnet.labels import LABELS
from keras_efsnet.models.presets import read_card
from keras_efsnet.prediction.referral import ReferralRule, find_reasons, mask_margin


@dataclass(frozen=True)
class Postprocess:
    """A model's postprocessing rules, from its card.json.

    Args:
        minimum_lesion_fraction: connected components that cover less than this
            fraction of the image are dropped; in [0, 1).
        normal_gate: the mask is emptied if the class is normal and P(normal) is at
            least this; in (0, 1], or None for never.
        refer: when to refer an image to a person; None for never.

    Raises:
        ValueError: a number is outside its range.
    """

    minimum_lesion_fraction: float = 0.0
    normal_gate: float | None = None
    refer: ReferralRule | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.minimum_lesion_fraction < 1:
            raise ValueError(
                "minimum_lesion_fraction must be in [0, 1), got "
                f"{self.minimum_lesion_fraction}; 0 keeps every component."
            )
        if self.normal_gate is not None and not 0 < self.normal_gate <= 1:
            raise ValueError(
                f"normal_gate must be in (0, 1], got {self.normal_gate}; "
                "null switches it off."
            )

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Postprocess":
        """Reads the rules from a card's `postprocess`; missing rules are off.

        Raises:
            KeyError, TypeError, ValueError: `facts` hold something else.
        """
        refer = facts.get("refer")
        rule = None if refer is None else ReferralRule.from_json(refer)
        return cls(**{**facts, "refer": rule})


@dataclass(frozen=True, eq=False)
class Prediction:
    """The result for one image, in that image's pixels.

    Attributes:
        mask: bool `(height, width)`, the lesion after postprocessing.
        probability: float32 `(height, width)`, probability of lesion in each pixel,
            before postprocessing.
        label: the most probable class.
        probabilities: by label, in the order of `LABELS`.
        lesion_area_px: area of the mask in pixels.
        lesion_fraction: area of the mask as a fraction of the image.
        boxes: `(left, top, right, bottom)` of the mask's connected components, largest
            first; right and bottom are exclusive.
        mask_emptied: whether `normal_gate` removed a lesion from the mask.
        refer: why a person should look, from `referral.REASONS`; empty if no rule
            fired.
        milliseconds: time of the prediction, without reading and writing files.
    """

    mask: np.ndarray
    probability: np.ndarray
    label: str
    probabilities: Mapping[str, float]
    lesion_area_px: int
    lesion_fraction: float
    boxes: list[Box]
    mask_emptied: bool = False
    refer: tuple[str, ...] = ()
    milliseconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Returns all but the maps, under the keys of predictions.json."""
        return {
            "class": self.label,
            "probabilities": {k: round(p, 6) for k, p in self.probabilities.items()},
            "lesion_area_px": self.lesion_area_px,
            "lesion_fraction": round(self.lesion_fraction, 6),
            "boxes": [list(box) for box in self.boxes],
            "mask_emptied": self.mask_emptied,
            "refer": list(self.refer),
            "milliseconds": round(self.milliseconds, 2),
        }


def postprocess(
    mask_probability: np.ndarray,
    class_probabilities: np.ndarray,
    size: Size,
    rules: Postprocess,
    image: np.ndarray | None = None,
) -> Prediction:
    """Turns the network's output for one image into a prediction.

    The probability is resized to the image, thresholded at 0.5 (the network includes
    its calibration), and `rules` are applied. Black margins around the scan hold no
    lesion.

    Args:
        mask_probability: float `(h, w)` in [0, 1], at the network's size.
        class_probabilities: float `(3,)` in the order of `LABELS`.
        size: the image's `(height, width)`.
        rules: the model's rules.
        image: uint8 `(h, w)`, the network's input, for its margins and the referral
            rule's test of its appearance; None skips both.

    Raises:
        ValueError: there are not three class probabilities.
    """
    if class_probabilities.shape != (len(LABELS),):
        raise ValueError(
            f"the classes must be {', '.join(LABELS)}, got probabilities of shape "
            f"{class_probabilities.shape}; use a model with num_classes=3."
        )
    probabilities = dict(zip(LABELS, class_probabilities.tolist(), strict=True))
    probability = resize_probability(mask_probability, size)
    smallest = rules.minimum_lesion_fraction * probability.size
    lesion = probability > 0.5
    if image is not None:
        scan = inside_margins(image, size)
        whole, lesion = lesion, np.zeros_like(lesion)
        lesion[scan] = whole[scan]
    mask, boxes = split_components(lesion, smallest)
    lesion_found = bool(boxes)
    label = LABELS[int(class_probabilities.argmax())]
    gate = rules.normal_gate
    gated = gate is not None and label == "normal" and probabilities[label] >= gate
    if gated:
        mask, boxes = np.zeros_like(mask), []
    area = int(np.count_nonzero(mask))
    refer = rules.refer and find_reasons(
        rules.refer,
        label=label,
        probabilities=probabilities,
        margin=mask_margin(mask_probability),
        lesion_found=lesion_found,
        image=image,
    )
    return Prediction(
        mask=mask,
        probability=probability,
        label=label,
        probabilities=probabilities,
        lesion_area_px=area,
        lesion_fraction=area / mask.size,
        boxes=boxes,
        mask_emptied=gated and lesion_found,
        refer=refer or (),
    )


def read_rules(file: Path) -> Postprocess:
    """Reads a model's rules from the card beside its file.

    Raises:
        ValueError: the card is damaged or has other rules.
    """
    card = read_card(file)
    try:
        return Postprocess.from_json(card.get("postprocess", {}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        path = file.with_name("card.json")
        raise ValueError(f"{path}: postprocess: {error}") from error
