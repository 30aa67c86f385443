"""Postprocessing of the network's output, shared by Keras and LiteRT."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_efsnet.images.components import Box, split_components
from keras_efsnet.images.grey import Size, resize_probability
from keras_efsnet.images.margins import inside_margins
from keras_efsnet.labels import (
    CLASS,
    LABELS,
    MASK,
    NORMAL,
    TASKS,
    check_labels,
    check_tasks,
)
from keras_efsnet.models.presets import read_card
from keras_efsnet.prediction.referral import ReferralRule, find_reasons, mask_margin


@dataclass(frozen=True)
class Postprocess:
    """What a model's outputs mean, and its postprocessing rules from its card.json.

    Args:
        minimum_lesion_fraction: connected components that cover less than this
            fraction of the image are dropped; in [0, 1).
        normal_gate: the mask is emptied if the class is normal and P(normal) is at
            least this; in (0, 1], or None for never.
        refer: when to refer an image to a person; None for never.
        labels: the names of the classes, in the order of the network's output; empty
            for a model that was trained on masks alone.
        tasks: the outputs that were trained, of `labels.TASKS`.

    Raises:
        ValueError: a number is outside its range, a label is not allowed, or labels and
            tasks contradict each other.
    """

    minimum_lesion_fraction: float = 0.0
    normal_gate: float | None = None
    refer: ReferralRule | None = None
    labels: tuple[str, ...] = LABELS
    tasks: tuple[str, ...] = TASKS

    def __post_init__(self) -> None:
        if (CLASS in check_tasks(self.tasks)) != bool(self.labels):
            raise ValueError(
                f"labels are {list(self.labels)}, but tasks {list(self.tasks)}; there "
                "are labels if class is one of the tasks."
            )
        if self.labels:
            check_labels(self.labels)
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

    def to_json(self) -> dict[str, Any]:
        """Returns the rules as a card's `postprocess`, without labels and tasks."""
        facts = asdict(self)
        return {name: facts[name] for name in facts if name not in ("labels", "tasks")}


@dataclass(frozen=True, eq=False)
class Prediction:
    """The result for one image, in that image's pixels.

    Attributes:
        mask: bool `(height, width)`, the lesion after postprocessing; empty if the
            model has no mask.
        probability: float32 `(height, width)`, probability of lesion in each pixel,
            before postprocessing.
        label: the most probable class; None if the model has no classes.
        probabilities: by label, in the order of the model's labels.
        lesion_area_px: area of the mask in pixels; None if the model has no mask.
        lesion_fraction: area of the mask as a fraction of the image; None as above.
        boxes: `(left, top, right, bottom)` of the mask's connected components, largest
            first; right and bottom are exclusive.
        mask_emptied: whether `normal_gate` removed a lesion from the mask.
        refer: why a person should look, from `referral.REASONS`; empty if no rule
            fired.
        milliseconds: time of the prediction, without reading and writing files.
    """

    mask: np.ndarray
    probability: np.ndarray
    label: str | None
    probabilities: Mapping[str, float]
    lesion_area_px: int | None
    lesion_fraction: float | None
    boxes: list[Box]
    mask_emptied: bool = False
    refer: tuple[str, ...] = ()
    milliseconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Returns all but the maps, under the keys of predictions.json."""
        fraction = self.lesion_fraction
        return {
            "class": self.label,
            "probabilities": {k: round(p, 6) for k, p in self.probabilities.items()},
            "lesion_area_px": self.lesion_area_px,
            "lesion_fraction": None if fraction is None else round(fraction, 6),
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
    lesion. A model without the task mask or class gives no mask or no class.

    Args:
        mask_probability: float `(h, w)` in [0, 1], at the network's size.
        class_probabilities: float `(classes,)` in the order of `rules.labels`.
        size: the image's `(height, width)`.
        rules: the model's rules.
        image: uint8 `(h, w)`, the network's input, for its margins and the referral
            rule's test of its appearance; None skips both.

    Raises:
        ValueError: there are not as many class probabilities as labels.
    """
    labels, has_mask = rules.labels, MASK in rules.tasks
    if labels and class_probabilities.shape != (len(labels),):
        raise ValueError(
            f"the classes must be {', '.join(labels)}, got probabilities of shape "
            f"{class_probabilities.shape}; use a model with num_classes={len(labels)}."
        )
    values = class_probabilities.tolist() if labels else []
    probabilities = dict(zip(labels, values, strict=True))
    probability = resize_probability(mask_probability, size)
    smallest = rules.minimum_lesion_fraction * probability.size
    lesion = probability > 0.5 if has_mask else np.zeros(size, bool)
    if has_mask and image is not None:
        scan = inside_margins(image, size)
        whole, lesion = lesion, np.zeros_like(lesion)
        lesion[scan] = whole[scan]
    mask, boxes = split_components(lesion, smallest)
    lesion_found = bool(boxes)
    label = labels[int(class_probabilities.argmax())] if labels else None
    gate = rules.normal_gate
    gated = gate is not None and label == NORMAL and probabilities[label] >= gate
    if gated:
        mask, boxes = np.zeros_like(mask), []
    area = int(np.count_nonzero(mask)) if has_mask else None
    refer = rules.refer and find_reasons(
        rules.refer,
        label=label,
        probabilities=probabilities,
        margin=mask_margin(mask_probability) if has_mask else None,
        lesion_found=lesion_found if has_mask else None,
        image=image,
    )
    return Prediction(
        mask=mask,
        probability=probability,
        label=label,
        probabilities=probabilities,
        lesion_area_px=area,
        lesion_fraction=None if area is None else area / mask.size,
        boxes=boxes,
        mask_emptied=gated and lesion_found,
        refer=refer or (),
    )


def read_rules(
    file: Path,
    classes: int | None = None,
    labels: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
) -> Postprocess:
    """Reads a model's labels, tasks and rules from the card beside its file.

    Args:
        file: the model's file.
        classes: the size of its output `class`; None leaves it unchecked.
        labels: those that the file itself holds; None if it holds none.
        tasks: the same.

    Raises:
        ValueError: the card is damaged, has other rules or contradicts the file; or
            neither says what the classes are, and they are not three.
    """
    card, path = read_card(file), file.with_name("card.json")
    for name, own in (("labels", labels), ("tasks", tasks)):
        if own is not None and name in card and card[name] != list(own):
            raise ValueError(
                f"{path}: {name} are {card[name]}, but {file.name} has {list(own)}; "
                "give the model its own card."
            )
    found = card.get("labels", labels)
    if found is None and classes not in (None, len(LABELS)):
        raise ValueError(
            f"{file}: its {classes} classes have no names; name them in {path} as "
            '`"labels": [...]`, or save the EFSNet with `labels=(...)`.'
        )
    try:
        rules = Postprocess.from_json(card.get("postprocess", {}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: postprocess: {error}") from error
    try:
        meaning = card.get("tasks", tasks or TASKS)
        names = tuple(LABELS if found is None else found)
        rules = replace(rules, labels=names, tasks=tuple(meaning))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    if rules.labels and classes not in (None, len(rules.labels)):
        raise ValueError(
            f"{path}: has {len(rules.labels)} labels, {', '.join(rules.labels)}, but "
            f"{file.name} has {classes} classes; give the model its own card."
        )
    return rules
