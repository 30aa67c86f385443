"""Phantom clips: lesions that move over a normal phantom, with their true places."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageFilter

from keras_efsnet.phantoms import make_phantom

SIZE = (300, 400)

Path = Callable[[int], tuple[float, float, float] | None]
"""Gives a lesion's centre x and y, and its scale, in a frame; None if it is away."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip and its truth.

    Attributes:
        frames: uint8 `(n, height, width)`.
        truth: uint8 `(n, height, width)`: 0, or the number of the lesion in front.
    """

    frames: np.ndarray
    truth: np.ndarray

    @property
    def masks(self) -> np.ndarray:
        return self.truth > 0


def make_clip(
    *paths: Path, count: int = 60, seeds: tuple[int, ...] = (4, 12), size=SIZE
) -> Clip:
    """Draws each path's lesion, that of the phantom of its seed, into each frame."""
    background = _draw_background(size)
    lesions = [_cut_lesion(seed) for _, seed in zip(paths, seeds, strict=False)]
    frames, truth = [], []
    for frame in range(count):
        picture = Image.fromarray(background)
        labels = Image.new("L", size[::-1])
        for number, (path, lesion) in enumerate(zip(paths, lesions, strict=True), 1):
            if place := path(frame):
                _paste(picture, labels, lesion, place, number)
        frames.append(np.asarray(picture))
        truth.append(np.asarray(labels))
    return Clip(np.stack(frames), np.stack(truth))


@cache
def _draw_background(size: tuple[int, int]) -> np.ndarray:
    return make_phantom("normal", seed=5, size=size).image


@cache
def _cut_lesion(seed: int) -> tuple[Image.Image, Image.Image]:
    """The lesion of a benign phantom with its surroundings, and its mask."""
    phantom = make_phantom("benign", seed=seed)
    rows, columns = (np.flatnonzero(phantom.mask.any(axis)) for axis in (1, 0))
    edge = 30
    box = (
        *(int(columns[0]) - edge, int(rows[0]) - edge),
        *(int(columns[-1]) + edge, int(rows[-1]) + edge),
    )
    mask = Image.fromarray(phantom.mask.astype(np.uint8) * 255)
    return Image.fromarray(phantom.image).crop(box), mask.crop(box)


def _paste(picture, labels, lesion, place, number) -> None:
    x, y, scale = place
    image, mask = (
        part.resize((round(scale * part.width), round(scale * part.height)))
        for part in lesion
    )
    corner = round(x - image.width / 2), round(y - image.height / 2)
    soft = mask.filter(ImageFilter.MaxFilter(9)).filter(ImageFilter.GaussianBlur(4))
    picture.paste(image, corner, soft)
    labels.paste(number, corner, mask.point(lambda value: 255 * (value > 127)))
