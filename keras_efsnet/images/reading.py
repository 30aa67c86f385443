"""Reading of PNG, JPEG, BMP, TIFF and DICOM files as grey frames."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from keras_efsnet.images import dicom, tiff
from keras_efsnet.images.frame import DamagedFrame, Frame
from keras_efsnet.images.grey import SixteenBit, to_grey

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

MAX_PIXELS, MAX_SIDE = 2**25, 2**16
"""Limits checked before decoding, as a small file can claim any size. Predicting the
largest image takes about 1 GiB of memory."""

_chosen: dict[str, SixteenBit] = {"sixteen_bit": "full"}


@contextmanager
def sixteen_bit_as(rule: SixteenBit) -> Iterator[None]:
    """Reads 16-bit files by `rule`, in all threads, where a call does not say it."""
    before = chosen_sixteen_bit()
    _chosen["sixteen_bit"] = rule
    try:
        yield
    finally:
        _chosen["sixteen_bit"] = before


def chosen_sixteen_bit() -> SixteenBit:
    """Returns the rule of `sixteen_bit_as`, or "full"."""
    return _chosen["sixteen_bit"]


def read_frames(
    path: str | Path, sixteen_bit: SixteenBit | None = None
) -> Iterator[Frame | DamagedFrame]:
    """Reads the frames of a file, one at a time.

    DICOM and TIFF files may hold several frames. EXIF orientation is applied;
    transparency is ignored.

    Args:
        path: a PNG, JPEG, BMP, TIFF or DICOM file. Pictures: 8- or 16-bit grey, RGB,
            RGBA, CMYK or palette, of at most `MAX_PIXELS` and `MAX_SIDE`. For DICOM
            see `dicom.read_frames`.
        sixteen_bit: how 16-bit grey pictures become 8-bit, see `to_grey`; None takes
            that of `sixteen_bit_as`, or "full". Pillow reads 16-bit colour as 8-bit.

    Yields:
        A `Frame`, or a `DamagedFrame` if only this frame cannot be decoded.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not an image of these formats, or all of it is damaged.
    """
    path = Path(path)
    sixteen_bit = sixteen_bit or chosen_sixteen_bit()
    with _open(path) as file:
        if _may_be_dicom(path) and dicom.has_mark(file):
            yield from dicom.read_frames(path, file)
        else:
            yield from _read_pages(path, file, sixteen_bit)


def read_frame(path: str | Path, sixteen_bit: SixteenBit | None = None) -> Frame:
    """Reads the frame of a file that holds one.

    Args:
        path: as in `read_frames`.
        sixteen_bit: as in `read_frames`.

    Raises:
        OSError, ValueError: as in `read_frames`, or the file holds several frames.
    """
    frame = next(read_frames(path, sixteen_bit))
    if frame.count > 1:
        raise ValueError(
            f"{path}: one image a file is read here, got {frame.count}; `efsnet "
            "predict` and images.reading.read_frames read each frame."
        )
    if isinstance(frame, DamagedFrame):
        raise ValueError(frame.problem)
    return frame


def read_image(path: str | Path, sixteen_bit: SixteenBit | None = None) -> np.ndarray:
    """Reads a file of one image as uint8 grey `(height, width)`; see `read_frame`."""
    return read_frame(path, sixteen_bit).pixels


@contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """Opens a picture of one image, of a size and a depth that we decode.

    Yields:
        The image, turned as its EXIF orientation says, and set right where Pillow reads
        a TIFF wrongly.

    Raises:
        OSError, ValueError: as in `read_frame`; any error while it is open names the
            file.
    """
    with _open(path) as file, _naming(path), _open_image(file) as image:
        if _count_pages(image) > 1:
            raise ValueError("one image a file is read here; save each alone.")
        yield _decode(image)


def is_dicom(path: Path) -> bool:
    """Returns whether a file has DICOM's mark and no picture suffix.

    Raises:
        OSError: the file cannot be read.
    """
    if not _may_be_dicom(path) or not path.is_file():
        return False
    with path.open("rb") as file:
        return dicom.has_mark(file)


def _may_be_dicom(path: Path) -> bool:
    return path.suffix.lower() not in SUFFIXES


def _open(path: Path) -> BinaryIO:
    # Opening a named pipe would wait for a writer.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path}: not a file; give an image file.")
    return path.open("rb")


def _open_image(file: BinaryIO) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except (UnidentifiedImageError, KeyError) as error:
        file.seek(0)
        if file.read(4) in tiff.MARKS:
            raise ValueError(tiff.UNKNOWN) from error
        raise


def _read_pages(
    path: Path, file: BinaryIO, sixteen_bit: SixteenBit
) -> Iterator[Frame | DamagedFrame]:
    with _naming(path):
        image = _open_image(file)
    with image:
        with _naming(path):
            count = _count_pages(image)
        if count == 1:
            with _naming(path):
                grey = _to_grey(image, sixteen_bit)
            yield Frame(grey, path)
            return
        for page in range(count):
            try:
                with _naming(path):
                    image.seek(page)
                    grey = _to_grey(image, sixteen_bit)
            except ValueError as error:
                yield DamagedFrame(path, page + 1, count, str(error))
            else:
                yield Frame(grey, path, page + 1, count)


def _count_pages(image: Image.Image) -> int:
    # The second frame of a phone's JPEG (MPO) is a preview.
    pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if pages > 1 and image.format != "TIFF":
        raise ValueError(f"one image a file is read, got {pages}; save each alone.")
    return pages


def _to_grey(image: Image.Image, sixteen_bit: SixteenBit) -> np.ndarray:
    raw_modes = str(getattr(image, "tile", ""))
    pixels = _pixels(image)
    if sixteen_bit == "minmax" and pixels.dtype == np.uint8 and ";16" in raw_modes:
        raise ValueError(
            "16-bit colour is read as 8-bit, so minmax cannot stretch it; save it as "
            "16-bit grey."
        )
    return to_grey(pixels, sixteen_bit)


def _pixels(image: Image.Image) -> np.ndarray:
    """Decodes to 8-bit grey, 16-bit grey, 8-bit RGB or 8-bit RGBA."""
    image = _decode(image)
    mode = image.mode
    if mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if mode == "La":
        image = image.convert("LA")
    if mode in ("1", "L", "LA", "La"):
        return np.asarray(image if mode == "L" else image.convert("L"))
    return np.asarray(image if mode == "RGB" else image.convert("RGBA"))


def _decode(image: Image.Image) -> Image.Image:
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else None
    image = _upright(image)
    pixels = None if tags is None else tiff.to_pixels(image, tags)
    return image if pixels is None else Image.fromarray(pixels)


def _upright(image: Image.Image) -> Image.Image:
    """Checks size and depth before decoding, then applies the EXIF orientation."""
    if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
        raise Image.DecompressionBombError
    if isinstance(image, TiffImageFile):
        tiff.check_page(image.tag_v2)
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels are not supported; save it with 8 or 16 bits.")
    image.load()
    # `exif_transpose` would copy an image that is upright.
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    return ImageOps.exif_transpose(image) if turned else image


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turns any error of Pillow into a ValueError that names the file."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"not an image; give a {', '.join(FORMATS)} or DICOM file."
    # Pillow's own limit is above ours.
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return (
            f"more than {MAX_PIXELS:,} pixels, or than {MAX_SIDE:,} on a side; scale "
            "the image down."
        )
    if isinstance(error, ValueError) and str(error):
        return str(error)
    if isinstance(error, SyntaxError):  # Pillow's word for a page that it cannot read
        return tiff.UNKNOWN
    problem = str(error) or type(error).__name__
    return f"damaged image file ({problem}); save or copy it again."
