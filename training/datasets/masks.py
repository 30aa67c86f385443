"""What a mask file's pixels mean; `images.mask_names` says which files are masks.

A pixel's value is the largest of its colour channels times its opacity, so that
transparent pixels are background and a palette's colours count, not its indices. The
lesion is the brighter of two values. Then:

- Values of at most 31 beside 0 are class numbers, and all of them are lesion; but not
  in a JPEG, which has other values around the lesion than were drawn.
- Values between the two, as JPEG or smooth resizing leaves them, are cut at half of the
  range. If a place of 5 x 5 pixels lies wholly between a quarter and three quarters of
  it, the file has a third value or is no mask, and is refused. In a file of few values,
  which has no such edges, it may also lie below a quarter: a class number beside 255.
- One value other than black, more than 90 % lesion, and lesion on all four borders are
  refused: such a mask is most likely inverted.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from keras_efsnet.images.reading import open_picture

CLASS_NUMBERS = 31
"""The highest value that is read as the number of a class, not as a grey level."""

LARGEST_LESION = 0.9
"""Part of the image; what covers more is most likely an inverted mask."""

_MIDDLE = 5
"""Pixels: the width of a place of middle values that smooth edges do not have."""

_FEW = 8
"""So many values between two are not those of JPEG, whose black can become grey."""


@dataclass(frozen=True)
class MaskProblem:
    """What is odd about a mask file.

    Attributes:
        kind: a few words, the same for all files with this problem.
        detail: what was found in this file.
        fix: what to do about it; "" where the mask is read nevertheless.
    """

    kind: str
    detail: str
    fix: str = ""


def read_mask_file(path: str | Path) -> np.ndarray:
    """Reads a mask file by the module's rule.

    Args:
        path: a PNG, JPEG, BMP or TIFF file of any colour mode with 8 or 16 bits.

    Returns:
        bool `(height, width)`, True = lesion.

    Raises:
        OSError: the file is missing or may not be read.
        ValueError: it is no image, or what it shows is ambiguous.
    """
    path = Path(path)
    mask, problems = _judge(path)
    for problem in problems:
        if problem.fix:
            raise ValueError(f"{path}: {problem.detail}; {problem.fix}.")
    return mask


def read_values(path: Path) -> np.ndarray:
    """Reads each pixel's value, such as the number of its class.

    Returns:
        int64 `(height, width)`: the largest channel times the opacity.

    Raises:
        OSError, ValueError: the file is missing, or no image of 8 or 16 bits.
    """
    with open_picture(path) as image:
        return _blend(*_decode(image))


def mask_problems(
    path: str | Path, shape: tuple[int, int] | None = None
) -> list[MaskProblem]:
    """Says what is odd about a mask file; those with a `fix` are refused when read.

    Args:
        path: the file.
        shape: `(height, width)` of its image, if its size is to be checked.

    Returns:
        The problems; empty for a mask of 0 and one other value. An unreadable file is
        one of them.
    """
    try:
        mask, problems = _judge(Path(path))
    except (OSError, ValueError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        return [MaskProblem("unreadable", reason, "replace the file")]
    if shape is not None and mask.shape != shape:
        own, image = (f"{height} x {width}" for height, width in (mask.shape, shape))
        detail = f"the mask has {own}, its image {image} (height x width)"
        problems.append(MaskProblem("size of mask", detail, "redraw it on its image"))
    return problems


def _judge(path: Path) -> tuple[np.ndarray, list[MaskProblem]]:
    """The mask, and all that is odd about it."""
    with open_picture(path) as image:
        pixels, opacity = _decode(image)
    values = _blend(pixels, opacity)
    low, high = int(values.min()), int(values.max())
    if low == high:
        return values > 0, _one_value(low, pixels, opacity)
    if low == 0 and high <= CLASS_NUMBERS and not _is_jpeg(path):
        mask, problems = values > 0, _class_numbers(values)
    else:
        # Twice the value, so that half of an odd range stays a whole number.
        mask = 2 * values > low + high
        problems = _grey_levels(values, low, high)
    return mask, problems + _inverted(mask)


def _one_value(
    value: int, pixels: np.ndarray, opacity: np.ndarray | None
) -> list[MaskProblem]:
    if value:
        detail = f"every pixel has the value {value}, but a lesion needs a background"
        return [MaskProblem("one value", detail, "draw the lesion white on black")]
    if opacity is not None and (np.ptp(opacity) or np.ptp(pixels)):
        detail = "what is drawn is black or transparent, as is the background"
        return [MaskProblem("invisible mask", detail, "draw the lesion opaque white")]
    return []


def _class_numbers(values: np.ndarray) -> list[MaskProblem]:
    numbers = [str(number) for number in np.unique(values).tolist() if number]
    if len(numbers) == 1:
        return []
    detail = f"the class numbers {', '.join(numbers)}, which are all read as lesion"
    return [MaskProblem("class numbers", detail)]


def _grey_levels(values: np.ndarray, low: int, high: int) -> list[MaskProblem]:
    between = (values != low) & (values != high)
    if not between.any():
        return []
    four, sum_ = 4 * values, low + high
    middle = (four > sum_ + 2 * low) & (four < sum_ + 2 * high)
    greys = np.unique(values[between])
    if len(greys) <= _FEW:
        middle |= between & (2 * values < sum_)
    third = Image.fromarray(middle).convert("L").filter(ImageFilter.MinFilter(_MIDDLE))
    place = np.asarray(third) > 0
    if place.any():
        common = int(np.bincount(values[place]).argmax())
        detail = f"areas of a third value, such as {common}, between {low} and {high}"
        fix = "a mask has two values: draw the lesion white on black"
        return [MaskProblem("third value", detail, fix)]
    detail = f"{len(greys)} values between {low} and {high}, such as {greys[0]}"
    return [MaskProblem("grey mask", f"{detail}, cut at half of the range")]


def _inverted(mask: np.ndarray) -> list[MaskProblem]:
    fix = "draw the lesion white on black, or leave the image out if it is so"
    part = mask.mean()
    if part > LARGEST_LESION:
        detail = f"{part:.0%} of it is lesion, more than {LARGEST_LESION:.0%}"
        return [MaskProblem("inverted mask", detail, fix)]
    if all(side.any() for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1])):
        detail = "the lesion touches all four borders, as an inverted mask does"
        return [MaskProblem("inverted mask", detail, fix)]
    return []


def _blend(pixels: np.ndarray, opacity: np.ndarray | None) -> np.ndarray:
    return pixels if opacity is None else (pixels * opacity + 127) // 255


def _is_jpeg(path: Path) -> bool:
    with Image.open(path) as image:
        compression = str(image.info.get("compression", ""))
        return image.format in ("JPEG", "MPO") or "jpeg" in compression


def _decode(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """The largest channel of each pixel, and its opacity if the file has one."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.int64), None
    if image.has_transparency_data:
        colours = np.asarray(image.convert("RGBA")).astype(np.int64)
        return colours[..., :3].max(axis=-1), colours[..., 3]
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L")).astype(np.int64), None
    return np.asarray(image.convert("RGB")).max(axis=-1).astype(np.int64), None
