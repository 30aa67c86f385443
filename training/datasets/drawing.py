"""Images whose masks other formats describe, and the mask files drawn from them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_efsnet.images.reading import SUFFIXES, read_image
from keras_efsnet.training.datasets.sample import Sample

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """An image with its class and the mask to be drawn.

    Attributes:
        image: the image file.
        name: names it within its dataset; may hold `/`.
        label: as of `Sample`.
        draw: gives the mask, bool, for the image's `(height, width)`.
    """

    image: Path
    name: str
    label: str | None
    draw: Callable[[tuple[int, int]], np.ndarray]


def draw_masks(
    drawings: Sequence[Drawing],
    source: str,
    folder: Path,
    progress: Progress = lambda done, total: None,
) -> list[Sample]:
    """Draws each mask as a PNG file of 0 and 255, `<folder>/<source>/<name>.png`.

    Args:
        drawings: the images.
        source: the dataset's name.
        folder: for the masks; no file in it is written over.
        progress: told of each image.

    Returns:
        The images with these masks.

    Raises:
        OSError: an image cannot be read, or a mask not be written.
        ValueError: an image is none, a mask has another size, or exists under a name
            that may differ in small and capital letters.
    """
    samples = []
    taken = {str(file).casefold(): file for file in folder.rglob("*.png")}
    for done, drawing in enumerate(drawings, start=1):
        file = folder / source / f"{drawing.name}.png"
        twin = taken.setdefault(str(file).casefold(), file)
        if twin is not file:
            raise ValueError(
                f"{drawing.image}: its mask and another image's would be one file, "
                f"{twin.relative_to(folder)}; rename one of the images."
            )
        _write_mask(drawing, file)
        name = f"{source}/{drawing.name}"
        samples.append(Sample(name, drawing.label, drawing.image, (file,), source))
        progress(done, len(drawings))
    return samples


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: no JSON file ({error}); export it again.") from error


def _write_mask(drawing: Drawing, file: Path) -> None:
    if drawing.image.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{drawing.image}: images end in {', '.join(SUFFIXES)}; convert it."
        )
    shape = read_image(drawing.image).shape
    mask = drawing.draw(shape)
    if mask.shape != shape:
        raise ValueError(
            f"{drawing.image}: its label has {mask.shape[0]} x {mask.shape[1]}, the "
            f"image {shape[0]} x {shape[1]} (height x width); export it again."
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, format="PNG")
