"""Lesions of other images in this one: more places, sizes and neighbours than scanned.

Reference: Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for
Instance Segmentation", CVPR 2021.
"""

import math

import numpy as np
from PIL import Image, ImageFilter

SCALES = 0.6, 1.5
"""Magnification of a pasted lesion."""

MARGIN = 0.25
"""Tissue taken along, as a fraction of the lesion's longer side: rim and shadow."""

DRIFT = 0.1
"""Standard deviation of the change of depth, in image heights: depth has a sense."""


def paste_lesion(
    image: np.ndarray,
    mask: np.ndarray,
    donor: np.ndarray,
    donor_mask: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Copies the lesions of one image into another, flipped and magnified at random.

    The patch takes the brightness of the place and fades into it.

    Args:
        image: uint8 `(height, width)`.
        mask: uint8 `(height, width)`, 1 = lesion.
        donor: uint8 image of the same size.
        donor_mask: its mask; not empty.
        rng: where and how.

    Returns:
        New image and mask; the given ones where the patch does not fit or would cover
        a lesion.
    """
    box = _box(donor_mask)
    size = _patch_size(box, rng)
    top_left = _place(box, size, mask.shape, rng)
    if top_left is None:
        return image, mask
    mirrored = rng.random() < 0.5
    patch = _take(donor, box, size, mirrored, Image.Resampling.BILINEAR)
    patch_mask = _take(donor_mask, box, size, mirrored, Image.Resampling.NEAREST)
    place = tuple(slice(s, s + n) for s, n in zip(top_left, size, strict=True))
    fade = _fade(patch_mask)
    if ((fade > 0) & (mask[place] > 0)).any():
        return image, mask
    image, mask = image.copy(), mask.copy()
    there = image[place].astype(np.float32)
    around = patch[patch_mask == 0]
    gain = (there.mean() + 8) / (around.mean() + 8) if around.size else 1.0
    lesion = patch * np.clip(gain, 0.5, 2)
    image[place] = np.rint(there + fade * (lesion - there)).clip(0, 255)
    mask[place] |= patch_mask
    return image, mask


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the lesions and a margin."""
    spans = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    margin = max(3, int(MARGIN * max(np.ptp(span) for span in spans)))
    rows, columns = (
        slice(max(span[0] - margin, 0), min(span[-1] + margin + 1, length))
        for span, length in zip(spans, mask.shape, strict=True)
    )
    return rows, columns


def _patch_size(box: tuple[slice, slice], rng: np.random.Generator) -> tuple[int, int]:
    scale = math.exp(rng.uniform(math.log(SCALES[0]), math.log(SCALES[1])))
    height, width = (max(2, int(scale * (side.stop - side.start))) for side in box)
    return height, width


def _place(
    box: tuple[slice, slice],
    size: tuple[int, int],
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> tuple[int, int] | None:
    """Top and left of the patch, at about the lesion's own depth; None = too large."""
    if size[0] >= shape[0] or size[1] >= shape[1]:
        return None
    depth = (box[0].start + box[0].stop) / 2 + rng.normal(0, DRIFT * shape[0])
    top = int(np.clip(depth - size[0] / 2, 0, shape[0] - size[0]))
    return top, int(rng.integers(0, shape[1] - size[1] + 1))


def _take(
    array: np.ndarray,
    box: tuple[slice, slice],
    size: tuple[int, int],
    mirrored: bool,
    resampling: Image.Resampling,
) -> np.ndarray:
    part = array[box][:, :: -1 if mirrored else 1]
    picture = Image.fromarray(np.ascontiguousarray(part))
    return np.asarray(picture.resize(size[::-1], resampling))


def _fade(patch_mask: np.ndarray) -> np.ndarray:
    """Weight of the patch: 1 on the lesion, falling to 0 at the patch's border."""
    radius = 0.06 * max(patch_mask.shape) + 1
    picture = Image.fromarray(patch_mask * np.uint8(255))
    grown = picture.filter(ImageFilter.MaxFilter(2 * int(2 * radius) + 1))
    framed = Image.new("L", (grown.width, grown.height))
    inner = grown.crop((2, 2, grown.width - 2, grown.height - 2))
    framed.paste(inner, (2, 2))
    soft = framed.filter(ImageFilter.GaussianBlur(radius / 2))
    return np.asarray(soft, np.float32) / 255
