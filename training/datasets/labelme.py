"""Converts corrected LabelMe files to a dataset in BUSI's layout.

The label of an image's polygons is its class; an image without a polygon is normal.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_efsnet.files import write_whole
from keras_efsnet.images.mask_names import check_image_name, is_mask_name
from keras_efsnet.images.reading import SUFFIXES, read_image
from keras_efsnet.labels import LESIONS, NORMAL, UNKNOWN
from keras_efsnet.prediction.polygons import fill_polygon
from keras_efsnet.training.datasets.classes import ClassNames
from keras_efsnet.training.datasets.files import list_below
from keras_efsnet.training.datasets.naming import name_images


@dataclass(frozen=True, eq=False)
class Annotation:
    """Content of a LabelMe file.

    Attributes:
        image: the image file.
        name: names it among the annotations that are read with it: its stem, with the
            folders' names and `_` before it where two stems are equal.
        label: its class; None if it is unknown.
        polygons: each float64 `(points, 2)`, x and y in pixels.
    """

    image: Path
    name: str
    label: str | None
    polygons: tuple[np.ndarray, ...]


def read_annotations(folder: Path, names: ClassNames | None = None) -> list[Annotation]:
    """Reads all LabelMe files in a folder and its sub-folders.

    Args:
        folder: of the files.
        names: what names of classes stand for, see `classes.parse_names`.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not a LabelMe file, its image is missing or a mask by its
            name, its shapes are not polygons in it of one class, or two are of one
            image.
    """
    files = list_below(folder, ".json")
    if not files:
        raise ValueError(
            f"{folder}: no LabelMe file here; give the folder labelme/ that `efsnet "
            "predict --format labelme` writes."
        )
    annotations = [_read(file, names or {}) for file in files]
    own = name_images([a.image for a in annotations], between="_")
    named = [replace(a, name=n) for a, n in zip(annotations, own, strict=True)]
    for annotation in named:
        file_name = _file_name(annotation)
        if is_mask_name(Path(file_name)):
            raise ValueError(
                f"{annotation.image}: the dataset would name it {file_name}, as a mask "
                "is named; rename its folder."
            )
    return named


def write_dataset(annotations: Sequence[Annotation], out: Path) -> None:
    """Copies each image to its class's folder and draws its mask beside it.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: `out` is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out}: not an empty folder; choose a new one.")
    for label in ("normal", *LESIONS):
        (out / label).mkdir(parents=True, exist_ok=True)
    for annotation in annotations:
        _write(annotation, out / str(annotation.label) / _file_name(annotation))


def draw_mask(annotation: Annotation, shape: tuple[int, int]) -> np.ndarray:
    """Draws the polygons, bool of the image's `(height, width)`."""
    mask = np.zeros(shape, bool)
    for points in annotation.polygons:
        mask |= fill_polygon(points, shape)
    return mask


def _file_name(annotation: Annotation) -> str:
    return f"{annotation.name}{annotation.image.suffix}"


def _write(annotation: Annotation, path: Path) -> None:
    write_whole(path, lambda part: shutil.copyfile(annotation.image, part))
    mask = draw_mask(annotation, read_image(path).shape)
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    mask_file = path.with_name(f"{annotation.name}_mask.png")
    write_whole(mask_file, lambda part: image.save(part, format="PNG"))


def _read(file: Path, names: ClassNames) -> Annotation:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        image = (file.parent / content["imagePath"]).resolve()
        shape = (content["imageHeight"], content["imageWidth"])
        polygons = tuple(_polygon(file, drawn) for drawn in content["shapes"])
        found = [str(drawn["label"]) for drawn in content["shapes"]]
        labels = {names.get(label.strip().lower(), label) for label in found}
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{file}: no LabelMe file ({type(error).__name__}: {error}); remove it or "
            "save it again."
        ) from error
    allowed = dict.fromkeys([*LESIONS, *names.values()])
    if len(labels) > 1 or not labels <= allowed.keys():
        raise ValueError(
            f"{file}: all polygons of an image are {' or all '.join(allowed)}, got "
            f"{', '.join(sorted(labels))}; relabel them."
        )
    if image.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{image}: a dataset's images end in {', '.join(SUFFIXES)}; convert it."
        )
    if read_image(image).shape != shape:
        raise ValueError(
            f"{file}: drawn on an image of {shape[0]} x {shape[1]} (height x width), "
            f"but {image} has another size; annotate it again."
        )
    if not all(fill_polygon(points, shape).any() for points in polygons):
        raise ValueError(
            f"{file}: a polygon holds no pixel of its image; draw it again."
        )
    check_image_name(image)
    label = min(labels, default=NORMAL)
    return Annotation(image, image.stem, None if label == UNKNOWN else label, polygons)


def _polygon(file: Path, drawn: dict[str, Any]) -> np.ndarray:
    points = np.array(drawn["points"], np.float64)
    if drawn["shape_type"] != "polygon" or points.shape[1:] != (2,) or len(points) < 3:
        raise ValueError(
            f"{file}: each shape must be a polygon of three points or more, got "
            f"{drawn['shape_type']} of {len(points)}; draw it as one."
        )
    return points
