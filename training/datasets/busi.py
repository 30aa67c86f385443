"""The BUSI dataset in its original folder layout.

    Dataset_BUSI_with_GT/benign/benign (4).png
    Dataset_BUSI_with_GT/benign/benign (4)_mask.png
    Dataset_BUSI_with_GT/benign/benign (4)_mask_1.png

An image's name is its stem, `benign (4)`. Any dataset with these folders and names can
be read.

Reference: Al-Dhabyani et al., Data in Brief 28:104863, 2020.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_efsnet.files import natural_order
from keras_efsnet.images.reading import SUFFIXES, read_mask
from keras_efsnet.labels import LABELS

_MASK = re.compile(r"(?P<stem>.+)_mask(_\d+)?")


@dataclass(frozen=True)
class Sample:
    """One image of the dataset, with any number of mask files."""

    stem: str
    label: str
    image: Path
    masks: tuple[Path, ...]


def index_dataset(folder: str | Path) -> list[Sample]:
    """Lists a dataset's images with their masks, by class (`LABELS`) and number.

    Raises:
        OSError: the folder is missing or unreadable.
        ValueError: a class folder is missing, there is no image, or two images share a
            stem.
    """
    samples = list_images(folder)
    by_stem(samples)
    return samples


def list_images(folder: str | Path) -> list[Sample]:
    """Lists images like `index_dataset`, but allows images that share a stem.

    Hidden files and files that are not images are ignored.

    Raises:
        OSError: the folder is missing or unreadable.
        ValueError: a class folder is missing, or there is no image.
    """
    folder = Path(folder)
    present = {path.name for path in folder.iterdir() if path.is_dir()}
    missing = [label for label in LABELS if label not in present]
    if missing:
        raise ValueError(
            f"{folder}: a dataset folder holds the folders {', '.join(LABELS)}, but "
            f"{', '.join(missing)} is missing; give the folder that holds all three."
        )
    samples = [s for label in LABELS for s in _index_class(folder / label, label)]
    if not samples:
        raise ValueError(
            f"{folder}: no image in its class folders; put {', '.join(SUFFIXES)} "
            "files there."
        )
    return samples


def list_orphan_masks(folder: Path, samples: Sequence[Sample]) -> list[Path]:
    """Lists the dataset's mask files that belong to none of the samples."""
    owned = {mask for sample in samples for mask in sample.masks}
    return [
        path
        for label in LABELS
        for path in _image_files(folder / label)
        if _MASK.fullmatch(path.stem) and path not in owned
    ]


def load_mask(sample: Sample, shape: tuple[int, int]) -> np.ndarray:
    """Reads the union of a sample's masks.

    Args:
        shape: `(height, width)` of the sample's image.

    Returns:
        bool of that shape, True = lesion; all False without a mask file.

    Raises:
        OSError, ValueError: a mask cannot be read, or has another size than its image.
    """
    union = np.zeros(shape, dtype=bool)
    for path in sample.masks:
        mask = read_mask(path)
        if mask.shape != union.shape:
            raise ValueError(
                f"{path}: a mask must have its image's size, {_size(union)}, but has "
                f"{_size(mask)}; redraw it on {sample.image.name}."
            )
        union |= mask
    return union


def by_stem(samples: Iterable[Sample]) -> dict[str, Sample]:
    """Gives the samples by their stems.

    Raises:
        ValueError: two samples have the same stem.
    """
    result: dict[str, Sample] = {}
    for sample in samples:
        other = result.setdefault(sample.stem, sample)
        if other is not sample:
            raise ValueError(
                f"{sample.image}: a stem names one image, but {other.image} has "
                "it too; rename one of them."
            )
    return result


def _index_class(folder: Path, label: str) -> list[Sample]:
    masks: dict[str, list[Path]] = {}
    images: list[Path] = []
    for path in _image_files(folder):
        mask = _MASK.fullmatch(path.stem)
        if mask:
            masks.setdefault(mask["stem"], []).append(path)
        else:
            images.append(path)
    return [
        Sample(path.stem, label, path, tuple(masks.get(path.stem, ())))
        for path in images
    ]


def _image_files(folder: Path) -> list[Path]:
    files = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    return sorted(files, key=natural_order)


def _size(mask: np.ndarray) -> str:
    return f"{mask.shape[0]} x {mask.shape[1]} (height x width)"
