"""Whether an image looks like the B-mode ultrasound that a network was trained on.

Fifteen numbers of an image (brightness, flat pixels, contrast along and across the beam
at four scales, brightness by depth) against their mean and covariance over training
images: a photograph, a menu or noise lies far outside. NumPy alone, about 1 ms.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

SCALES = 4
BANDS = 4
STATISTICS = 4 + 2 * SCALES + BANDS - 1
SMALLEST_SIDE = 32
"""Of the network's input; below, the largest scale has no place for the bands."""


@dataclass(frozen=True)
class Appearance:
    """Where the statistics of the training images lie.

    Args:
        mean: of each of the `STATISTICS`.
        inverse_covariance: of the same, row by row.
        maximum_distance: an image at a greater Mahalanobis distance looks different.

    Raises:
        ValueError: the numbers are not as many, not finite, or the distance is not
            above 0.

    Reference: Mahalanobis, "On the generalized distance in statistics", 1936.
    """

    mean: tuple[float, ...]
    inverse_covariance: tuple[tuple[float, ...], ...]
    maximum_distance: float

    def __post_init__(self) -> None:
        shapes = np.shape(self.mean), np.shape(self.inverse_covariance)
        if shapes != ((STATISTICS,), (STATISTICS, STATISTICS)):
            raise ValueError(
                f"look: mean and inverse_covariance must have {STATISTICS} and "
                f"{STATISTICS} x {STATISTICS} numbers, got the shapes {shapes}."
            )
        numbers = [*self.mean, *sum(self.inverse_covariance, ()), self.maximum_distance]
        if not np.isfinite(numbers).all() or self.maximum_distance <= 0:
            raise ValueError(
                "look: every number must be finite, and maximum_distance above 0; fit "
                "it again with keras_efsnet.training.calibrate."
            )

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Appearance":
        """Reads the numbers from a card's lists."""
        rows = tuple(tuple(row) for row in facts["inverse_covariance"])
        lists = {"mean": tuple(facts["mean"]), "inverse_covariance": rows}
        return cls(**{**facts, **lists})

    def distance(self, image: np.ndarray) -> float:
        """How far an image's statistics lie from the mean, in standard deviations.

        Args:
            image: uint8 `(height, width)`, the network's input.
        """
        apart = measure(image) - self.mean
        square = apart @ np.asarray(self.inverse_covariance) @ apart
        return float(np.sqrt(max(square, 0)))  # rounded numbers could give -1e-9

    def accepts(self, image: np.ndarray) -> bool:
        """Whether an image looks like the training images; as in `distance`."""
        return self.distance(image) <= self.maximum_distance


def measure(image: np.ndarray) -> np.ndarray:
    """Computes the statistics of an image.

    In order: the mean of the grey values / 255; the share of pixels equal to their left
    neighbour; for the image and its means over blocks of 2 x 2, 4 x 4 and 8 x 8, the
    log of the mean absolute difference of horizontal neighbours, then of vertical ones
    (+ 0.5); the log of the mean (+ 4) of the blocks of 8 x 8 in each quarter of the
    rows, top first; the log of these blocks' standard deviation (+ 0.5).

    Args:
        image: uint8 `(height, width)`, multiples of 8, at least `SMALLEST_SIDE`.

    Returns:
        float64 `(STATISTICS,)`.

    Raises:
        ValueError: the image is smaller.
    """
    if min(image.shape) < SMALLEST_SIDE:
        raise ValueError(
            f"look: a network's input must be at least {SMALLEST_SIDE} x "
            f"{SMALLEST_SIDE}, got {image.shape[0]} x {image.shape[1]}; use a larger "
            "network."
        )
    blocks: np.ndarray = image.astype(np.float32)
    numbers = [image.mean() / 255, np.mean(image[:, 1:] == image[:, :-1])]
    for scale in range(SCALES):
        if scale:
            rows = blocks[::2] + blocks[1::2]
            blocks = (rows[:, ::2] + rows[:, 1::2]) / 4
        for axis in (1, 0):
            contrast = np.abs(np.diff(blocks, axis=axis)).mean(dtype=np.float64)
            numbers.append(np.log(contrast + 0.5))
    edges = [len(blocks) * band // BANDS for band in range(BANDS + 1)]
    for top, bottom in zip(edges, edges[1:], strict=False):
        numbers.append(np.log(blocks[top:bottom].mean(dtype=np.float64) + 4))
    numbers.append(np.log(blocks.std(dtype=np.float64) + 0.5))
    return np.array(numbers, dtype=np.float64)
