"""Finding the ultrasound image on a scanner's screen.

Around the B-mode image, a screen shows borders, text, menus and grey bars, which the
network was not trained on. Frames are uint8 grey `(height, width)`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_efsnet.images.components import Box, split_components
from keras_efsnet.images.grey import Size

LEVELS = (0.5, 1.0, 2.0, 3.0, 4.0)
"""Spreads in grey levels, tried as the threshold above which a cell is active."""

STROKES = 0.07
"""Smallest spread, as a fraction of the cell's range, that is not compressed text."""

CLEAR = 0.6
"""Smallest difference between the active fractions inside and outside of an image."""

LIVE_PART = 0.3
"""Smallest area of the moving region, as a fraction of the still image's area, to be
the image. One of two images side by side is larger, a moving needle is smaller."""

SMALLEST = 0.06
"""Smallest area of an image, as a fraction of the frame's."""

NARROWEST = 0.1
"""Smallest width and height of an image, as a fraction of the frame's."""

NEARLY_ALL = 0.9
"""A larger fraction of the frame's area counts as the whole frame."""

CELLS = 96
"""Number of cells along the frame's longer side."""


@dataclass(frozen=True)
class ScreenRegion:
    """A rectangle of a frame, in pixels.

    Example:
        >>> ScreenRegion.parse("100,40,640,480")
        ScreenRegion(left=100, top=40, width=640, height=480)
    """

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> "ScreenRegion":
        """Parses `left,top,width,height`.

        Raises:
            ValueError: the text has another form.
        """
        try:
            left, top, width, height = (int(number) for number in text.split(","))
        except ValueError:
            left = top = width = height = -1
        if min(left, top) < 0 or min(width, height) < 1:
            raise ValueError(
                "roi must be auto, or left,top,width,height in pixels, such as "
                f"100,40,640,480; got {text!r}."
            )
        return cls(left, top, width, height)

    @classmethod
    def whole(cls, size: Size) -> "ScreenRegion":
        """Returns the region of a whole frame of `size`."""
        return cls(0, 0, size[1], size[0])

    @property
    def slices(self) -> tuple[slice, slice]:
        """The region as an index of `(height, width)` arrays."""
        bottom, right = self.top + self.height, self.left + self.width
        return slice(self.top, bottom), slice(self.left, right)

    def to_frame(self, box: Box) -> Box:
        """Converts a box from the region's pixels to the frame's."""
        left, top, right, bottom = box
        x, y = self.left, self.top
        return left + x, top + y, right + x, bottom + y

    def check_inside(self, size: Size) -> None:
        """Raises ValueError unless the region lies in a frame of `size`."""
        height, width = size
        if self.left + self.width > width or self.top + self.height > height:
            raise ValueError(
                f"roi {self} reaches out of the frame, which is {width} pixels wide "
                f"and {height} high; make it smaller, or use auto."
            )

    def __str__(self) -> str:
        return f"{self.left},{self.top},{self.width},{self.height}"


