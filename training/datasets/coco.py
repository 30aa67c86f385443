"""COCO JSON: images, outlines as polygons or run lengths, and categories.

An image without an annotation is normal: it was looked at, and nothing was drawn.

Reference: Lin et al., ECCV 2014; the encoding of run lengths is pycocotools'.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from keras_efsnet.prediction.polygons import fill_polygon
from keras_efsnet.training.datasets.classes import ClassNames, only_label, to_label
from keras_efsnet.training.datasets.drawing import Drawing, read_json
from keras_efsnet.training.datasets.naming import name_images

_FIVE_BITS, _MORE, _NEGATIVE = 0x1F, 0x20, 0x10


def is_coco(content: Any) -> bool:
    """Says whether a JSON file's content is a COCO dataset."""
    return isinstance(content, dict) and {"images", "annotations"} <= content.keys()


def read_coco(file: Path, names: ClassNames) -> list[Drawing]:
    """Lists a COCO file's images with their outlines and classes.

    The images lie beside the file, in images/ beside it, or in or beside the folder
    above. They are named by their paths in the file, or where these lead elsewhere by
    their own names, with the folders' names before them where two are equal. A
    category's name is a label, or `names` says what it stands for.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no COCO file, an image is not there or listed twice, lesions
            of an image are of two classes, a lesion has no outline or is of an image
            that is not listed, or two images or categories have one number.
    """
    content = read_json(file)
    try:
        kinds = _by_number(content.get("categories", []), f"{file}, categories")
        categories = {number: str(kind["name"]) for number, kind in kinds.items()}
        images = _by_number(content["images"], f"{file}, images")
        lesions = _by_image(content["annotations"], images, file)
        listed = [str(image["file_name"]) for image in images.values()]
        paths = [_find(file, listed_name) for listed_name in listed]
        named = name_images(paths, [_own_parts(listed_name) for listed_name in listed])
        return [
            _drawing(file, image, path, name, lesions[number], categories, names)
            for (number, image), path, name in zip(
                images.items(), paths, named, strict=True
            )
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file}: no COCO file ({type(error).__name__}: {error}); export it again."
        ) from error


def _by_number(entries: Sequence[dict[str, Any]], where: str) -> dict[Any, dict]:
    found = {entry["id"]: entry for entry in entries}
    if len(found) < len(entries):
        raise ValueError(f"{where}: two have the same id; export it again.")
    return found


def _by_image(
    lesions: Sequence[dict[str, Any]], images: Iterable[Any], file: Path
) -> dict[Any, list[dict]]:
    found: dict[Any, list[dict]] = {number: [] for number in images}
    for lesion in lesions:
        if lesion["image_id"] not in found:
            raise ValueError(
                f"{file}: annotation {lesion.get('id')} is of the image "
                f"{lesion['image_id']!r}, but no image has this id; export it again."
            )
        found[lesion["image_id"]].append(lesion)
    return found


def _drawing(
    file: Path,
    image: dict[str, Any],
    path: Path,
    name: str,
    lesions: Sequence[dict[str, Any]],
    categories: dict[Any, str],
    names: ClassNames,
) -> Drawing:
    where = f"{file}, {image['file_name']}"
    labels = [to_label(categories[x["category_id"]], names, where) for x in lesions]
    drawn = [x for x, label in zip(lesions, labels, strict=True) if label != "normal"]
    outlines = [_outline(lesion, where) for lesion in drawn]
    label = only_label(set(labels), where)
    size = image.get("height"), image.get("width")
    return Drawing(path, name, label, partial(_draw, outlines, size, where))


def _own_parts(file_name: str) -> int:
    """The parts of a path in the file; 1 where it leads elsewhere."""
    path = PurePath(file_name)
    leaves = path.is_absolute() or ".." in path.parts
    return 1 if leaves else len(path.parts)


def _find(file: Path, name: str) -> Path:
    for folder in (file.parent, file.parent.parent):
        for path in (folder / name, folder / "images" / name):
            if path.is_file():
                return path
    raise ValueError(
        f"{file}: the image {name} is not there; put it beside the file or in images/."
    )


def _outline(lesion: dict[str, Any], where: str) -> Any:
    outline = lesion.get("segmentation")
    if not outline:
        raise ValueError(
            f"{where}: annotation {lesion.get('id')} has no outline; draw a polygon."
        )
    return outline


def _draw(
    outlines: Sequence[Any],
    size: tuple[Any, Any],
    where: str,
    shape: tuple[int, int],
) -> np.ndarray:
    if all(size) and size != shape:
        raise ValueError(
            f"{where}: drawn on an image of {size[0]} x {size[1]} (height x width), "
            f"but it has {shape[0]} x {shape[1]}; annotate it again."
        )
    mask = np.zeros(shape, bool)
    for outline in outlines:
        lesion = _draw_outline(outline, where, shape)
        if not lesion.any():
            raise ValueError(
                f"{where}: an outline holds no pixel of the image; draw it again."
            )
        mask |= lesion
    return mask


def _draw_outline(outline: Any, where: str, shape: tuple[int, int]) -> np.ndarray:
    if isinstance(outline, dict):
        return decode_runs(outline, shape, where)
    mask = np.zeros(shape, bool)
    for polygon in outline:
        points = np.array(polygon, np.float64)
        if points.size < 6 or points.size % 2:
            raise ValueError(
                f"{where}: a polygon has three points or more; draw it again."
            )
        mask |= fill_polygon(points.reshape(-1, 2), shape)
    return mask


def decode_runs(
    encoded: dict[str, Any], shape: tuple[int, int], where: str
) -> np.ndarray:
    """Decodes a mask in run lengths, column after column, background first.

    Args:
        encoded: `size`, height and width, and `counts`, a list or pycocotools' text.
        shape: `(height, width)` of the image.
        where: the file, for the error.

    Returns:
        bool of that shape.

    Raises:
        ValueError: the size is another one, or the runs do not fill it.
    """
    if tuple(encoded["size"]) != shape:
        raise ValueError(
            f"{where}: run lengths of {encoded['size']} for an image of {list(shape)} "
            "(height, width); export it again."
        )
    counts = encoded["counts"]
    runs = np.array(counts if isinstance(counts, list) else decode_counts(counts), int)
    if runs.size == 0 or runs.min() < 0 or runs.sum() != shape[0] * shape[1]:
        raise ValueError(f"{where}: damaged run lengths; export it again.")
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return values.reshape(shape[::-1]).T


def decode_counts(text: str) -> list[int]:
    """Decodes pycocotools' text: five bits a sign, runs as differences."""
    counts: list[int] = []
    value = bits = 0
    for sign in text.encode("latin-1"):
        digits = sign - ord("0")
        value |= (digits & _FIVE_BITS) << bits
        bits += 5
        if digits & _MORE:
            continue
        if digits & _NEGATIVE:
            value -= 1 << bits
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = bits = 0
    return counts
