"""The caption below an overlay: class, P(malignant), size and referral in words."""

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache

from PIL import Image, ImageDraw, ImageFont

from keras_efsnet.labels import MALIGNANT
from keras_efsnet.prediction.measurements import Lesion, describe_size
from keras_efsnet.prediction.postprocess import Prediction
from keras_efsnet.prediction.referral import NOT_B_MODE, REASONS

Colour = tuple[int, int, int]

CLASS_COLOURS: dict[str, Colour] = {
    "normal": (86, 180, 233),
    "benign": (0, 200, 150),
    "malignant": (255, 130, 60),
}
"""Colours of the classes on black, apart for colour-blind readers too (after Okabe and
Ito, Color Universal Design, 2008)."""

TEXT_COLOUR: Colour = (235, 235, 235)

LETTERS = 42
"""The image's width in letter heights."""

SMALLEST_FONT = 8

NO_LESION = "no lesion found"
LESION_REMOVED = "lesion removed from the mask"
_SEPARATOR = " | "
_LONGEST = _SEPARATOR.join(
    [f"{NOT_B_MODE}", "malignant 100 %", "P(malignant) 100 %", "99 lesions, largest"]
    + ["999.9 x 999.9 mm", f"refer: {', '.join(REASONS[:-1])}"]
)
"""The caption with every part: the bar has room for it."""


def describe(prediction: Prediction, lesions: Sequence[Lesion] = ()) -> str:
    """The caption's text, such as "benign 87 % | P(malignant) 9 % | 12.3 x 8.1 mm".

    Args:
        prediction: what was found.
        lesions: from `measure_lesions`.
    """
    percent = {
        label: f"{100 * p:.0f} %" for label, p in prediction.probabilities.items()
    }
    parts = []
    if prediction.label is not None:
        parts.append(f"{prediction.label} {percent[prediction.label]}")
    if MALIGNANT in percent and prediction.label != MALIGNANT:
        parts.append(f"P({MALIGNANT}) {percent[MALIGNANT]}")
    if lesions:
        several = f"{len(lesions)} lesions, largest " if len(lesions) > 1 else ""
        parts.append(several + describe_size(lesions[0]))
    if prediction.label is None and not prediction.boxes:
        parts.append(NO_LESION)
    if prediction.mask_emptied:
        parts.append(LESION_REMOVED)
    if NOT_B_MODE in prediction.refer:  # the class means little then
        parts.insert(0, NOT_B_MODE)
    others = [reason for reason in prediction.refer if reason != NOT_B_MODE]
    if others:
        parts.append(f"refer: {', '.join(others)}")
    return _SEPARATOR.join(parts)


def draw_caption(picture: Image.Image, text: str) -> None:
    """Draws a black bar with the text on the lowest part of an RGB picture.

    The letters' size depends on the picture's width alone, and the bar's height too
    (`bar_height`), so that the frames of a video have one size. Names of classes have
    their colours.
    """
    width, height = picture.size
    size, top = letter_height(width), height - bar_height(width)
    draw, font = ImageDraw.Draw(picture), load_font(size)
    draw.rectangle((0, top, width, height), fill=0)
    for number, words in enumerate(_wrap(text, width, size)):
        x, y = size / 2, top + size * (1.25 + 1.25 * number)
        for word in words:
            colour = CLASS_COLOURS.get(word, TEXT_COLOUR)
            draw.text((x, y), word, fill=colour, font=font, anchor="ls")
            x += _length(f"{word} ", size)


@cache
def bar_height(width: int) -> int:
    """Height of the bar below a picture of this width, in pixels."""
    size = letter_height(width)
    lines = sum(1 for _ in _wrap(_LONGEST, width, size))
    # Video codecs want even numbers.
    return 2 * round(size * (0.5 + 1.25 * lines) / 2)


def _wrap(text: str, width: int, size: int) -> Iterator[list[str]]:
    """Splits a text into lines of words that fit into the width."""
    line: list[str] = []
    end = 0.0
    for word in text.split():
        if line and end + _length(word, size) > width - size:
            yield line
            line, end = [], 0.0
        line.append(word)
        end += _length(f"{word} ", size)
    yield line


def letter_height(width: int) -> int:
    """Height of the letters on a picture of this width, in pixels."""
    return max(round(width / LETTERS), SMALLEST_FONT)


@cache
def load_font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


@lru_cache(4096)  # words repeat from caption to caption
def _length(text: str, size: int) -> float:
    return load_font(size).getlength(text)
