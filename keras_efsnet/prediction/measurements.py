"""The size of a lesion in millimetres."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_efsnet.images.components import Box
from keras_efsnet.images.frame import Frame, UltrasoundRegion
from keras_efsnet.prediction.postprocess import Prediction


def measure_lesion(frame: Frame, prediction: Prediction) -> dict[str, Any]:
    """Measures the lesion in millimetres, for predictions.json.

    Returns:
        `lesion_area_mm2`, and `box_sizes_mm`, width and height of each box. A value is
        None if it lies outside the calibrated regions or across two of them. Empty if
        no region is calibrated.
    """
    regions = frame.regions
    if not any(region.millimetres for region in regions):
        return {}
    pixel_area = np.full(prediction.mask.shape, np.nan)
    for region in reversed(regions):  # the first of overlapping regions counts
        if region.millimetres:
            pixel_area[region.pixels] = math.prod(region.millimetres)
    area = float(pixel_area[prediction.mask].sum())
    return {
        "lesion_area_mm2": None if math.isnan(area) else round(area, 2),
        "box_sizes_mm": [_box_size(box, regions) for box in prediction.boxes],
    }


def _box_size(box: Box, regions: Sequence[UltrasoundRegion]) -> list[float] | None:
    left, top, right, bottom = box
    for region in regions:
        if region.millimetres and region.holds(box):
            x, y = region.millimetres
            return [round((right - left) * x, 2), round((bottom - top) * y, 2)]
    return None
