"""Measurements of lesions, in millimetres where the file is calibrated.

The words are those of BI-RADS (ACR BI-RADS Atlas, 5th edition, 2013, Ultrasound); no
BI-RADS category is given.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_efsnet.images.components import Box, label_components
from keras_efsnet.images.frame import Frame, UltrasoundRegion
from keras_efsnet.images.margins import inside_margins
from keras_efsnet.prediction.polygons import polygon_area, trace_outlines
from keras_efsnet.prediction.postprocess import Prediction

Lesion = dict[str, Any]
"""An entry of a record's `lesions`."""

Scale = tuple[float, float]
"""Width and height of a pixel in millimetres."""

UNITS = ("mm", "px")

DIRECTIONS = 180
"""Directions of half a circle in which the diameter is measured, one per degree: it is
too small by one part in 25,000 at most."""

_ANGLES = np.arange(DIRECTIONS) * (math.pi / DIRECTIONS)
_WAYS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)])

TIE = 1e-9
"""Lengths that differ less are equal. Two parallel sides are equally far apart in many
places, and rounding errors, which depend on the processor, must not choose one."""

SMOOTHED = 5
"""Points of the outline whose mean is one point of the perimeter. Steps along pixels
are 5 % longer than a smooth outline, their means at most 1 %."""


def measure_lesions(frame: Frame, prediction: Prediction) -> list[Lesion]:
    """Measures each connected component of the mask.

    Args:
        frame: the image and its calibrated regions.
        prediction: of the frame.

    Returns:
        An entry for each lesion, in the order of `prediction.boxes`:

        - `number`, from 1, and `box`.
        - `longest_diameter_mm`, and `perpendicular_diameter_mm`, the longest one at
          right angles to it, from border to border of the convex hull.
        - `width_mm` and `height_mm` along the image's axes, `depth_mm`, from the top of
          the scan to the top of the lesion, and `area_mm2`.
        - `mean_probability` of lesion in the mask, before postprocessing.
        - `orientation`: "parallel" if the lesion is wider than high, else "not
          parallel".
        - `circularity`, 4 pi area / perimeter^2, 1 for a disc, and `solidity`, area /
          area of the convex hull; both without the lesion's holes.
        - `longest_diameter_points` and `perpendicular_diameter_points`, the ends as x
          and y in pixels; pixel `(0, 0)` covers 0 to 1.

        A lesion has millimetres if one calibrated region holds it and all regions that
        it touches have this calibration; else its keys end with `_px`.
    """
    if not prediction.boxes:
        return []
    edges = np.array(prediction.boxes)
    left, top = edges[:, :2].min(axis=0)
    right, bottom = edges[:, 2:].max(axis=0)
    labels = prediction.mask[top:bottom, left:right]  # one component is all True, or 1
    if len(edges) > 1:
        labels = label_components(labels)
    skin = _skin_row(frame)
    lesions = []
    for number, box in enumerate(prediction.boxes, start=1):
        rows, columns = (
            slice(box[1] - top, box[3] - top),
            slice(box[0] - left, box[2] - left),
        )
        lesion = labels[rows, columns] == number
        probability = prediction.probability[box[1] : box[3], box[0] : box[2]]
        mean = round(float(probability[lesion].mean()), 3)
        measures = _measure(frame, lesion, box, skin)
        lesions.append({"number": number, **measures, "mean_probability": mean})
    return lesions


def measure_area(frame: Frame, lesions: Sequence[Lesion]) -> dict[str, float | None]:
    """Returns `lesion_area_mm2`, the area of all lesions.

    It is None if a lesion has no millimetres. Empty if no region is calibrated.
    """
    if not any(region.millimetres for region in frame.regions):
        return {}
    if any(unit_of(lesion) != "mm" for lesion in lesions):
        return {"lesion_area_mm2": None}
    return {"lesion_area_mm2": round(sum(lesion["area_mm2"] for lesion in lesions), 2)}


def describe_size(lesion: Lesion) -> str:
    """The two diameters in words, such as "12.3 x 8.1 mm" or "123 x 81 px"."""
    unit = unit_of(lesion)
    digits = 1 if unit == "mm" else 0
    longest, across = (
        f"{lesion[f'{name}_diameter_{unit}']:.{digits}f}"
        for name in ("longest", "perpendicular")
    )
    return f"{longest} x {across} {unit}"


def unit_of(lesion: Lesion) -> str:
    """The unit of a lesion's lengths, one of `UNITS`."""
    return next(unit for unit in UNITS if f"longest_diameter_{unit}" in lesion)


