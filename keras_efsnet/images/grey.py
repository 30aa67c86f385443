"""Conversion of images to 8-bit grey, and resizing of images, masks and maps.

Training, evaluation, prediction and export share this preprocessing. It needs only
Pillow and NumPy. Sizes are `(height, width)`.
"""

from typing import Literal

import numpy as np
from PIL import Image

Size = tuple[int, int]
SixteenBit = Literal["full", "minmax"]


def to_grey(image: np.ndarray, sixteen_bit: SixteenBit = "full") -> np.ndarray:
    """Turns an array of pixels into 8-bit grey.

    Args:
        image: uint8 or uint16, `(height, width)` or `(height, width, channels)` with
            one grey, three RGB or four RGBA channels; alpha is ignored.
        sixteen_bit: "full" keeps the high byte, [0, 65535] to [0, 255]; "minmax" maps
            the image's minimum and maximum to 0 and 255, for scanners that use only a
            part of the range.

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
    """Resizes a uint8 grey image to `size` by Pillow's antialiased bilinear filter."""
    return _resize(grey, size, Image.Resampling.BILINEAR)


def resize_mask(mask: np.ndarray, size: Size) -> np.ndarray:
    """Resizes a bool mask to `size` by nearest neighbour."""
    return _resize(mask.astype(np.uint8), size, Image.Resampling.NEAREST) > 0


def resize_probability(probability: np.ndarray, size: Size) -> np.ndarray:
    """Resizes a probability map to `size`, bilinear; threshold it afterwards."""
    probability = probability.astype(np.float32, copy=False)
    return _resize(probability, size, Image.Resampling.BILINEAR)


def scale_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Scales integers of `bits` bits to 8; of more bits, the highest 8 stay."""
    if bits >= 8:
        return (values >> bits - 8).astype(np.uint8)
    return np.rint(values * (255 / ((1 << bits) - 1))).astype(np.uint8)


def apply_window(
    values: np.ndarray, centre: float, width: float, function: str = "LINEAR"
) -> np.ndarray:
    """Turns values into 8-bit grey by a window of DICOM.

    Args:
        values: numbers of any range.
        centre: becomes middle grey.
        width: of the range from black to white; at least 1 for "LINEAR", else above 0.
        function: "LINEAR", "LINEAR_EXACT" or "SIGMOID".

    Reference: DICOM PS3.3, C.11.2.1.
    """
    distance = values.astype(np.float64) - centre
    if function == "LINEAR":
        distance, width = distance + 0.5, width - 1
    if function == "SIGMOID":
        share = 0.5 + 0.5 * np.tanh(2 * distance / width)
    elif width == 0:
        share = (distance > 0).astype(np.float64)
    else:
        share = (distance / width + 0.5).clip(0, 1)
    return np.rint(255 * share).astype(np.uint8)


def _resize(pixels: np.ndarray, size: Size, filter_: Image.Resampling) -> np.ndarray:
    height, width = size
    pixels = np.ascontiguousarray(pixels)
    return np.asarray(Image.fromarray(pixels).resize((width, height), filter_))


def _to_8_bits(image: np.ndarray, sixteen_bit: SixteenBit) -> np.ndarray:
    if sixteen_bit == "full":
        return scale_bits(image, 16)
    if sixteen_bit != "minmax":
        raise ValueError(f'sixteen_bit must be "full" or "minmax", got {sixteen_bit}.')
    values = image.astype(np.float32) - image.min()
    return np.rint(values * (255 / max(values.max(), 1))).astype(np.uint8)
