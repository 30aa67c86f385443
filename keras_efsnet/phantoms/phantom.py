"""Synthetic B-mode breast ultrasound with exact lesion masks.

Lengths are in millimetres. Tissue is a map of echo strength and a map of attenuation,
both in decibels. Scatterers of that strength are blurred by a beam that widens away
from its focus, which gives fully developed speckle. Shadow and enhancement follow from
the attenuation along each column and the scanner's gain with depth.

Chosen: every range, by eye and by comparing grey-level, speckle and lesion statistics
with the BUSI dataset; none was fitted to one image.

Reference: Wagner, Smith, Sandrik and Lopez (1983), "Statistics of speckle in
ultrasound B-scans", for the envelope's distribution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from keras_efsnet.files import write_whole
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms.lesions import draw_lesions
from keras_efsnet.phantoms.scan import (
    column_shadows,
    compress,
    field_of_view,
    path_loss,
    scan,
    time_gain,
)
from keras_efsnet.phantoms.space import draw_grid
from keras_efsnet.phantoms.tissue import draw_tissue, insert_lesion

_SMALLEST_SIDE = 32


@dataclass(frozen=True)
class Phantom:
    """One synthetic image and its truth.

    Args:
        image: uint8 `(height, width)` grey levels, transducer at the top.
        mask: bool `(height, width)`, True inside a lesion; all False when normal.
        label: one of `LABELS`.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    label: str


def make_phantom(label: str, seed: int, size: tuple[int, int] = (400, 500)) -> Phantom:
    """Synthesize one B-mode image; equal arguments give equal pixels.

    Benign lesions are smooth ovals, wider than tall, with a thin capsule and posterior
    enhancement. Malignant ones are irregular, often taller than wide, with a halo and a
    shadow. Every class has fat lobules and shadows of ligaments. A phantom whose lesion
    touches all four borders, as an inverted mask does, is drawn anew.

    Args:
        label: "normal", "benign" or "malignant".
        seed: integer, 0 or more.
        size: `(height, width)` of the image in pixels, each at least 32.

    Returns:
        A `Phantom`. Its mask is the lesion's geometry, before the beam blurs it.

    Raises:
        ValueError: an unknown label, a negative seed, or a size below 32.

    Example:
        >>> phantom = make_phantom("benign", seed=1, size=(96, 128))
        >>> phantom.image.shape, bool(phantom.mask.any())
        ((96, 128), True)
    """
    _check_arguments(label, seed, size)
    rng = np.random.default_rng([seed, LABELS.index(label)])
    phantom = _draw(rng, label, size)
    while _touches_all_borders(phantom.mask):
        phantom = _draw(rng, label, size)
    return phantom


def write_phantoms(folder: Path, per_class: int | Mapping[str, int], seed: int) -> Path:
    """Write phantoms of varying sizes as a dataset folder in BUSI's layout.

    Each image is `<label>/<label> (<number>).png`, its mask `..._mask.png` beside it
    (0 or 255; all 0 for normal). Image n depends only on the seed, the label and n, so
    a larger set begins with the smaller one.

    Args:
        folder: made if missing; files of the same name are replaced.
        per_class: number of images of every label, or a number for each label.
        seed: integer, 0 or more.

    Returns:
        `folder` as a `Path`.

    Raises:
        ValueError: an unknown label, a negative number or a negative seed.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    if not isinstance(per_class, Mapping):
        per_class = dict.fromkeys(LABELS, per_class)
    for label, count in per_class.items():
        _check_arguments(label, seed, (_SMALLEST_SIDE, _SMALLEST_SIDE))
        if count < 0:
            raise ValueError(f"per_class of {label!r} must be 0 or more, not {count}.")
    for label, count in per_class.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            phantom = _numbered_phantom(label, number, seed)
            name = f"{label} ({number})"
            _save_png(phantom.image, folder / label / f"{name}.png")
            mask = phantom.mask * np.uint8(255)
            _save_png(mask, folder / label / f"{name}_mask.png")
    return folder


def _check_arguments(label: str, seed: int, size: tuple[int, int]) -> None:
    if label not in LABELS:
        raise ValueError(f"label must be one of {', '.join(LABELS)}, not {label!r}.")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, not {seed}.")
    if len(size) != 2 or min(size) < _SMALLEST_SIDE:
        raise ValueError(
            f"size must be (height, width), each at least {_SMALLEST_SIDE} pixels,"
            f" not {size}."
        )


def _draw(rng: np.random.Generator, label: str, size: tuple[int, int]) -> Phantom:
    grid = draw_grid(rng, size)
    lesions = draw_lesions(rng, grid, label)
    tissue = draw_tissue(rng, grid, lesions)
    gain = time_gain(rng, grid, tissue.loss)
    for lesion in lesions:
        insert_lesion(rng, grid, tissue, lesion)
    shade = gain - path_loss(grid, tissue.loss) - column_shadows(rng, grid)
    grey = compress(rng, scan(rng, grid, tissue, shade))
    visible = field_of_view(rng, grid)
    mask = visible & np.any([lesion.distance < 0 for lesion in lesions], axis=0)
    return Phantom(np.where(visible, grey, np.uint8(0)), mask, label)


def _touches_all_borders(mask: NDArray[np.bool_]) -> bool:
    return all(side.any() for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


def _numbered_phantom(label: str, number: int, seed: int) -> Phantom:
    rng = np.random.default_rng([seed, LABELS.index(label), number])
    size = int(rng.integers(300, 601)), int(rng.integers(400, 701))
    return make_phantom(label, int(rng.integers(2**62)), size)


def _save_png(pixels: NDArray[np.uint8], path: Path) -> None:
    image = Image.fromarray(pixels)
    write_whole(path, lambda part: image.save(part, format="PNG"))
