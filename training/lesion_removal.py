"""Makes normal images of a hospital that published tumour images alone.

The lesion, and what lies below it (its shadow or its enhancement), gives way to tissue
of the same depth from elsewhere in the image, shifted sideways or mirrored. The new
tissue takes the brightness of its surroundings. It is blended in by bands of frequency,
so that there is neither a seam nor a blurred rim. Where nothing fits, there is no
image.

Reference: Burt and Adelson, "A Multiresolution Spline With Application to Image
Mosaics", ACM Transactions on Graphics 2(4), 1983 (blending).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from keras_efsnet.training.datasets.sample import Sample

MARGIN = 0.035
"""How far the surroundings of a lesion are replaced with it, per image width."""

RING = 0.05
"""Width of the surroundings that new tissue must match, per image width."""

WIDEST = 0.7
"""Largest share of the columns that may be replaced."""

MISFIT = 20.0
"""Largest difference between new tissue and its surroundings, in grey levels: the root
mean square over the ring, after smoothing."""

DONORS = 6
"""Other images of the same scanner that are tried where an image has no fitting tissue.
"""

_LEVELS = 4


@dataclass(frozen=True, eq=False)
class _Picture:
    """Tissue to copy from.

    Attributes:
        grey: uint8 `(height, width)`.
        barred: bool of that shape, what may not be copied.
    """

    grey: np.ndarray
    barred: np.ndarray


def remove_lesions(
    images: np.ndarray,
    masks: np.ndarray,
    samples: Sequence[Sample],
    sources: Sequence[str],
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Makes a normal image of each image with a lesion where that is possible.

    Args:
        images: uint8 `(n, height, width)`.
        masks: uint8 of that shape, 1 = lesion.
        samples: what the n images are.
        sources: the sources whose lesions are removed.
        seed: draws the donors.

    Returns:
        uint8 `(m, height, width)`, and int64 `(m,)`, the index of each one's original.
    """
    chosen = [
        i for i, s in enumerate(samples) if s.source in sources and masks[i].any()
    ]
    scanners = {i: (samples[i].source, samples[i].device) for i in chosen}

    def make(index: int) -> np.ndarray | None:
        rng = np.random.default_rng([seed, index])
        same = [i for i in chosen if scanners[i] == scanners[index] and i != index]
        donors = rng.permutation(same)[:DONORS]
        pairs = [(images[i], masks[i]) for i in donors]
        return remove_lesion(images[index], masks[index], pairs)

    with ThreadPoolExecutor() as pool:
        made = list(pool.map(make, chosen))
    kept = [(i, m) for i, m in zip(chosen, made, strict=True) if m is not None]
    found = np.array([m for _, m in kept], np.uint8).reshape(-1, *images.shape[1:])
    return found, np.array([i for i, _ in kept], np.int64)


def remove_lesion(
    image: np.ndarray,
    mask: np.ndarray,
    donors: Sequence[tuple[np.ndarray, np.ndarray]] = (),
) -> np.ndarray | None:
    """Replaces the lesions of an image by tissue of the same depth.

    Tried in this order: one place of the same image for the whole lesion, one place for
    each half of it, one place of the best donor.

    Args:
        image: uint8 `(height, width)`.
        mask: the lesions, 0 or 1, of that shape; not empty.
        donors: other images of the same scanner, and their masks, of that shape.

    Returns:
        uint8 of that shape, or None if nothing fits.
    """
    region = _bar(mask)
    whole = _replace(image, region, region, [_Picture(image, region)])
    if whole is not None:
        return whole
    halves = _replace_halves(image, region)
    if halves is not None or not donors:
        return halves
    others = [_Picture(grey, _bar(lesion)) for grey, lesion in donors]
    return _replace(image, region, region, others, own=False)


def _bar(mask: np.ndarray) -> np.ndarray:
    """Gives the surroundings of the lesions, and all that lies below them."""
    near = _within(mask > 0, MARGIN * mask.shape[1])
    below: np.ndarray = np.logical_or.accumulate(near, axis=0)
    return below


def _replace(
    image: np.ndarray,
    region: np.ndarray,
    unknown: np.ndarray,
    pictures: Sequence[_Picture],
    own: bool = True,
) -> np.ndarray | None:
    """Fills a region from the place that fits its surroundings best.

    Args:
        image: uint8 `(height, width)`.
        region: bool of that shape.
        unknown: bool of that shape, what does not count as surroundings.
        pictures: where to copy from.
        own: whether these are the image itself, so that tissue must move.
    """
    width = image.shape[1]
    if region.any(axis=0).sum() > WIDEST * width:
        return None
    ring = _within(region, RING * width) & ~region & ~unknown
    if not ring.any():
        return None
    smooth = _smooth(image)
    least, best = MISFIT**2, None
    for picture in pictures:
        soft = _smooth(picture.grey)
        places = _places(width, unmoved=not own)
        cost, columns = _best_columns(
            smooth, soft, region, ring, picture.barred, places
        )
        if cost < least:
            least, best = cost, (picture, soft, columns)
    if best is None:
        return None
    picture, soft, columns = best
    usable = ~picture.barred[:, columns]
    difference = np.where(ring & usable, smooth - soft[:, columns], 0)
    brightness = _carry_inwards(difference, (ring & usable).astype(np.float32))
    grey = image.astype(np.float32)
    source = picture.grey[:, columns].astype(np.float32) + brightness
    source = np.where(usable, source, grey)
    # Pasted first, so that no band of what is replaced shows through the rim.
    blended = _blend(np.where(region, source, grey), source, region, width / 128)
    return np.rint(blended).clip(0, 255).astype(np.uint8)


