"""Finding the black margins around a scan, as screen captures and letterboxing have."""

import math

import numpy as np

from keras_efsnet.images.components import find_extent
from keras_efsnet.images.grey import Size

DARK = 5
"""Highest grey level of a margin's pixels. JPEG leaves such levels in black."""


def inside_margins(image: np.ndarray, size: Size) -> tuple[slice, slice]:
    """Finds the rows and columns between an image's black margins.

    A margin is a border of rows or columns without a pixel above `DARK`. A black image
    has none.

    Args:
        image: uint8 `(h, w)`.
        size: `(height, width)` of the same picture at the size of the result.

    Returns:
        The rows and the columns, in pixels of `size`.
    """
    bright = image > DARK
    if not bright.any():
        return slice(None), slice(None)
    rows, columns = find_extent(bright)
    return (
        _scale(rows, size[0] / len(bright)),
        _scale(columns, size[1] / bright.shape[1]),
    )


def _scale(span: slice, factor: float) -> slice:
    return slice(math.floor(span.start * factor), math.ceil(span.stop * factor))