def _measure(frame: Frame, lesion: np.ndarray, box: Box, skin: int) -> Lesion:
    """Measures a lesion, which is cut out of the mask by its box."""
    left, top, right, bottom = box
    scale = _find_scale(box, frame.regions)
    unit, x, y = ("px", 1.0, 1.0) if scale is None else ("mm", *scale)
    regions = [region.top for region in frame.regions if region.holds(box)]
    skin = min(regions, default=skin)
    outline = max(trace_outlines(lesion), key=polygon_area) * (x, y)
    hull = _convex_hull(outline)
    longest, across = _longest_diameter(hull), _perpendicular_diameter(hull)
    width, height = (right - left) * x, (bottom - top) * y
    lengths = {
        "longest_diameter": math.dist(*longest),
        "perpendicular_diameter": math.dist(*across),
        "width": width,
        "height": height,
        "depth": max(top - skin, 0) * y,
    }
    area = int(np.count_nonzero(lesion)) * x * y
    filled = polygon_area(outline)
    ends = {"longest_diameter": longest, "perpendicular_diameter": across}
    return {
        "box": list(box),
        **{f"{name}_{unit}": round(length, 2) for name, length in lengths.items()},
        "area_mm2" if scale else "area_px": round(area, 2),
        "orientation": "parallel" if width > height else "not parallel",
        "circularity": round(_circularity(outline, filled), 3),
        "solidity": round(filled / polygon_area(hull), 3),
        **{
            # + 0.0 makes 0 of -0.
            f"{name}_points": (
                np.round(points / (x, y) + (left, top), 2) + 0.0
            ).tolist()
            for name, points in ends.items()
        },
    }


def _find_scale(box: Box, regions: Sequence[UltrasoundRegion]) -> Scale | None:
    scales = {region.millimetres for region in regions if region.touches(box)}
    is_held = any(region.holds(box) for region in regions)
    return scales.pop() if is_held and len(scales) == 1 else None


def _skin_row(frame: Frame) -> int:
    """The first row of the scan, for lesions outside of the file's regions."""
    if frame.scan is not None:
        return frame.scan.top
    return inside_margins(frame.pixels, frame.pixels.shape)[0].start or 0


def _convex_hull(points: np.ndarray) -> np.ndarray:
    """The points that lie farthest in each direction, clockwise as in an image."""
    ends = _row_ends(points)
    along = _project(ends)
    places = np.concatenate([along.argmax(0), along.argmin(0)])
    return ends[places[places != np.roll(places, 1)]]


def _project(points: np.ndarray) -> np.ndarray:
    """The points' positions in each direction, `(points, DIRECTIONS)`."""
    # `points @ _WAYS` starts BLAS's threads, which then keep the cores busy waiting.
    return np.einsum("ij,jk->ik", points, _WAYS)


def _row_ends(points: np.ndarray) -> np.ndarray:
    """The first and the last point of each row: the hull has no others."""
    points = points[np.lexsort(points.T)]
    new_row = np.diff(points[:, 1], prepend=-1) > 0
    return points[new_row | np.roll(new_row, -1)]


def _longest_diameter(hull: np.ndarray) -> np.ndarray:
    """The two points that are farthest apart, from left to right."""
    along = _project(hull)
    way = _first_widest(np.ptp(along, axis=0))
    ends = hull[[along[:, way].argmin(), along[:, way].argmax()]]
    return ends[np.lexsort(ends.T[::-1])]


def _perpendicular_diameter(hull: np.ndarray) -> np.ndarray:
    """The ends of the longest line in the hull at right angles to the diameter."""
    start, end = _longest_diameter(hull)
    along = (end - start) / math.dist(start, end)
    across = np.array([-along[1], along[0]])
    u, v = (hull - start) @ along, (hull - start) @ across
    order = np.argsort(u)
    u, v = u[order], v[order]
    # The diameter's own ends belong to both sides, whatever their rounding error.
    sides = [np.interp(u, u[keep], v[keep]) for keep in (v <= TIE, v >= -TIE)]
    widest = _first_widest(sides[1] - sides[0])
    return np.array([start + u[widest] * along + s[widest] * across for s in sides])


def _first_widest(widths: np.ndarray) -> int:
    return int((widths >= widths.max() - TIE).argmax())


def _circularity(outline: np.ndarray, area: float) -> float:
    shifts = range(-(SMOOTHED // 2), SMOOTHED // 2 + 1)
    smooth = sum(np.roll(outline, shift, axis=0) for shift in shifts) / SMOOTHED
    steps = np.roll(smooth, -1, axis=0) - smooth
    perimeter = float(np.hypot(*steps.T).sum())
    return min(4 * math.pi * area / perimeter**2, 1.0) if perimeter else 1.0
