"""Conversion of masks to polygons and back, in NumPy.

Coordinates are continuous: pixel `(0, 0)` covers the square from `(0, 0)` to `(1, 1)`,
as in COCO and LabelMe.
"""

import numpy as np

TOLERANCE = 0.6
"""Largest distance in pixels of a simplified outline from the pixels' borders."""

# Steps along the pixels' borders, clockwise: right, down, left, up.
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def trace_polygons(mask: np.ndarray) -> list[np.ndarray]:
    """Outlines the 8-connected components of a mask; holes are filled.

    Args:
        mask: bool `(height, width)`.

    Returns:
        For each component float64 `(points, 2)` of x and y, at least three points,
        clockwise. Components are in row order of their first pixel.
    """
    outlines = _follow(_borders(mask))
    return [_simplify(outline) for outline in outlines if polygon_area(outline) > 0]


def polygon_area(points: np.ndarray) -> float:
    """Area in square pixels; negative for counter-clockwise points, as of a hole."""
    x, y = points.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def fill_polygon(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Fills a polygon: a pixel is inside if its centre is.

    Args:
        points: float `(points, 2)` of x and y.
        shape: `(height, width)` of the bool mask returned.
    """
    height, width = shape
    x, y = points.T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    centres = np.arange(height) + 0.5
    crossed = (y[:, None] <= centres) != (next_y[:, None] <= centres)
    edge, row = np.nonzero(crossed)
    along = (centres[row] - y[edge]) / (next_y[edge] - y[edge])
    cut = x[edge] + along * (next_x[edge] - x[edge])
    # Each crossing toggles inside and outside for the pixels on its right.
    switches = np.zeros((height, width + 1), np.int64)
    column = np.ceil(cut - 0.5).clip(0, width).astype(int)
    np.add.at(switches, (row, column), 1)
    return np.cumsum(switches, axis=1)[:, :width] % 2 == 1


def _borders(mask: np.ndarray) -> dict[tuple[int, int], list[int]]:
    """Directions of the border steps from each corner, with the mask on their right."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    neighbours = (
        (padded[:-2, 1:-1], (0, 0)),  # above: step right from the top left corner
        (padded[1:-1, 2:], (1, 0)),
        (padded[2:, 1:-1], (1, 1)),
        (padded[1:-1, :-2], (0, 1)),
    )
    leaving: dict[tuple[int, int], list[int]] = {}
    for direction, (neighbour, (right, down)) in enumerate(neighbours):
        for y, x in np.argwhere(inside & ~neighbour).tolist():
            leaving.setdefault((x + right, y + down), []).append(direction)
    return leaving


def _follow(leaving: dict[tuple[int, int], list[int]]) -> list[np.ndarray]:
    """Joins steps to closed outlines through the steps' midpoints."""
    outlines = []
    for corner in sorted(leaving, key=lambda place: place[::-1]):
        direction = 0
        middles = []
        while corner in leaving:
            directions = leaving[corner]
            # The left turn joins pixels that touch at a corner.
            left = (direction - 1) % 4
            direction = left if left in directions else directions[0]
            directions.remove(direction)
            if not directions:
                del leaving[corner]
            (x, y), (right, down) = corner, _STEPS[direction]
            middles.append((x + right / 2, y + down / 2))
            corner = (x + right, y + down)
        if middles:
            outlines.append(np.array(middles))
    return outlines


def _simplify(outline: np.ndarray) -> np.ndarray:
    """Simplifies an outline within `TOLERANCE` (Douglas and Peucker 1973)."""
    closed = np.vstack([outline, outline[:1]])
    farthest = int(np.hypot(*(outline - outline[0]).T).argmax())
    kept = {0, farthest}
    pending = [(0, farthest), (farthest, len(outline))]
    while pending:
        first, last = pending.pop()
        between = closed[first + 1 : last] - closed[first]
        chord = closed[last] - closed[first]
        offsets = np.abs(between[:, 0] * chord[1] - between[:, 1] * chord[0])
        if offsets.size and offsets.max() > TOLERANCE * np.hypot(*chord):
            middle = first + 1 + int(offsets.argmax())
            kept.add(middle)
            pending += [(first, middle), (middle, last)]
    points = outline[sorted(kept)]
    return points if len(points) > 2 else outline
