"""Grey frames and calibrated ultrasound regions of DICOM files.

Only the tags for pixels and calibration are read. pydicom's warnings, log lines and
errors can quote any value, such as a patient's name, so they are not passed on.
"""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image

from keras_efsnet.images.frame import DamagedFrame, Frame, UltrasoundRegion
from keras_efsnet.images.grey import to_grey

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
_TWO_DIMENSIONAL, _CENTIMETRES = 1, 3  # RegionSpatialFormat, PhysicalUnits


def has_mark(file: BinaryIO) -> bool:
    """Returns whether an open file has DICOM's mark, and rewinds it."""
    mark = file.read(132)[128:]
    file.seek(0)
    return mark == b"DICM"


def read_frames(path: Path, file: BinaryIO) -> Iterator[Frame | DamagedFrame]:
    """Reads frames as 8-bit grey, with one frame at a time in memory.

    Values of more than 8 bits keep their highest 8; windows (VOI LUT) are not applied.

    Args:
        path: the file's name; grey, RGB, YBR or palette, uncompressed, RLE, JPEG
            baseline, JPEG 2000, or another compression that pydicom can decode.
        file: the open file.

    Yields:
        A `Frame` with its regions, or a `DamagedFrame` if decoding fails.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, holds no image, or pydicom is not installed.
    """
    with _without_its_words(path):
        tags = _read_tags(file)
        count = int(tags.get("NumberOfFrames") or 1)
        regions = tuple(map(_region, tags.get("SequenceOfUltrasoundRegions") or ()))
    # Even an empty compressed frame takes 8 bytes.
    if not 1 <= count <= path.stat().st_size // 8:
        raise ValueError(f"{path}: damaged DICOM file: it cannot hold {count} frames.")
    for number in range(1, count + 1):
        try:
            with _without_its_words(path):
                _check_kind(tags)
                grey = _decode(file, number)
        except ValueError as error:
            yield DamagedFrame(path, number, count, str(error))
        else:
            yield Frame(grey, path, number, count, regions)


class _Problem(ValueError):
    """An error with our own text."""


@contextmanager
def _without_its_words(path: Path) -> Iterator[None]:
    """Replaces pydicom's messages with ours, which name the file."""
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
    # A damaged file can raise any exception in pydicom.
    except Exception as error:
        if isinstance(error, OSError) and error.filename:
            raise
        raise ValueError(
            f"{path}: damaged DICOM file ({type(error).__name__}); save or copy it "
            "again."
        ) from None
    finally:
        logger.setLevel(level)


def _read_tags(file: BinaryIO) -> "Dataset":
    import pydicom
    from pydicom.filereader import read_dataset, read_preamble

    read_preamble(file, force=False)
    meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    file.seek(0)
    # pydicom would inflate it whole, to any size.
    if meta.get("TransferSyntaxUID") == pydicom.uid.DeflatedExplicitVRLittleEndian:
        raise _Problem("deflated DICOM is not supported; save it uncompressed.")
    names = ["NumberOfFrames", "SequenceOfUltrasoundRegions", "Rows", "Columns"]
    names += ["PhotometricInterpretation", "PixelRepresentation", "BitsStored"]
    tags = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=names)
    if not tags.get("Rows") or not tags.get("Columns"):
        raise _Problem("no image in this DICOM file; give one with pixels.")
    return tags


def _check_kind(tags: "Dataset") -> None:
    from pydicom.pixels import get_decoder

    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and tags.Rows * tags.Columns > limit:
        raise _Problem(
            f"{tags.Columns} x {tags.Rows} pixels are more than {limit}; scale it down."
        )
    if tags.get("PhotometricInterpretation") not in PHOTOMETRIC:
        raise _Problem(f"photometric interpretation is none of {PHOTOMETRIC}.")
    if tags.PixelRepresentation or not 8 <= tags.BitsStored <= 16:
        raise _Problem("pixels must be unsigned with 8 to 16 bits; convert the file.")
    try:
        decodable = get_decoder(tags.file_meta.TransferSyntaxUID).is_available
    except NotImplementedError:
        decodable = False
    if not decodable:
        raise _Problem(
            "pydicom cannot decode this compression here; save it uncompressed."
        )


def _decode(file: BinaryIO, number: int) -> np.ndarray:
    from pydicom import Dataset
    from pydicom.pixels import apply_color_lut, pixel_array

    tags = Dataset()
    pixels = pixel_array(file, ds_out=tags, index=number - 1)
    if tags.PhotometricInterpretation == "PALETTE COLOR":
        return to_grey(apply_color_lut(pixels, tags))
    pixels = (pixels >> (tags.BitsStored - 8)).clip(0, 255).astype(np.uint8)
    grey = to_grey(pixels)
    return 255 - grey if tags.PhotometricInterpretation == "MONOCHROME1" else grey


def _region(tags: "Dataset") -> UltrasoundRegion:
    return UltrasoundRegion(
        left=max(tags.RegionLocationMinX0, 0),
        top=max(tags.RegionLocationMinY0, 0),
        right=tags.RegionLocationMaxX1 + 1,
        bottom=tags.RegionLocationMaxY1 + 1,
        millimetres=_calibration(tags),
    )


def _calibration(tags: "Dataset") -> tuple[float, float] | None:
    units = [tags.get(f"PhysicalUnits{axis}Direction") for axis in "XY"]
    # The delta is negative if the axis points against the pixels' order.
    deltas = [abs(tags.get(f"PhysicalDelta{axis}") or 0.0) for axis in "XY"]
    plane = tags.get("RegionSpatialFormat") == _TWO_DIMENSIONAL
    if not plane or units != [_CENTIMETRES] * 2 or not all(deltas):
        return None
    x, y = (10 * delta for delta in deltas)
    return (x, y) if math.isfinite(x * y) else None
