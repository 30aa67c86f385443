"""nnU-Net's raw datasets: training images and label images of class numbers.

    Dataset001_Breast/dataset.json
    Dataset001_Breast/imagesTr/case_0000.png
    Dataset001_Breast/labelsTr/case.png

Reference: Isensee et al., Nature Methods 18:203, 2021; documentation/dataset_format.md.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from keras_efsnet.images.reading import SUFFIXES
from keras_efsnet.training.datasets.classes import ClassNames, only_label, to_label
from keras_efsnet.training.datasets.drawing import Drawing, read_json
from keras_efsnet.training.datasets.files import list_images
from keras_efsnet.training.datasets.masks import read_values

_CHANNEL = "_0000"


def is_nnunet(folder: Path) -> bool:
    """Says whether a folder is a raw dataset of nnU-Net."""
    return (folder / "dataset.json").is_file() and (folder / "imagesTr").is_dir()


def read_nnunet(folder: Path, names: ClassNames) -> list[Drawing]:
    """Lists the training images with their labels; one without lesion is normal.

    Raises:
        OSError: a file is missing or may not be read.
        ValueError: dataset.json is none, the images are no 2-D images of one channel,
            or a label's value or name is not known.
    """
    table = folder / "dataset.json"
    content = read_json(table)
    values = _label_values(table, content)
    ending = content.get("file_ending", ".png")
    if ending not in SUFFIXES:
        raise ValueError(
            f"{table}: images end in {', '.join(SUFFIXES)}, got '{ending}'; convert "
            "them."
        )
    images = list_images(folder / "imagesTr")
    if not images:
        raise ValueError(
            f"{folder / 'imagesTr'}: no image in it; put the images there."
        )
    return [_drawing(folder, image, ending, values, names) for image in images]


def _label_values(table: Path, content: Any) -> dict[int, str]:
    """The names of the labels' values: of version 2, `{name: value}`, or of 1."""
    try:
        labels = content["labels"]
        if all(str(key).isdecimal() for key in labels):
            return {int(key): str(name) for key, name in labels.items()}
        return {int(value): str(name) for name, value in labels.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{table}: 'labels' must give a name and one value for each class; "
            "correct it."
        ) from error


def _drawing(
    folder: Path, image: Path, ending: str, values: dict[int, str], names: ClassNames
) -> Drawing:
    case = image.stem.removesuffix(_CHANNEL)
    if case == image.stem:
        raise ValueError(
            f"{image}: an image of one channel ends in {_CHANNEL}{ending}; leave the "
            "other channels out."
        )
    file = folder / "labelsTr" / f"{case}{ending}"
    present = [value for value in np.unique(read_values(file)).tolist() if value]
    unknown = [value for value in present if value not in values]
    if unknown:
        raise ValueError(
            f"{file}: the value {unknown[0]} is none of the labels in dataset.json; "
            "add it there."
        )
    labels = {to_label(values[value], names, str(file)) for value in present}
    label = only_label(labels, str(file))
    return Drawing(image, case, label, partial(_draw, file))


def _draw(file: Path, shape: tuple[int, int]) -> np.ndarray:
    return read_values(file) > 0
