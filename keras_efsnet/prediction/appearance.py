"""Test whether an image looks like the B-mode images of the training set.

Fifteen statistics of an image (brightness, flat pixels, contrast along and across the
beam at four scales, brightness by depth) are compared with their mean and covariance
over training images. Photographs, menus and noise lie far outside.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

SCALES = 4
BANDS = 4
STATISTICS = 4 + 2 * SCALES + BANDS - 1
SMALLEST_SIDE = 32
"""Smallest side of the network's input, so that the largest scale has all bands."""


@dataclass(frozen=True)
class Appearance:
    """Distribution of the training images' statistics.

    Args:
        mean: `STATISTICS` means.
        inverse_covariance: `STATISTICS` rows of as many numbers.
        maximum_distance: largest Mahalanobis distance that is accepted, above 0.

    Raises:
        ValueError: a wrong count, a number that is not finite, or a distance of at
            most 0.

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
                "it again with `efsnet calibrate`."
            )

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Appearance":
        """Reads the numbers from a card's lists."""
        rows = tuple(tuple(row) for row in facts["inverse_covariance"])
        lists = {"mean": tuple(facts["mean"]), "inverse_covariance": rows}
        return cls(**{**facts, **lists})

    def distance(self, image: np.ndarray) -> float:
        """Returns the Mahalanobis distance of an image's statistics from the mean.

        Args:
            image: uint8 `(height, width)`, the network's input.
        """
        apart = measure(image) - self.mean
        square = apart @ np.asarray(self.inverse_covariance) @ apart
        return float(np.sqrt(max(square, 0)))  # rounding could give -1e-9

    def accepts(self, image: np.ndarray) -> bool:
        """Returns whether an image is within `maximum_distance`; see `distance`."""
        return self.distance(image) <= self.maximum_distance


def measure(image: np.ndarray) -> np.ndarray:
    """Computes the statistics of an image.

    In order: mean grey value / 255; fraction of pixels equal to their left neighbour;
    for the image and its means over 2 x 2, 4 x 4 and 8 x 8 blocks, log(0.5 + mean
    absolute difference) of horizontal, then of vertical neighbours; log(4 + mean) of
    the 8 x 8 blocks in each quarter of the rows, top first; log(0.5 + standard
    deviation) of all 8 x 8 blocks.

    Args:
        image: uint8 `(height, width)`, multiples of 8, at least `SMALLEST_SIDE`.

    Returns:
        float64 `(STATISTICS,)`.

    Raises:
        ValueError: the image is too small.
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
