"""One image of a file or a live source, with all that its source says of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_efsnet.images.screen_region import ScreenRegion


@dataclass(frozen=True)
class UltrasoundRegion:
    """A part of a DICOM frame that shows ultrasound.

    Attributes:
        left, top, right, bottom: in pixels; right and bottom are exclusive.
        millimetres: width and height of a pixel; None where it is not calibrated, or
            shows something else than a plane (Doppler, M-mode).
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
        return (
            self.left <= left
            and self.top <= top
            and right <= self.right
            and bottom <= self.bottom
        )


@dataclass(frozen=True, eq=False)
class Frame:
    """One grey image.

    Attributes:
        pixels: uint8 `(height, width)`.
        source: the file it was read from; None for an array.
        number: number of the frame in its file, from 1; None where the file is one
            image by its kind (PNG, a TIFF of one page).
        count: frames in the file.
        regions: the parts that show ultrasound, each with its millimetres a pixel;
            empty where the source does not tell.
        scan: the part that the network is to see, where one was asked for; None is the
            whole frame.
    """

    pixels: np.ndarray
    source: Path | None = None
    number: int | None = None
    count: int = 1
    regions: tuple[UltrasoundRegion, ...] = ()
    scan: ScreenRegion | None = None


@dataclass(frozen=True)
class DamagedFrame:
    """A frame that cannot be decoded, while others of its file can.

    Attributes:
        source, number, count: as of `Frame`.
        problem: what is wrong with it, in one line that names the file.
    """

    source: Path
    number: int | None
    count: int
    problem: str