def _replace_halves(image: np.ndarray, region: np.ndarray) -> np.ndarray | None:
    """Fills the left and the right half of a region one after the other."""
    touched = np.flatnonzero(region.any(axis=0))
    left = region.copy()
    left[:, (touched[0] + touched[-1]) // 2 :] = False
    right = region & ~left
    first = _replace(image, left, region, [_Picture(image, region)])
    if first is None:
        return None
    # The filled half counts as surroundings now, but is not copied again.
    return _replace(first, right, right, [_Picture(first, region)])


def _smooth(image: np.ndarray) -> np.ndarray:
    smooth: np.ndarray = gaussian_filter(image.astype(np.float32), image.shape[1] / 64)
    return smooth


def _carry_inwards(difference: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Continues a difference smoothly from the ring, where it is known."""
    reach = max(known.shape[1] / 24, 1)
    total = np.zeros_like(difference)
    weight = np.full_like(difference, 1e-6)
    for factor, share in ((1, 1.0), (4, 0.05)):
        total += share * gaussian_filter(difference * known, factor * reach)
        weight += share * gaussian_filter(known, factor * reach)
    return total / weight


def _within(region: np.ndarray, distance: float) -> np.ndarray:
    if not region.any():
        return region
    near: np.ndarray = distance_transform_edt(~region) <= distance
    return near


def _places(width: int, unmoved: bool) -> list[np.ndarray]:
    """Gives for each column the one to copy from: shifts and mirror images."""
    step = max(width // 64, 1)
    shifts = [s for s in range(0, width, step) if s or unmoved]
    straight = [np.arange(width) + s for s in shifts]
    straight += [np.arange(width) - s for s in shifts if s]
    return straight + [s - np.arange(width) for s in range(1, 2 * width - 2, step)]


def _best_columns(
    smooth: np.ndarray,
    soft: np.ndarray,
    region: np.ndarray,
    ring: np.ndarray,
    barred: np.ndarray,
    places: Sequence[np.ndarray],
) -> tuple[float, np.ndarray]:
    """Gives the place that fits the ring best, after its cost in squared grey levels.

    The cost is infinite if no place can be copied.
    """
    width = smooth.shape[1]
    # Smoothed tissue hardly changes from one row to the next.
    rows = slice(None, None, max(width // 64, 1))
    smooth, soft, region, ring, barred = (
        a[rows] for a in (smooth, soft, region, ring, barred)
    )
    touched = np.flatnonzero(region.any(axis=0))
    first, last = np.flatnonzero(ring.any(axis=0))[[0, -1]]
    near = slice(first, last + 1)
    least, best = np.inf, np.arange(width)
    for columns in places:
        inside = columns[touched]
        if inside.min() < 0 or inside.max() >= width:
            continue
        columns = columns.clip(0, width - 1)
        if (region[:, touched] & barred[:, columns[touched]]).any():
            continue
        part = columns[near]
        usable = ring[:, near] & ~barred[:, part]
        if usable.sum() < 0.4 * ring.sum():
            continue
        difference = (smooth[:, near] - soft[:, part])[usable]
        # A constant difference is corrected later; its variance remains visible.
        cost = float(difference.var() + 0.15 * difference.mean() ** 2)
        if cost < least:
            least, best = cost, columns
    return least, best


def _blend(
    one: np.ndarray, other: np.ndarray, region: np.ndarray, finest: float
) -> np.ndarray:
    """Puts `other` into a region of `one`.

    Each band of frequency blends over a rim as wide as its own waves, inside the
    region.
    """
    depth = distance_transform_edt(region)
    result = np.zeros_like(one)
    for level in range(_LEVELS):
        scale = finest * 2**level
        last = level == _LEVELS - 1
        bands = [_band(picture, scale, level == 0, last) for picture in (one, other)]
        share = (depth / (2 * scale)).clip(0, 1)
        result += (1 - share) * bands[0] + share * bands[1]
    return result


def _band(picture: np.ndarray, scale: float, first: bool, last: bool) -> np.ndarray:
    fine = picture if first else gaussian_filter(picture, scale / 2)
    band: np.ndarray = fine if last else fine - gaussian_filter(picture, scale)
    return band
