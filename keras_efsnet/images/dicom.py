"""Ultrasound images in DICOM files: frames as grey images, and sizes in millimetres.

Only the tags that pixels and calibration need are read. What pydicom says of a file can
quote any of its values, so its warnings, log lines and error texts are not passed on:
names of patients stay in the file.
"""

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from keras_efsnet.images import SUFFIXES as PICTURE_SUFFIXES
from keras_efsnet.images import to_grey
from keras_efsnet.prediction import Prediction

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = (".dcm", ".dicom")
PHOTOMETRIC = (
    "MONOCHROME1",
    "MONOCHROME2",
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_ICT",
    "YBR_RCT",
    "PALETTE COLOR",
)
_TWO_DIMENSIONAL, _CENTIMETRES = 1, 3  # of RegionSpatialFormat, PhysicalUnits


@dataclass(frozen=True)
class Region:
    """A part of the frame that shows ultrasound.

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

    def holds(self, box: Sequence[int]) -> bool:
        """Whether a box, `(left, top, right, bottom)`, lies inside."""
        left, top, right, bottom = box
        return (
            self.left <= left
            and self.top <= top
            and right <= self.right
            and bottom <= self.bottom
        )


@dataclass(frozen=True)
class Header:
    """What is known of a file without its pixels."""

    frames: int
    regions: tuple[Region, ...]


def is_dicom(path: Path) -> bool:
    """Whether a file has DICOM's mark, and not the ending of another image format.

    Raises:
        OSError: the file cannot be read.
    """
    if path.suffix.lower() in PICTURE_SUFFIXES or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_header(path: Path) -> Header:
    """Reads the number of frames and the ultrasound regions.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, holds no image, or pydicom is not installed.
    """
    with _without_its_words(path):
        tags = _read_tags(path)
        frames = int(tags.get("NumberOfFrames") or 1)
        regions = tuple(map(_region, tags.get("SequenceOfUltrasoundRegions") or ()))
    # A frame takes 8 bytes even where it is compressed to nothing.
    if not 1 <= frames <= path.stat().st_size // 8:
        raise ValueError(f"{path}: damaged DICOM file: it cannot hold {frames} frames.")
    return Header(frames, regions)


def read_frame(path: Path, frame: int = 1) -> np.ndarray:
    """Reads one frame as an 8-bit grey image; no other frame is held in memory.

    Values of more than 8 bits keep their highest 8; windows (VOI LUT) are not applied.

    Args:
        path: the file; grey, RGB, YBR or palette, uncompressed, RLE, or compressed as
            JPEG baseline, JPEG 2000 or what else pydicom has a decoder for.
        frame: number of the frame, from 1.

    Returns:
        uint8 `(height, width)`.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, holds no image of these kinds, or pydicom is not
            installed.
    """
    with _without_its_words(path):
        tags = _read_tags(path)
        _check_kind(tags)
        return _decode(path, frame)


def read_only_frame(path: Path) -> np.ndarray:
    """Reads the frame of a file that holds one, as `read_frame`."""
    frames = read_header(path).frames
    if frames > 1:
        raise ValueError(
            f"{path}: one image a file is read here, got {frames}; `efsnet predict` "
            "and dicom.read_frame read each frame."
        )
    return read_frame(path)


def lesion_size(prediction: Prediction, regions: Sequence[Region]) -> dict[str, Any]:
    """The lesion's size in millimetres, for predictions.json.

    Returns:
        `lesion_area_mm2`, and `box_sizes_mm`, width and height of each of the
        prediction's boxes; None for what lies outside the calibrated regions or across
        two of them. Empty where no region is calibrated.
    """
    if not any(region.millimetres for region in regions):
        return {}
    pixel_area = np.full(prediction.mask.shape, np.nan)
    for region in reversed(regions):  # where two overlap, the first one counts
        if region.millimetres:
            pixel_area[region.pixels] = math.prod(region.millimetres)
    area = float(pixel_area[prediction.mask].sum())
    return {
        "lesion_area_mm2": None if math.isnan(area) else round(area, 2),
        "box_sizes_mm": [_box_size(box, regions) for box in prediction.boxes],
    }


def hide_outside(grey: np.ndarray, regions: Sequence[Region]) -> np.ndarray:
    """Blackens what lies outside all regions, where scanners write names.

    An image without regions is returned as it is.
    """
    if not regions:
        return grey
    shown = np.zeros_like(grey)
    for region in regions:
        shown[region.pixels] = grey[region.pixels]
    return shown


class _Problem(ValueError):
    """An error in our own words."""


@contextmanager
def _without_its_words(path: Path) -> Iterator[None]:
    """Keeps pydicom's texts back and names the file in ours."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except _Problem as problem:
        raise ValueError(f"{path}: {problem}") from None
    except ImportError:
        raise ValueError(
            f"{path}: DICOM files need pydicom; install it: "
            'pip install "keras-efsnet[dicom]".'
        ) from None
    # pydicom lets through whatever a damaged file raises.
    except Exception as error:
        if isinstance(error, OSError) and error.filename:
            raise
        raise ValueError(
            f"{path}: damaged DICOM file ({type(error).__name__}); save or copy it "
            "again."
        ) from None
    finally:
        logger.setLevel(level)


