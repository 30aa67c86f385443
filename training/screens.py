"""Augmentation with what a screen shows around and on a scan.

Borders, rulers, grey bars, pictograms, text and calipers. The scan may shrink to a part
of the frame, and the mask with it. Pictograms and text are not drawn on a lesion.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_efsnet.images.grey import resize_image, resize_mask

Box = tuple[int, int, int, int]

_LETTERS = "ABCDEFGHIKLMNOPRSTUVWXYZ0123456789 .:-"


@dataclass(frozen=True)
class Screen:
    """How often each part is added to an image.

    Attributes:
        border: probability of a border of one grey level, mostly black.
        widest: largest border, as a fraction of the frame's side.
        ruler: ticks along a side.
        bar: a grey wedge along a side.
        pictogram: a small box with a drawing in a corner.
        text: one to three lines of letters.
        calipers: two to four crosses joined by dots.
        fan: black corners, as a curved probe leaves them.
    """

    border: float = 0.5
    widest: float = 0.25
    ruler: float = 0.3
    bar: float = 0.25
    pictogram: float = 0.35
    text: float = 0.35
    calipers: float = 0.25
    fan: float = 0.1


SCREEN = Screen()


def add_screen(
    image: np.ndarray,
    mask: np.ndarray,
    rng: np.random.Generator,
    screen: Screen = SCREEN,
) -> tuple[np.ndarray, np.ndarray]:
    """Shows a scan as a screen capture would.

    Args:
        image: uint8 `(height, width)`.
        mask: 0 or 1, the same shape.
        rng: the source of randomness.
        screen: probabilities.

    Returns:
        Image and mask of the same shapes and types.
    """
    height, width = image.shape
    box = (0, 0, width, height)
    if rng.random() < screen.fan:
        image = _cut_fan(image, rng)
    if rng.random() < screen.border:
        box = _draw_box(image.shape, rng, screen.widest)
        image, mask = _put(image, mask, box, 0 if rng.random() < 0.8 else _dark(rng))
    picture = Image.fromarray(np.ascontiguousarray(image))
    pen = ImageDraw.Draw(picture)
    for draw, probability in (
        (_ruler, screen.ruler),
        (_bar, screen.bar),
        (_pictogram, screen.pictogram),
        (_text, screen.text),
        (_calipers, screen.calipers),
    ):
        if rng.random() < probability:
            draw(pen, box, mask, rng)
    return np.asarray(picture), mask


def _draw_box(shape: tuple[int, ...], rng: np.random.Generator, widest: float) -> Box:
    """Draws where the scan lies: (left, top, right, bottom)."""
    height, width = shape
    way = rng.integers(4)
    left, top, right, bottom = rng.uniform(0, widest, 4)
    if way == 0:  # a bar above and below
        left = right = 0
        top = bottom = (top + bottom) / 2
    elif way == 1:  # a bar on the left and the right
        top = bottom = 0
        left = right = (left + right) / 2
    elif way == 2:  # the same on all sides
        top = right = bottom = left
    sides = left * width, top * height, (1 - right) * width, (1 - bottom) * height
    left, top, right, bottom = (round(float(side)) for side in sides)
    return left, top, right, bottom


def _put(
    image: np.ndarray, mask: np.ndarray, box: Box, grey: int
) -> tuple[np.ndarray, np.ndarray]:
    left, top, right, bottom = box
    size = bottom - top, right - left
    framed, framed_mask = np.full_like(image, grey), np.zeros_like(mask)
    framed[top:bottom, left:right] = resize_image(image, size)
    framed_mask[top:bottom, left:right] = resize_mask(mask, size)
    return framed, framed_mask


def _cut_fan(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape
    slope = rng.uniform(0.05, 0.3)
    rows, columns = np.mgrid[:height, :width]
    edge = slope * (height - rows) * rng.uniform(0.5, 1)
    outside = (columns < edge) | (columns >= width - edge)
    return np.where(outside, 0, image).astype(np.uint8)


def _ruler(
    pen: ImageDraw.ImageDraw, box: Box, mask: np.ndarray, rng: np.random.Generator
) -> None:
    left, top, right, bottom = box
    grey, step = _bright(rng), rng.uniform(0.05, 0.15) * (bottom - top)
    x = rng.choice([left, right - 3]) + int(rng.integers(0, 2))
    for k, y in enumerate(np.arange(top + rng.uniform(0, step), bottom, step)):
        pen.line((x, y, x + (2 if k % 5 else 4), y), fill=grey)


def _bar(
    pen: ImageDraw.ImageDraw, box: Box, mask: np.ndarray, rng: np.random.Generator
) -> None:
    left, top, right, bottom = box
    tall = int(rng.uniform(0.15, 0.6) * (bottom - top))
    wide = int(rng.integers(2, 6))
    x = left + 1 if rng.random() < 0.5 else right - wide - 1
    y = int(rng.integers(top, bottom - tall))
    for k in range(tall):
        pen.line((x, y + k, x + wide, y + k), fill=int(255 * (1 - k / tall)))


def _pictogram(
    pen: ImageDraw.ImageDraw, box: Box, mask: np.ndarray, rng: np.random.Generator
) -> None:
    height, width = mask.shape
    w, h = (max(int(rng.uniform(0.06, 0.16) * n), 4) for n in (width, height))
    x = 0 if rng.random() < 0.4 else width - w
    y = height - h if rng.random() < 0.8 else 0
    if mask[y : y + h, x : x + w].any():
        return
    fill = int(rng.choice([0, 60, 120, 160, 200]))
    pen.rectangle((x, y, x + w, y + h), fill=fill)
    line = fill + 70 if fill < 130 else fill - 90
    if rng.random() < 0.7:
        pen.ellipse((x + 1, y + 1, x + w - 1, y + h - 1), outline=line)
        end = rng.uniform(0, 1, 2) * (w, h)
        pen.line((x + w / 2, y + h / 2, x + end[0], y + end[1]), fill=255)


def _text(
    pen: ImageDraw.ImageDraw, box: Box, mask: np.ndarray, rng: np.random.Generator
) -> None:
    height, width = mask.shape
    smallest = max(height // 21, 6)
    size = int(rng.integers(smallest, max(height // 11, smallest + 1)))
    font = ImageFont.load_default(size)
    y = rng.uniform(0, 1) * height
    x = rng.uniform(-0.05, 0.7) * width
    grey = _bright(rng)
    for _ in range(rng.integers(1, 4)):
        word = "".join(rng.choice(list(_LETTERS), rng.integers(2, 16)))
        place = [int(v) for v in pen.textbbox((x, y), word, font=font)]
        left, top, right, bottom = (max(side, 0) for side in place)
        part = mask[top:bottom, left:right]
        if not part.any():
            pen.text((x, y), word, fill=grey, font=font)
        y += 1.2 * size


def _calipers(
    pen: ImageDraw.ImageDraw, box: Box, mask: np.ndarray, rng: np.random.Generator
) -> None:
    """Around the lesion, or as often somewhere else."""
    size = np.array(mask.shape[::-1])
    ys, xs = np.nonzero(mask)
    if xs.size and rng.random() < 0.5:
        low, high = np.array([xs.min(), ys.min()]), np.array([xs.max(), ys.max()])
        middle, half = (low + high) / 2, (high - low) / 2 + 1
    else:
        middle, half = (
            rng.uniform(0.2, 0.8, 2) * size,
            rng.uniform(0.05, 0.25, 2) * size,
        )
    grey, arm = _bright(rng), rng.uniform(0.01, 0.02) * size.mean()
    for axis in range(rng.integers(1, 3)):
        step = half * (np.arange(2) == axis)
        ends = np.array([middle - step, middle + step])
        for x, y in ends:
            pen.line((x - arm, y, x + arm, y), fill=grey)
            pen.line((x, y - arm, x, y + arm), fill=grey)
        dots = max(2, int(np.linalg.norm(ends[1] - ends[0]) / (4 * arm)))
        pen.point(np.linspace(ends[0], ends[1], dots).ravel().tolist(), fill=grey)


def _bright(rng: np.random.Generator) -> int:
    return int(rng.integers(130, 256))


def _dark(rng: np.random.Generator) -> int:
    return int(rng.integers(5, 90))
