"""Grey frames and calibrated ultrasound regions of DICOM files.

Only the tags for pixels, calibration and frame rate are read, and identifiers where
images are to be grouped by them. pydicom's warnings, log lines and errors can quote any
value, such as a patient's name, so they are not passed on.
"""

import logging
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from keras_efsnet.extras import MissingPackage
from keras_efsnet.images.dicom_display import take_frame, to_display
from keras_efsnet.images.dicom_pixels import read_pixels
from keras_efsnet.images.dicom_tags import (
    Refusal,
    Tags,
    check_frames,
    check_layout,
    read_tags,
    read_values,
)
from keras_efsnet.images.frame import DamagedFrame, Frame, UltrasoundRegion

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = (".dcm", ".dicom")
_TWO_DIMENSIONAL, _CENTIMETRES = 1, 3  # RegionSpatialFormat, PhysicalUnits
_TISSUE, _COLOUR_FLOW = 1, 2  # RegionDataType

_one_thread = RLock()


def has_mark(file: BinaryIO) -> bool:
    """Returns whether an open file has DICOM's mark, and rewinds it."""
    mark = file.read(132)[128:]
    file.seek(0)
    return mark == b"DICM"


def read_frames(path: Path, file: BinaryIO) -> Iterator[Frame | DamagedFrame]:
    """Reads frames as 8-bit grey, with one frame at a time in memory.

    Values of more than 8 bits go through the file's first window (VOI). Without one,
    the range of the bits stored is used.

    Args:
        path: the file's name, for messages; grey, RGB, YBR or palette, uncompressed,
            RLE, JPEG baseline or JPEG 2000; grey of another compression that pydicom
            can decode.
        file: the open file.

    Yields:
        A `Frame` with its regions, or a `DamagedFrame` if decoding fails.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, holds no image, or pydicom is not installed.
    """
    with _without_its_words(path):
        tags = read_tags(file)
        check_frames(file, tags)
        count = tags.frames
        sequence = tags.values.get("SequenceOfUltrasoundRegions") or ()
        regions, fps = tuple(map(_region, sequence)), tags.fps
    # Even an empty compressed frame takes 8 bytes.
    if not 1 <= count <= os.fstat(file.fileno()).st_size // 8:
        raise ValueError(f"{path}: damaged DICOM file: it cannot hold {count} frames.")
    for number in range(1, count + 1):
        try:
            with _without_its_words(path):
                grey = _decode(file, tags, number)
        except ValueError as error:
            yield DamagedFrame(path, number, count, str(error))
        else:
            yield Frame(grey, path, number, count, regions, fps=fps)


def read_identifiers(path: Path, keywords: Sequence[str]) -> tuple[str, ...]:
    """Reads identifiers of a file, to compare them with those of other files.

    They can tell who the patient is: they belong in no output and no message.

    Args:
        path: a DICOM file.
        keywords: of the tags, such as `PatientID`.

    Returns:
        Their values; "" for a tag that is missing or empty.

    Raises:
        OSError: the file cannot be read.
        MissingPackage: pydicom is not installed.
        ValueError: it is damaged or deflated, or holds no image.
    """
    with path.open("rb") as file, _without_its_words(path):
        values = read_values(file, keywords)
        return tuple(str(values.get(keyword) or "").strip() for keyword in keywords)


@contextmanager
def muted() -> Iterator[None]:
    """Hides warnings and the log lines of pydicom and highdicom.

    One thread at a time, as the filters of messages are those of the whole process.
    """
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    with _one_thread:
        levels = [logger.level for logger in loggers]
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL + 1)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _without_its_words(path: Path) -> Iterator[None]:
    """Replaces pydicom's messages with ours, which name the file."""
    try:
        with muted():
            yield
    except Refusal as problem:
        raise ValueError(f"{path}: {problem}") from None
    except ImportError:
        raise MissingPackage(
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


def _decode(file: BinaryIO, tags: Tags, number: int) -> np.ndarray:
    check_layout(tags)
    pixels = read_pixels(file, tags, number)
    return to_display(pixels, take_frame(tags.values, number))


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
    image = tags.get("RegionDataType") in (_TISSUE, _COLOUR_FLOW)
    if not (plane and image) or units != [_CENTIMETRES] * 2:
        return None
    x, y = (10 * delta for delta in deltas)
    return (x, y) if 0 < x * y < math.inf else None
