"""Mask files drawn at random: the lesion that was drawn, or refused in one line."""

from pathlib import Path

import cv2
import numpy as np
from fuzz_layouts import Random
from hypothesis import strategies as st
from PIL import Image

from keras_efsnet.training.datasets.masks import read_mask_file


def fuzz_mask(data: st.DataObject, folder: Path) -> str:
    random = Random(data)
    lesion = _draw_lesion(random)
    make = random.pick(
        _two_values, _two_values, _class_numbers, _transparent, _palette, _deep
    )
    change = random.pick(None, None, None, _as_jpeg, _resized, _inverted, _third_value)
    path = folder / "a.png"
    if change:
        right = change(random, lesion, path)
    else:
        make(random, lesion).save(path, random.pick("PNG", "TIFF"))
        right = lesion
    try:
        mask = read_mask_file(path)
    except ValueError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error), error
        assert right is None, (make, change)
        return "refused"
    assert right is not None, change
    if change:  # smooth edges: where the lesion ends is known to two pixels
        around = cv2.dilate(right.astype(np.uint8), np.ones((5, 5)))
        inside = cv2.erode(right.astype(np.uint8), np.ones((5, 5)))
        assert (mask <= (around > 0)).all() and (mask >= (inside > 0)).all(), change
    else:
        np.testing.assert_array_equal(mask, right)
    return "read"


def _draw_lesion(random: Random) -> np.ndarray:
    """bool `(height, width)`: one to three ellipses, free of at least one border."""
    height, width = random.integers(40, 160, 2)
    canvas = np.zeros((height, width), np.uint8)
    for _ in range(random.pick(1, 1, 2, 3)):
        centre = (int(random.integers(12, width)), int(random.integers(12, height)))
        axes = tuple(map(int, random.integers(6, 14, 2)))
        cv2.ellipse(canvas, centre, axes, int(random.integers(0, 180)), 0, 360, 1, -1)
    canvas[:, 0] = 0
    return canvas > 0


def _levels(random: Random, lesion: np.ndarray, top: int) -> np.ndarray:
    """Two values more than 31 apart, the lesion's the higher one."""
    low = int(random.pick(0, 0, random.integers(0, top // 2)))
    high = int(random.pick(top, random.integers(low + top // 4, top + 1)))
    return np.where(lesion, high, low)


def _two_values(random: Random, lesion: np.ndarray) -> Image.Image:
    image = Image.fromarray(_levels(random, lesion, 255).astype(np.uint8))
    return image.convert(random.pick("L", "LA", "RGB", "RGBA"))


def _class_numbers(random: Random, lesion: np.ndarray) -> Image.Image:
    numbers = np.where(lesion, random.integers(1, 32, lesion.shape), 0)
    single = np.where(lesion, random.integers(1, 32), 0)
    return Image.fromarray(random.pick(numbers, single).astype(np.uint8))


def _transparent(random: Random, lesion: np.ndarray) -> Image.Image:
    colour = random.integers(128, 256, 3)
    pixels = np.dstack([np.broadcast_to(colour, (*lesion.shape, 3)), 255 * lesion])
    return Image.fromarray(pixels.astype(np.uint8))


def _palette(random: Random, lesion: np.ndarray) -> Image.Image:
    low, high = (int(index) for index in random.rng.permutation(256)[:2])
    colours = random.integers(0, 256, (256, 3))
    colours[low], colours[high] = 0, random.integers(64, 256, 3)
    image = Image.fromarray(np.where(lesion, high, low).astype(np.uint8))
    image.putpalette(colours.astype(np.uint8).tobytes())
    return image


def _deep(random: Random, lesion: np.ndarray) -> Image.Image:
    return Image.fromarray(_levels(random, lesion, 65535).astype(np.uint16))


def _as_jpeg(random: Random, lesion: np.ndarray, path: Path) -> np.ndarray:
    mode, quality = random.pick("L", "RGB"), int(random.integers(60, 98))
    image = Image.fromarray((255 * lesion).astype(np.uint8)).convert(mode)
    image.save(path, "JPEG", quality=quality)
    return lesion


def _resized(random: Random, lesion: np.ndarray, path: Path) -> np.ndarray:
    size = tuple(int(side * random.pick(1.3, 1.7, 2.1)) for side in lesion.shape[::-1])
    image = Image.fromarray((255 * lesion).astype(np.uint8))
    image.resize(size, Image.Resampling.BILINEAR).save(path)
    return np.asarray(image.resize(size, Image.Resampling.NEAREST)) > 0


def _inverted(random: Random, lesion: np.ndarray, path: Path) -> None:
    lesion[[0, -1]] = lesion[:, [0, -1]] = False
    _two_values(random, ~lesion).save(path, "PNG")


def _third_value(random: Random, lesion: np.ndarray, path: Path) -> None:
    values = 255 * lesion.astype(np.uint8)
    top, left = (int(random.integers(0, side - 7)) for side in lesion.shape)
    values[:9, :9], values[-9:, -9:] = 0, 255
    values[top : top + 7, left : left + 7] = random.integers(80, 176)
    Image.fromarray(values).save(path)
