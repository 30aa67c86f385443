"""Connected components of a mask, in NumPy.

Rows are split into runs of mask pixels and touching runs are joined. The work grows
with the number of runs, not of pixels.
"""

import numpy as np

Box = tuple[int, int, int, int]


def find_extent(mask: np.ndarray) -> tuple[slice, slice]:
    """Finds the smallest rectangle of rows and columns that holds a bool mask."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def split_components(
    mask: np.ndarray, minimum_area: float = 0.0
) -> tuple[np.ndarray, list[Box]]:
    """Finds the 8-connected components of a mask and drops the small ones.

    Args:
        mask: bool `(height, width)`.
        minimum_area: components of fewer pixels are dropped.

    Returns:
        The mask without the dropped components, and the boxes `(left, top, right,
        bottom)` of the others, largest area first; right and bottom are exclusive.
    """
    rows, columns = find_extent(mask)
    cleaned = np.zeros(mask.shape, bool)
    cleaned[rows, columns], boxes = _split(mask[rows, columns], minimum_area)
    corner = np.tile([columns.start, rows.start], 2)
    return cleaned, [(b[0], b[1], b[2], b[3]) for b in (boxes + corner).tolist()]


def _split(mask: np.ndarray, minimum_area: float) -> tuple[np.ndarray, np.ndarray]:
    height, width = mask.shape
    # Two empty columns separate the runs of neighbouring rows, diagonals included.
    stride = width + 2
    starts, ends = _runs(mask, stride)
    component = _join(len(starts), *_touching(starts, ends, stride))
    count = component.max(initial=-1) + 1
    area = np.bincount(component, weights=ends - starts, minlength=count)

    kept = area >= minimum_area
    order = np.argsort(-area, kind="stable")
    boxes = _boxes(starts, ends, stride, component, count)[order[kept[order]]]
    kept_runs = kept[component]
    cleaned = _paint(starts[kept_runs], ends[kept_runs], height * stride)
    return cleaned.reshape(height, stride)[:, :width], boxes


def _runs(mask: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat start and end (exclusive) of each run, in rows of `stride` pixels."""
    height, width = mask.shape
    padded = np.zeros((height, stride), np.int8)
    padded[:, :width] = mask
    steps = np.diff(padded.ravel(), prepend=0)
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)


def _touching(
    starts: np.ndarray, ends: np.ndarray, stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs that touch, the first one row above the second."""
    first = np.searchsorted(ends, starts + stride, side="left")
    past = np.searchsorted(starts, ends + stride, side="right")
    counts = past - first
    above = np.repeat(np.arange(len(starts)), counts)
    rank = np.arange(len(above)) - np.repeat(np.cumsum(counts) - counts, counts)
    return above, np.repeat(first, counts) + rank


def _join(count: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Unites each `one[k]` with `other[k]` (union-find on arrays), numbers the sets."""
    parent = np.arange(count)
    while True:
        low = np.minimum(parent[one], parent[other])
        high = np.maximum(parent[one], parent[other])
        apart = low != high
        if not apart.any():
            return np.unique(parent, return_inverse=True)[1]
        one, other = one[apart], other[apart]
        np.minimum.at(parent, high[apart], low[apart])
        while not np.array_equal(parent, flat := parent[parent]):
            parent = flat


def _boxes(
    starts: np.ndarray, ends: np.ndarray, stride: int, component: np.ndarray, count: int
) -> np.ndarray:
    row, left = np.divmod(starts, stride)
    lowest = np.full((count, 2), np.iinfo(np.int64).max)
    highest = np.zeros((count, 2), np.int64)
    np.minimum.at(lowest, component, np.stack([left, row], axis=1))
    corner = np.stack([left + ends - starts, row + 1], axis=1)
    np.maximum.at(highest, component, corner)
    return np.concatenate([lowest, highest], axis=1)


def _paint(starts: np.ndarray, ends: np.ndarray, size: int) -> np.ndarray:
    steps = np.zeros(size + 1, np.int8)
    steps[starts] += 1
    steps[ends] -= 1
    return np.cumsum(steps[:-1], dtype=np.int8).astype(bool)
