"""From an image file to the network's grey input, and from its output back.

The one preprocessing of training, evaluation, prediction and export, in Pillow and
NumPy alone: ITU-R 601 grey, 16 bits to 8, stretch to the network's size. Sizes are
`(height, width)` everywhere.
"""

import stat
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

Size = tuple[int, int]
SixteenBit = Literal["full", "minmax"]

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

MAX_PIXELS, MAX_SIDE = 2**25, 2**16
"""Images with more pixels, or more on a side, are refused before they are decoded: a
small file can claim any size. Predicting the largest takes about 1 GiB of memory."""


def read_image(path: str | Path, sixteen_bit: SixteenBit = "full") -> np.ndarray:
    """Reads a PNG, JPEG, BMP, TIFF or DICOM file as an 8-bit grey image.

    The image is turned as its EXIF orientation says, so that it lies as viewers show
    it; transparency is ignored.

    Args:
        path: the file; 8- or 16-bit grey, RGB, RGBA, CMYK or palette, of at most
            `MAX_PIXELS` and `MAX_SIDE`. For DICOM see `dicom.read_frame`, which reads a
            file of several frames too.
        sixteen_bit: how 16-bit grey values become 8-bit ones, see `to_grey`. Pillow
            itself reads 16-bit colour as 8-bit.

    Returns:
        uint8 `(height, width)`.

    Raises:
        OSError: the file is missing or may not be read.
        ValueError: it is no complete image of one of these kinds.
    """
    from keras_efsnet import dicom

    path = Path(path)
    if dicom.is_dicom(path):
        return dicom.read_only_frame(path)
    pixels = _decode(path)
    try:
        return to_grey(pixels, sixteen_bit)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_mask(path: str | Path) -> np.ndarray:
    """Reads a mask file: every pixel that is not black is lesion.

    Returns:
        bool `(height, width)`.

    Raises:
        OSError, ValueError: as `read_image`.
    """
    pixels = _decode(Path(path))
    colour = pixels.reshape(*pixels.shape[:2], -1)[..., :3]
    return colour.max(axis=-1) > 0


def to_grey(image: np.ndarray, sixteen_bit: SixteenBit = "full") -> np.ndarray:
    """Turns an array of pixels into 8-bit grey.

    Args:
        image: uint8 or uint16, `(height, width)` or `(height, width, channels)` with
            one grey, three RGB or four RGBA channels; alpha is ignored.
        sixteen_bit: "full" keeps the high byte, [0, 65535] to [0, 255]; "minmax"
            stretches the image's own minimum and maximum to 0 and 255, for scanners
            that use a part of the range.

    Returns:
        uint8 `(height, width)`: the grey values, or `0.299 R + 0.587 G + 0.114 B`.

    Raises:
        ValueError: another type or shape.

    Reference: ITU-R BT.601, luma; Pillow's integer weights.
    """
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.ndim not in (2, 3) or channels not in (1, 3, 4) or image.size == 0:
        raise ValueError(
            "an image must have the shape (height, width), or (height, width, "
            f"channels) with 1, 3 or 4 channels, got {image.shape}."
        )
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"an image must have 8 or 16 bits a channel, got {image.dtype}; "
            "convert it to uint8 or uint16 first."
        )
    if image.dtype == np.uint16:
        image = _to_8_bits(image, sixteen_bit)
    if channels == 1:
        return image.reshape(image.shape[:2])
    rgb = np.ascontiguousarray(image[..., :3])
    return np.asarray(Image.fromarray(rgb).convert("L"))


def resize_image(grey: np.ndarray, size: Size) -> np.ndarray:
    """Stretches a grey image with Pillow's antialiased bilinear filter.

    Args:
        grey: uint8 `(height, width)`.
        size: the new `(height, width)`.

    Returns:
        uint8 of that size.
    """
    return _resize(grey, size, Image.Resampling.BILINEAR)


def resize_mask(mask: np.ndarray, size: Size) -> np.ndarray:
    """Stretches a bool mask to `size`, each pixel taking its nearest neighbour's."""
    return _resize(mask.astype(np.uint8), size, Image.Resampling.NEAREST) > 0


def resize_probability(probability: np.ndarray, size: Size) -> np.ndarray:
    """Stretches a float32 probability map to `size`, bilinearly; to be cut after it."""
    probability = probability.astype(np.float32, copy=False)
    return _resize(probability, size, Image.Resampling.BILINEAR)


def _resize(pixels: np.ndarray, size: Size, filter_: Image.Resampling) -> np.ndarray:
    height, width = size
    pixels = np.ascontiguousarray(pixels)
    return np.asarray(Image.fromarray(pixels).resize((width, height), filter_))


def _decode(path: Path) -> np.ndarray:
    """Reads the pixels: 8-bit grey or RGBA, or 16-bit grey."""
    # Opening a named pipe would wait for a writer.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path}: not a file; give an image file.")
    with path.open("rb") as file:
        try:
            with Image.open(file, formats=FORMATS) as image:
                return _pixels(image)
        # Pillow lets through whatever a damaged file makes its readers raise.
        except Exception as error:
            raise ValueError(f"{path}: {_reason(error)}") from error


def _pixels(image: Image.Image) -> np.ndarray:
    if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
        raise Image.DecompressionBombError
    # A phone's JPEG (MPO) holds a preview as second frame; elsewhere frames are data.
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise ValueError(f"one image a file is read, got {frames}; save them apart.")
    mode = image.mode
    if mode in ("I", "F"):
        raise ValueError("32-bit pixels are not read; save it with 8 or 16 bits.")
    image = ImageOps.exif_transpose(image)
    if mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if mode in ("1", "L", "LA"):
        return np.asarray(image.convert("L"))
    return np.asarray(image.convert("RGBA"))


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
    problem = str(error) or type(error).__name__
    return f"damaged image file ({problem}); save or copy it again."


def _to_8_bits(image: np.ndarray, sixteen_bit: SixteenBit) -> np.ndarray:
    if sixteen_bit == "full":
        return (image >> 8).astype(np.uint8)
    if sixteen_bit != "minmax":
        raise ValueError(f'sixteen_bit must be "full" or "minmax", got {sixteen_bit}.')
    values = image.astype(np.float32) - image.min()
    return np.rint(values * (255 / max(values.max(), 1))).astype(np.uint8)
