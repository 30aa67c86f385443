"""What the network says about an image: the one postprocess, and its picture.

NumPy and Pillow alone, so that every runtime (Keras, LiteRT) shares it.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_efsnet.components import Box, split_components
from keras_efsnet.images import Size, resize_probability
from keras_efsnet.refer import ReferRule, find_reasons, mask_margin

LABELS = ("normal", "benign", "malignant")
"""The classes in the order of the network's output."""

CONTOUR_COLOUR = (255, 214, 0)


@dataclass(frozen=True)
class Postprocess:
    """A model's rules between its raw output and a prediction (from its card.json).

    Args:
        minimum_lesion_fraction: connected components that cover less than this
            fraction of the image are dropped; in [0, 1).
        normal_gate: the mask is emptied where P(normal) is at least this; in (0, 1],
            or None for never.
        refer: when not to trust a prediction, or None for no such rule.

    Raises:
        ValueError: a number is outside its range.
    """

    minimum_lesion_fraction: float = 0.0
    normal_gate: float | None = None
    refer: ReferRule | None = None

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
        """Reads the rules from a card's `postprocess`; those it lacks are off.

        Raises:
            KeyError, TypeError, ValueError: it holds something else.
        """
        refer = facts.get("refer")
        rule = None if refer is None else ReferRule.from_json(refer)
        return cls(**{**facts, "refer": rule})


@dataclass(frozen=True, eq=False)
class Prediction:
    """The network's answer for one image, in that image's own pixels.

    Attributes:
        mask: bool `(height, width)`, the lesion after postprocessing.
        probability: float32 `(height, width)`, probability of lesion in each pixel,
            before postprocessing.
        label: the most probable class.
        probabilities: by label, in the order of `LABELS`.
        lesion_area_px: pixels of the mask.
        lesion_fraction: the same as a fraction of the image.
        boxes: `(left, top, right, bottom)` of the mask's connected components, largest
            first; right and bottom are the first column and row past the component.
        refer: why a person should look, from `refer.REASONS`; empty = no objection.
        milliseconds: time from the grey image to this, without reading and writing
            files.
    """

    mask: np.ndarray
    probability: np.ndarray
    label: str
    probabilities: Mapping[str, float]
    lesion_area_px: int
    lesion_fraction: float
    boxes: list[Box]
    refer: tuple[str, ...] = ()
    milliseconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The facts without the maps, under the keys of predictions.json."""
        return {
            "class": self.label,
            "probabilities": {k: round(p, 6) for k, p in self.probabilities.items()},
            "lesion_area_px": self.lesion_area_px,
            "lesion_fraction": round(self.lesion_fraction, 6),
            "boxes": [list(box) for box in self.boxes],
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

    The probability is stretched to the image's size, then cut above 0.5 (a calibrated
    threshold is part of the network), then `rules` apply.

    Args:
        mask_probability: float `(h, w)` in [0, 1], at the network's size.
        class_probabilities: float `(3,)` in the order of `LABELS`.
        size: the image's own `(height, width)`.
        rules: the model's numbers.
        image: uint8 `(h, w)`, the network's input, for the refer rule; None leaves its
            look out.

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
    mask, boxes = split_components(probability > 0.5, smallest)
    lesion_found = bool(boxes)
    if rules.normal_gate is not None and probabilities["normal"] >= rules.normal_gate:
        mask, boxes = np.zeros_like(mask), []
    area = int(mask.sum())
    label = LABELS[int(class_probabilities.argmax())]
    refer = rules.refer and find_reasons(
        rules.refer,
        class_probability=probabilities[label],
        margin=mask_margin(mask_probability),
        class_normal=label == "normal",
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
        refer=refer or (),
    )


def draw_overlay(grey: np.ndarray, prediction: Prediction) -> Image.Image:
    """Draws the mask's contour on the image, and below it the class and the reasons.

    Args:
        grey: uint8 `(height, width)`, the image of the prediction.

    Returns:
        RGB image of the same width; the bar is added to the height, so that it hides
        no pixel. Its height depends on the image's size alone.
    """
    height, width = grey.shape
    colours = np.repeat(grey[:, :, None], 3, axis=2)
    colours[_contour(prediction.mask, thick=min(height, width) >= 400)] = CONTOUR_COLOUR
    percent = 100 * prediction.probabilities[prediction.label]
    caption = f"{prediction.label} {percent:.0f} %"
    if prediction.refer:
        caption += f" | refer: {', '.join(prediction.refer)}"
    return _add_caption(Image.fromarray(colours), caption)


def _contour(mask: np.ndarray, thick: bool) -> np.ndarray:
    """The border of the mask, bool `(height, width)`, 2 or 3 pixels wide."""
    # In an empty frame, a lesion cut by the image's edge is closed there.
    framed = np.pad(mask, 2)
    outer = _grow(framed, 1)
    inner = ~_grow(~framed, 2 if thick else 1)
    return (outer & ~inner)[2:-2, 2:-2]


def _grow(mask: np.ndarray, radius: int) -> np.ndarray:
    for axis in (0, 1) * radius:
        mask = mask | np.roll(mask, 1, axis) | np.roll(mask, -1, axis)
    return mask


def _add_caption(picture: Image.Image, text: str) -> Image.Image:
    """Adds a bar with a text, as large as fits on one to four lines."""
    width, height = picture.size
    bar = 2 * max(height // 18, 11)
    captioned = Image.new("RGB", (width, height + bar))
    captioned.paste(picture)
    font_size, lines = max(
        (_lay_out(text, count, width, bar) for count in range(1, 5)),
        key=lambda layout: layout[0],
    )
    ImageDraw.Draw(captioned).multiline_text(
        (font_size // 2, height + bar // 2),
        "\n".join(lines),
        fill=CONTOUR_COLOUR,
        font=ImageFont.load_default(font_size),
        anchor="lm",
        spacing=0,
    )
    return captioned


def _lay_out(text: str, count: int, width: int, bar: int) -> tuple[int, list[str]]:
    """The font size that fits a text on so many lines into the bar, and the lines."""
    lines = textwrap.wrap(text, -(-len(text) // count) + (count > 1) * 6)
    # A letter is about 0.6 em wide, a line 1.2 em high.
    wide = 3 * width // (2 * max(map(len, lines)))
    high = min(bar // 2, 5 * bar // (6 * len(lines)))
    return max(min(wide, high), 1), lines
