"""The overlay picture: the lesion's contour on the image, and a caption."""

import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_efsnet.images.components import find_extent
from keras_efsnet.images.frame import Frame
from keras_efsnet.images.screen_region import ScreenRegion
from keras_efsnet.prediction.postprocess import Prediction
from keras_efsnet.prediction.referral import NOT_B_MODE

CONTOUR_COLOUR = (255, 214, 0)

OUTLINE_COLOUR = (110, 110, 110)
"""Colour of the outline of the part that the network sees."""


def draw_overlay(frame: Frame, prediction: Prediction) -> Image.Image:
    """Draws the mask's contour on the image, and class and reasons in a bar below.

    A DICOM frame is black outside its ultrasound regions, as scanners write names
    there. If the network saw only a part of the frame, that part is outlined.

    Returns:
        RGB image of the same width. The bar's height depends only on the image's size.
    """
    height, width = frame.pixels.shape
    picture = Image.fromarray(_shown_pixels(frame)).convert("RGB")
    contour = _contour(prediction.mask, thick=min(height, width) >= 400)
    picture.paste(CONTOUR_COLOUR, mask=Image.fromarray(contour))
    picture = _add_caption(picture, _describe(prediction))
    scan = frame.scan
    if scan is not None and scan != ScreenRegion.whole(frame.pixels.shape):
        right, bottom = scan.left + scan.width, scan.top + scan.height
        ImageDraw.Draw(picture).rectangle(
            (scan.left - 1, scan.top - 1, right, bottom), outline=OUTLINE_COLOUR
        )
    return picture


def _describe(prediction: Prediction) -> str:
    percent = 100 * prediction.probabilities[prediction.label]
    caption = f"{prediction.label} {percent:.0f} %"
    if prediction.mask_emptied:
        caption += ", lesion removed from the mask"
    if NOT_B_MODE in prediction.refer:  # the class means little then
        caption = f"{NOT_B_MODE} | {caption}"
    others = [reason for reason in prediction.refer if reason != NOT_B_MODE]
    return f"{caption} | refer: {', '.join(others)}" if others else caption


def _shown_pixels(frame: Frame) -> np.ndarray:
    if not frame.regions:
        return frame.pixels
    shown = np.zeros_like(frame.pixels)
    for region in frame.regions:
        shown[region.pixels] = frame.pixels[region.pixels]
    return shown


def _contour(mask: np.ndarray, thick: bool) -> np.ndarray:
    """The border of the mask, bool `(height, width)`, 2 or 3 pixels wide."""
    # The padding closes the contour at the image's edge.
    contour = np.pad(np.zeros_like(mask), 2)
    rows, columns = find_extent(mask)
    framed = np.pad(mask[rows, columns], 2)
    outer = _grow(framed, 1)
    inner = ~_grow(~framed, 2 if thick else 1)
    contour[rows.start : rows.stop + 4, columns.start : columns.stop + 4] = (
        outer & ~inner
    )
    return contour[2:-2, 2:-2]


def _grow(mask: np.ndarray, radius: int) -> np.ndarray:
    for axis in (0, 1) * radius:
        mask = mask | np.roll(mask, 1, axis) | np.roll(mask, -1, axis)
    return mask


def _add_caption(picture: Image.Image, text: str) -> Image.Image:
    """Adds a bar with the text in the largest font that fits in one to four lines."""
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
    """Font size and lines of a text split into `count` lines."""
    lines = textwrap.wrap(text, -(-len(text) // count) + (count > 1) * 6)
    # A letter is about 0.6 em wide, a line 1.2 em high.
    wide = 3 * width // (2 * max(map(len, lines)))
    high = min(bar // 2, 5 * bar // (6 * len(lines)))
    return max(min(wide, high), 1), lines
