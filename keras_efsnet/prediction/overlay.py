"""The overlay picture: the lesion's contour on the image, and a caption."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from keras_efsnet.images.components import find_extent
from keras_efsnet.images.frame import Frame
from keras_efsnet.images.screen_region import ScreenRegion
from keras_efsnet.prediction.caption import (
    bar_height,
    describe,
    draw_caption,
    letter_height,
    load_font,
)
from keras_efsnet.prediction.measurements import Lesion
from keras_efsnet.prediction.postprocess import Prediction

CONTOUR_COLOUR = (255, 214, 0)

CALLIPER_COLOUR = (0, 229, 255)

OUTLINE_COLOUR = (110, 110, 110)
"""Colour of the outline of the part that the network sees."""


def draw_overlay(
    frame: Frame,
    prediction: Prediction,
    lesions: Sequence[Lesion] = (),
    callipers: bool = False,
) -> Image.Image:
    """Draws the mask's contour on the image, and class and reasons in a bar below.

    A DICOM frame is black outside its ultrasound regions, as scanners write names
    there. If the network saw only a part of the frame, that part is outlined. Single
    pixels, of the mask or missing in it, have no contour.

    Args:
        frame: the image.
        prediction: of the frame.
        lesions: from `measure_lesions`; their size is in the caption.
        callipers: draw both diameters of each lesion too.

    Returns:
        RGB image of the same width. The bar's height depends only on that width.
    """
    height, width = frame.pixels.shape
    picture = Image.new("RGB", (width, height + bar_height(width)))
    picture.paste(Image.fromarray(_shown_pixels(frame)))
    contour = Image.fromarray(_contour(prediction.mask, min(height, width) >= 400))
    picture.paste(CONTOUR_COLOUR, (0, 0), contour)
    draw = ImageDraw.Draw(picture)
    if callipers:
        for lesion in lesions:
            for name in ("longest", "perpendicular"):
                _draw_calliper(draw, lesion[f"{name}_diameter_points"], (width, height))
    scan = frame.scan
    if scan is not None and scan != ScreenRegion.whole(frame.pixels.shape):
        right, bottom = scan.left + scan.width, scan.top + scan.height
        draw.rectangle(
            (scan.left - 1, scan.top - 1, right, bottom), outline=OUTLINE_COLOUR
        )
    draw_caption(picture, describe(prediction, lesions))
    return picture


def draw_numbers(
    picture: Image.Image, boxes: Mapping[int, Sequence[int]]
) -> Image.Image:
    """Returns a copy of an overlay with a number at the right of each box.

    Args:
        picture: RGB, of any height.
        boxes: `(left, top, right, bottom)` by number.
    """
    numbered = picture.convert("RGB")  # a copy
    size = round(1.5 * letter_height(picture.width))
    draw, font = ImageDraw.Draw(numbered), load_font(size)
    for number, (left, top, right, bottom) in boxes.items():
        width = font.getlength(str(number))
        gap = size // 3
        fits = right + gap + width < picture.width
        x = right + gap if fits else max(left - gap - width, 0)
        draw.text(
            (x, (top + bottom) / 2),
            str(number),
            fill=CONTOUR_COLOUR,
            font=font,
            anchor="lm",
            stroke_width=max(size // 10, 1),
            stroke_fill=(0, 0, 0),
        )
    return numbered


def _shown_pixels(frame: Frame) -> np.ndarray:
    if not frame.regions:
        return frame.pixels
    shown = np.zeros_like(frame.pixels)
    for region in frame.regions:
        shown[region.pixels] = frame.pixels[region.pixels]
    return shown


def _draw_calliper(
    draw: ImageDraw.ImageDraw, points: Sequence[Sequence[float]], size: tuple[int, int]
) -> None:
    """Draws a dotted line between two crosses, as scanners do."""
    # Pixel (0, 0) covers 0 to 1, and Pillow draws at its middle.
    start, end = ((x - 0.5, y - 0.5) for x, y in points)
    arm = max(min(size) / 60, 2)
    dots = max(int(math.dist(start, end) / arm), 1)
    for dot in range(1, dots):
        draw.point(_between(start, end, dot / dots), fill=CALLIPER_COLOUR)
    for x, y in (start, end):
        draw.line((x - arm, y, x + arm, y), fill=CALLIPER_COLOUR)
        draw.line((x, y - arm, x, y + arm), fill=CALLIPER_COLOUR)


def _between(
    start: tuple[float, float], end: tuple[float, float], part: float
) -> tuple[float, float]:
    x, y = (a + part * (b - a) for a, b in zip(start, end, strict=True))
    return x, y


def _contour(mask: np.ndarray, thick: bool) -> np.ndarray:
    """The border of the mask, bool `(height, width)`, 2 or 3 pixels wide."""
    contour = np.zeros_like(mask)
    if not mask.any():
        return contour
    rows, columns = find_extent(mask)
    # One pixel more, for the outer half of the border.
    top, bottom = max(rows.start - 1, 0), rows.stop + 1
    left, right = max(columns.start - 1, 0), columns.stop + 1
    # The padding closes the contour at the image's edge.
    framed = _without_specks(np.pad(mask[top:bottom, left:right], 2))
    outer = _grow(framed, 1)
    inner = ~_grow(~framed, 2 if thick else 1)
    contour[top:bottom, left:right] = (outer & ~inner)[2:-2, 2:-2]
    return contour


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """Removes single pixels and fills single holes; the mask's border is empty."""
    left, right = np.roll(mask, 1, 1), np.roll(mask, -1, 1)
    above, below = np.roll(mask, 1, 0), np.roll(mask, -1, 0)
    row = mask | left | right
    near = left | right | np.roll(row, 1, 0) | np.roll(row, -1, 0)
    return near & (mask | (left & right & above & below))


def _grow(mask: np.ndarray, radius: int) -> np.ndarray:
    for axis in (0, 1) * radius:
        mask = mask | np.roll(mask, 1, axis) | np.roll(mask, -1, axis)
    return mask