def find_screen_region(frames: Sequence[np.ndarray]) -> ScreenRegion | None:
    """Finds the ultrasound image on a screen.

    The frame is divided into cells. A cell is active if its pixels spread around their
    median or, in live video, over time: speckle varies everywhere, text and menus only
    along thin strokes. The rectangle has the most active minus inactive cells. It is
    widened to the largest connected region, to include a sector's narrow end. Of
    several thresholds, the one that best separates inside from outside is used. Last,
    each side moves to the pixel where tissue begins.

    Chosen: the constants, on phantoms pasted into drawn screens, raw and as JPEG.

    Args:
        frames: frames of the first second, all of one size; one is enough.

    Returns:
        The rectangle, or None if no image is found.
    """
    cell = -(-max(frames[0].shape) // CELLS)
    middle = frames[len(frames) // 2]
    box = _clearest_box(_texture(middle, cell))
    if len(frames) > 1:
        live = _clearest_box(_motion(frames, cell))
        if live and (box is None or _area(live) > LIVE_PART * _area(box)):
            box = live
    if box is None:
        return None
    region = _fit(middle, box, cell)
    height, width = middle.shape
    if region.width < NARROWEST * width or region.height < NARROWEST * height:
        return None
    if region.width * region.height > NEARLY_ALL * middle.size:
        return ScreenRegion.whole(middle.shape)
    return region


def _area(box: Box) -> int:
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


def _texture(grey: np.ndarray, cell: int) -> np.ndarray:
    """Spread of each cell's pixels; 0 for text."""
    pixels = _cut(grey.astype(np.int16), cell)
    spread = _spread(pixels)
    return np.where(spread < STROKES * np.ptp(pixels, axis=-1), 0, spread)


def _motion(frames: Sequence[np.ndarray], cell: int) -> np.ndarray:
    """Median over a cell's pixels of their standard deviation in time."""
    return np.median(_cut(np.std(frames, axis=0), cell), axis=-1)


def _cut(values: np.ndarray, cell: int) -> np.ndarray:
    """`(height, width)` to `(rows, columns, cell * cell)`, padded with the edge."""
    height, width = values.shape
    padded = np.pad(values, ((0, -height % cell), (0, -width % cell)), "edge")
    rows, columns = padded.shape[0] // cell, padded.shape[1] // cell
    squares = padded.reshape(rows, cell, columns, cell).swapaxes(1, 2)
    return squares.reshape(rows, columns, cell * cell)


def _clearest_box(spread: np.ndarray) -> Box | None:
    """The box in cells whose inside and outside differ most, or None."""
    best, clearest = CLEAR, None
    for level in LEVELS:
        active = spread > level
        box = _densest_box(active)
        if _area(box) < SMALLEST * active.size:
            continue
        inside, outside = _shares(active, box)
        if inside - outside > best:
            best, clearest = inside - outside, _widen(box, active)
    return clearest


def _widen(box: Box, active: np.ndarray) -> Box:
    """The box around `box` and the largest connected region, if they meet."""
    eroded = ~_grow(~active)  # text and lines are narrower than the three cells
    regions = split_components(_grow(eroded))[1]
    left, top, right, bottom = box
    for other in regions[:1]:
        apart = other[0] >= right or other[2] <= left
        if not (apart or other[1] >= bottom or other[3] <= top):
            left, top = min(left, other[0]), min(top, other[1])
            right, bottom = max(right, other[2]), max(bottom, other[3])
    return left, top, right, bottom


def _grow(cells: np.ndarray) -> np.ndarray:
    """Dilation by the eight neighbours."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(cells, 1), (3, 3))
    return np.asarray(windows.any(axis=(2, 3)))


def _shares(active: np.ndarray, box: Box) -> tuple[float, float]:
    """The active fractions of the cells inside and outside a box."""
    left, top, right, bottom = box
    inside = int(active[top:bottom, left:right].sum())
    rest = active.size - _area(box)
    return inside / _area(box), (int(active.sum()) - inside) / max(rest, 1)


def _densest_box(active: np.ndarray) -> Box:
    """The box with the largest sum of +1 for active and -1 for other cells."""
    # Bentley (1984), "Programming pearls: algorithm design techniques": the maximum
    # subarray, for all pairs of first and last row.
    weight = np.where(active, 1, -1)
    sums = np.pad(weight.cumsum(axis=0), ((1, 0), (0, 0)))
    top, bottom = np.triu_indices(len(sums), k=1)
    running = np.pad((sums[bottom] - sums[top]).cumsum(axis=1), ((0, 0), (1, 0)))
    gain = running - np.minimum.accumulate(running, axis=1)
    rows, right = np.unravel_index(gain.argmax(), gain.shape)
    left = int(running[rows, : right + 1].argmin())
    return left, int(top[rows]), int(right), int(bottom[rows])


def _fit(grey: np.ndarray, box: Box, cell: int) -> ScreenRegion:
    """The box in pixels, with its sides moved to where tissue begins."""
    left, top, right, bottom = (cell * edge for edge in box)
    values = grey.astype(np.int16)
    rows = _log_spread(values[:, left:right])
    columns = _log_spread(values[top:bottom].T)
    top, bottom = _fit_span(rows, top, bottom, cell)
    left, right = _fit_span(columns, left, right, cell)
    return ScreenRegion(left, top, right - left, bottom - top)


def _log_spread(lines: np.ndarray) -> np.ndarray:
    """Log of each line's spread, so that dark tissue differs from flat background."""
    return np.log1p(_spread(lines))


def _spread(pixels: np.ndarray) -> np.ndarray:
    """Median absolute deviation along the last axis; robust to a few text pixels."""
    centre = np.median(pixels, axis=-1, keepdims=True)
    return np.asarray(np.median(np.abs(pixels - centre), axis=-1))


def _fit_span(spread: np.ndarray, start: int, end: int, cell: int) -> tuple[int, int]:
    size = len(spread)
    backwards = _fit_start(spread[::-1], max(size - end, 0), cell)
    return _fit_start(spread, start, cell), size - backwards


def _fit_start(spread: np.ndarray, start: int, cell: int) -> int:
    """Where the spread rises most within a cell of `start`."""
    # Zeros beyond the frame, so that an image may start at its edge.
    sums = np.pad(np.pad(spread, cell).cumsum(), (1, 0))
    places = np.arange(max(start - cell, 0), start + cell + 1)
    before, at, after = (sums[places + shift] for shift in (0, cell, 2 * cell))
    return int(places[(after - 2 * at + before).argmax()])
