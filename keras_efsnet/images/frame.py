"""One image of a file or live source, with its metadata."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_efsnet.images.screen_region import ScreenRegion


@dataclass(frozen=True)
class UltrasoundRegion:
    """A part of a DICOM frame that shows ultrasound.

    Attributes:
        left, top, right, bottom: in pixels; right and bottom are exclusive.
        millimetres: width and height of a pixel; None if it is not calibrated or not
            an image of tissue or flow in a plane (spectral Doppler, M-mode).
    """

    left: int
    top: int
    right: int
    bottom: int
    millimetres: tuple[float, float] | None

    @property
    def pixels(self) -> tuple[slice, slice]:
        """The region as an index of `(height, width)` arrays."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def holds(self, box: tuple[int, int, int, int]) -> bool:
        """Whether a box, `(left, top, right, bottom)`, lies inside."""
        left, top, right, bottom = box
        starts_inside = self.left <= left and self.top <= top
        return starts_inside and right <= self.right and bottom <= self.bottom

    def touches(self, box: tuple[int, int, int, int]) -> bool:
        """Whether a box, `(left, top, right, bottom)`, has pixels inside."""
        left, top, right, bottom = box
        overlaps = left < self.right and self.left < right
        return overlaps and top < self.bottom and self.top < bottom


@dataclass(frozen=True, eq=False)
class Frame:
    """One grey image.

    Attributes:
        pixels: uint8 `(height, width)`.
        source: its file; None for an array.
        number: number of the frame in its file, from 1; None for a single image (PNG,
            a TIFF of one page).
        count: frames in the file.
        regions: the parts that show ultrasound; empty if unknown.
        scan: the part that the network sees; None is the whole frame.
        fps: frames per second that the file states; None if it states none.
    """

    pixels: np.ndarray
    source: Path | None = None
    number: int | None = None
    count: int = 1
    regions: tuple[UltrasoundRegion, ...] = ()
    scan: ScreenRegion | None = None
    fps: float | None = None


@dataclass(frozen=True)
class DamagedFrame:
    """A frame that cannot be decoded; others of its file may be whole.

    Attributes:
        source, number, count: as in `Frame`.
        problem: the error, in one line that names the file.
    """

    source: Path
    number: int | None
    count: int
    problem: str
