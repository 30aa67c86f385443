"""Connected components of a mask, in NumPy.

Rows are split into runs of mask pixels and touching runs are joined. The work grows
with the number of runs, not of pixels.
"""

from dataclasses import dataclass

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
    runs = _find_runs(mask[rows, columns])
    kept = runs.area >= minimum_area
    order = np.argsort(-runs.area, kind="stable")
    boxes = _boxes(runs)[order[kept[order]]] + [columns.start, rows.start] * 2
    cleaned = np.zeros(mask.shape, bool)
    cleaned[rows, columns] = _paint(runs, kept.astype(np.int8)[runs.component])
    return cleaned, [(box[0], box[1], box[2], box[3]) for box in boxes.tolist()]


def label_components(mask: np.ndarray) -> np.ndarray:
    """Numbers the 8-connected components of a mask from 1, largest area first.

    The order is that of the boxes of `split_components`.

    Args:
        mask: bool `(height, width)`.

    Returns:
        int32 `(height, width)`, 0 outside of the components.
    """
    rows, columns = find_extent(mask)
    runs = _find_runs(mask[rows, columns])
    order = np.argsort(-runs.area, kind="stable")
    number = np.empty(len(order), np.int32)
    number[order] = np.arange(1, len(order) + 1)
    labels = np.zeros(mask.shape, np.int32)
    labels[rows, columns] = _paint(runs, number[runs.component])
    return labels


@dataclass(frozen=True, eq=False)
class _Runs:
    """The runs of a mask's pixels, in rows of `width` pixels and two empty ones.

    The empty pixels keep the runs of neighbouring rows apart, diagonals included.

    Attributes:
        starts, ends: flat positions; ends are exclusive.
        component: the number of each run's component, from 0.
        area: pixels of each component.
        size: `(height, width)` of the mask.
    """

    starts: np.ndarray
    ends: np.ndarray
    component: np.ndarray
    area: np.ndarray
    size: tuple[int, int]

    @property
    def stride(self) -> int:
        return self.size[1] + 2


def _find_runs(mask: np.ndarray) -> _Runs:
    height, width = mask.shape
    starts, ends = _split_rows(mask, width + 2)
    component = _join(len(starts), *_touching(starts, ends, width + 2))
    count = component.max(initial=-1) + 1
    area = np.bincount(component, weights=ends - starts, minlength=count)
    return _Runs(starts, ends, component, area, (height, width))


def _split_rows(mask: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
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


def _boxes(runs: _Runs) -> np.ndarray:
    row, left = np.divmod(runs.starts, runs.stride)
    lowest = np.full((len(runs.area), 2), np.iinfo(np.int64).max)
    highest = np.zeros((len(runs.area), 2), np.int64)
    np.minimum.at(lowest, runs.component, np.stack([left, row], axis=1))
    corner = np.stack([left + runs.ends - runs.starts, row + 1], axis=1)
    np.maximum.at(highest, runs.component, corner)
    return np.concatenate([lowest, highest], axis=1)


def _paint(runs: _Runs, values: np.ndarray) -> np.ndarray:
    """Gives the pixels of each run its value, 0 elsewhere, in the values' dtype."""
    height, width = runs.size
    steps = np.zeros(height * runs.stride + 1, values.dtype)
    steps[runs.starts] += values
    steps[runs.ends] -= values
    painted = np.cumsum(steps[:-1], dtype=values.dtype)
    return painted.reshape(height, runs.stride)[:, :width]