def _read_tags(path: Path) -> "Dataset":
    import pydicom

    meta = pydicom.filereader.read_file_meta_info(path)
    # It would be inflated whole, whatever size it then has.
    if meta.get("TransferSyntaxUID") == pydicom.uid.DeflatedExplicitVRLittleEndian:
        raise _Problem("deflated DICOM files are not read; save it uncompressed.")
    names = ["NumberOfFrames", "SequenceOfUltrasoundRegions", "Rows", "Columns"]
    names += ["PhotometricInterpretation", "PixelRepresentation", "BitsStored"]
    tags = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=names)
    if not tags.get("Rows") or not tags.get("Columns"):
        raise _Problem("no image in this DICOM file; give one with pixels.")
    return tags


def _check_kind(tags: "Dataset") -> None:
    from pydicom.pixels import get_decoder

    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and tags.Rows * tags.Columns > limit:
        raise _Problem(
            f"{tags.Columns} x {tags.Rows} pixels are more than {limit}; save a "
            "smaller image."
        )
    if tags.get("PhotometricInterpretation") not in PHOTOMETRIC:
        raise _Problem(f"photometric interpretation is none of {PHOTOMETRIC}.")
    if tags.PixelRepresentation or not 8 <= tags.BitsStored <= 16:
        raise _Problem("pixels must be unsigned with 8 to 16 bits; save it so.")
    try:
        decodable = get_decoder(tags.file_meta.TransferSyntaxUID).is_available
    except NotImplementedError:
        decodable = False
    if not decodable:
        raise _Problem(
            "compressed in a way that pydicom does not decode here; save it "
            "uncompressed."
        )


def _decode(path: Path, frame: int) -> np.ndarray:
    from pydicom import Dataset
    from pydicom.pixels import apply_color_lut, pixel_array

    tags = Dataset()
    pixels = pixel_array(path, ds_out=tags, index=frame - 1)
    if tags.PhotometricInterpretation == "PALETTE COLOR":
        return to_grey(apply_color_lut(pixels, tags))
    pixels = (pixels >> (tags.BitsStored - 8)).clip(0, 255).astype(np.uint8)
    grey = to_grey(pixels)
    return 255 - grey if tags.PhotometricInterpretation == "MONOCHROME1" else grey


def _region(tags: "Dataset") -> Region:
    return Region(
        left=max(tags.RegionLocationMinX0, 0),
        top=max(tags.RegionLocationMinY0, 0),
        right=tags.RegionLocationMaxX1 + 1,
        bottom=tags.RegionLocationMaxY1 + 1,
        millimetres=_calibration(tags),
    )


def _calibration(tags: "Dataset") -> tuple[float, float] | None:
    units = [tags.get(f"PhysicalUnits{axis}Direction") for axis in "XY"]
    # Where the axis points against the pixels' order, the delta is negative.
    deltas = [abs(tags.get(f"PhysicalDelta{axis}") or 0.0) for axis in "XY"]
    plane = tags.get("RegionSpatialFormat") == _TWO_DIMENSIONAL
    if not plane or units != [_CENTIMETRES] * 2 or not all(deltas):
        return None
    x, y = (10 * delta for delta in deltas)
    return (x, y) if math.isfinite(x * y) else None


def _box_size(box: Sequence[int], regions: Sequence[Region]) -> list[float] | None:
    left, top, right, bottom = box
    for region in regions:
        if region.millimetres and region.holds(box):
            x, y = region.millimetres
            return [round((right - left) * x, 2), round((bottom - top) * y, 2)]
    return None
