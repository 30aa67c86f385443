"""BUSI in its original folder layout, and any dataset laid out in this way.

    Dataset_BUSI_with_GT/benign/benign (4).png
    Dataset_BUSI_with_GT/benign/benign (4)_mask.png
    Dataset_BUSI_with_GT/benign/benign (4)_mask_1.png

The folders give the classes. BUSI names no patients.

Reference: Al-Dhabyani et al., Data in Brief 28:104863, 2020.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from keras_efsnet.images.mask_names import is_mask_name, mask_owner
from keras_efsnet.images.reading import SUFFIXES
from keras_efsnet.labels import LABELS
from keras_efsnet.training.datasets.files import list_images
from keras_efsnet.training.datasets.sample import Sample

LAYOUT = "BUSI (folders normal/, benign/ and malignant/ of images and _mask files)"

_STEM = re.compile(rf"({'|'.join(LABELS)}) \(\d+\)")


def is_busi(folder: Path) -> bool:
    """Says whether a folder holds the three class folders."""
    return all((folder / label).is_dir() for label in LABELS)


def read_busi(folder: Path) -> list[Sample]:
    """Lists the images with their masks, by class (`LABELS`) and number.

    An image is named by its stem. The source is "busi" where all stems are BUSI's, and
    is unknown otherwise.

    Raises:
        OSError: the folder may not be read.
        ValueError: it holds no image.
    """
    samples = [s for label in LABELS for s in read_class(folder / label, label)]
    if not samples:
        raise ValueError(
            f"{folder}: no image in its class folders; put {', '.join(SUFFIXES)} "
            "files there."
        )
    if all(_STEM.fullmatch(sample.name) for sample in samples):
        return [replace(s, source="busi", device="GE LOGIQ E9") for s in samples]
    return samples


def read_class(folder: Path, label: str | None) -> list[Sample]:
    """Lists the images of one folder with the masks beside them.

    Raises:
        OSError: the folder is missing or may not be read.
    """
    files = list_images(folder)
    images = [path for path in files if not is_mask_name(path)]
    masks: dict[str, list[Path]] = {path.stem: [] for path in images}
    for path in files:
        owner = mask_owner(path, masks)
        if owner is not None:
            masks[owner].append(path)
    return [Sample(path.stem, label, path, tuple(masks[path.stem])) for path in images]


def list_orphan_masks(folder: Path, samples: Sequence[Sample]) -> list[Path]:
    """Lists the mask files in the class folders that belong to none of the samples."""
    owned = {mask for sample in samples for mask in sample.masks}
    files = [path for label in LABELS for path in list_images(folder / label)]
    return [path for path in files if is_mask_name(path) and path not in owned]
