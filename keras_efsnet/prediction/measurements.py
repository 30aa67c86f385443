"""The size of a lesion in millimetres."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_efsnet.images.components import Box
from keras_efsnet.images.frame import Frame, UltrasoundRegion
from keras_efsnet.prediction.postprocess import Prediction

Scale = tuple[float, float]
"""Width and height of a pixel in millimetres."""


def measure_lesion(frame: Frame, prediction: Prediction) -> dict[str, Any]:
    """Measures the lesion in millimetres, for predictions.json.

    Returns:
        `lesion_area_mm2`, and `box_sizes_mm`, width and height of each box. A box has
        no size (None) unless one calibrated region holds it and all regions that it
        touches have this calibration. The area is None if a box has no size. Empty if
        no region is calibrated.
    """
    if not any(region.millimetres for region in frame.regions):
        return {}
    boxes = prediction.boxes
    scales = [_find_scale(box, frame.regions) for box in boxes]
    return {
        "lesion_area_mm2": _area(prediction.mask, boxes, scales),
        "box_sizes_mm": list(map(_size, boxes, scales)),
    }


def _find_scale(box: Box, regions: Sequence[UltrasoundRegion]) -> Scale | None:
    scales = {region.millimetres for region in regions if region.touches(box)}
    is_held = any(region.holds(box) for region in regions)
    return scales.pop() if is_held and len(scales) == 1 else None


def _area(
    mask: np.ndarray, boxes: Sequence[Box], scales: Sequence[Scale | None]
) -> float | None:
    pixel_area = np.zeros(mask.shape)
    for (left, top, right, bottom), scale in zip(boxes, scales, strict=True):
        if scale is None:
            return None
        # Boxes that overlap have one scale.
        pixel_area[top:bottom, left:right] = math.prod(scale)
    return round(float(pixel_area[mask].sum()), 2)


def _size(box: Box, scale: Scale | None) -> list[float] | None:
    if scale is None:
        return None
    left, top, right, bottom = box
    x, y = scale
    return [round((right - left) * x, 2), round((bottom - top) * y, 2)]
