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
    outlines = trace_outlines(mask)
    return [_simplify(outline) for outline in outlines if polygon_area(outline) > 0]


def trace_outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Outlines the 8-connected components of a mask and their holes.

    Args:
        mask: bool `(height, width)`.

    Returns:
        For each outline float64 `(points, 2)`, the middle of each pixel's border in
        order: clockwise for a component, counter-clockwise for a hole. Outlines are in
        row order of their first point.
    """
    corners = mask.shape[1] + 1
    steps = _border_steps(mask, corners)
    if not steps.size:
        return []
    order, starts = _order_cycles(_find_next(steps, corners))
    corner, direction = np.divmod(steps[order], 4)
    y, x = np.divmod(corner, corners)
    points = np.stack([x, y], axis=1) + np.array(_STEPS)[direction] / 2
    return np.split(points, starts)


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


def _border_steps(mask: np.ndarray, corners: int) -> np.ndarray:
    """Sorted steps along the pixels' borders, with the mask on their right.

    Args:
        mask: bool `(height, width)`.
        corners: pixel corners in a row, `width + 1`.

    Returns:
        int64 `(steps,)`, four times the flat number of the corner that a step leaves,
        plus its direction in `_STEPS`.
    """
    # Rows of as many pixels as corners: a pixel has the number of its top left corner.
    padded = np.pad(mask, ((1, 1), (0, 1))).ravel()
    inside = padded[corners:-corners]
    sides = (  # where the neighbour of the first pixel is, and the corner to leave
        (0, 0),  # above: step right from the top left corner
        (corners + 1, 1),
        (2 * corners, corners + 1),
        (corners - 1, corners),
    )
    steps = []
    for direction, (neighbour, corner) in enumerate(sides):
        is_border = inside & ~padded[neighbour : neighbour + inside.size]
        steps.append((np.flatnonzero(is_border) + corner) * 4 + direction)
    return np.sort(np.concatenate(steps))


def _find_next(steps: np.ndarray, corners: int) -> np.ndarray:
    """The index of the step that follows each step."""
    corner, direction = np.divmod(steps, 4)
    end = corner + np.array([x + corners * y for x, y in _STEPS])[direction]
    following = np.empty(len(steps), np.int64)
    # The last one, the left turn, joins pixels that touch at a corner.
    for turn in (1, 0, -1):
        wanted = end * 4 + (direction + turn) % 4
        place = np.searchsorted(steps, wanted).clip(max=len(steps) - 1)
        following = np.where(steps[place] == wanted, place, following)
    return following


def _order_cycles(following: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lists the cycles of a permutation one after another, each from its first item.

    Each round doubles the distance that an item looks ahead.

    Returns:
        The items in this order, and where each cycle but the first one starts.
    """
    items = np.arange(len(following))
    rounds = len(following).bit_length()
    first, ahead = items, following
    for _ in range(rounds):
        first, ahead = np.minimum(first, first[ahead]), ahead[ahead]
    is_last = following == first
    left = (~is_last).astype(np.int64)  # steps to the cycle's last item
    ahead = np.where(is_last, items, following)
    for _ in range(rounds):
        left, ahead = left + left[ahead], ahead[ahead]
    order = np.lexsort((-left, first))
    return order, np.flatnonzero(np.diff(first[order])) + 1


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
