"""Makes a manifest of datasets in any known layout or annotation format.

What each path holds is told by its content:

- a dataset that `reading.read_dataset` reads;
- COCO JSON, in a file, a folder or its annotations/;
- LabelMe files, in a folder and its sub-folders;
- a raw dataset of nnU-Net;
- class folders: some of normal/, benign/ and malignant/, and those that `names` has,
  with `_mask` files in them;
- a folder of images and a folder of masks of the same names, with or without `_mask`;
- a folder of images with `_mask` files beside them.

In the last two a CSV file with the columns `image` and `label` gives the classes;
without one they are unknown.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from keras_efsnet.images.mask_names import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    is_mask_name,
    mask_owner,
)
from keras_efsnet.labels import LABELS
from keras_efsnet.training.datasets.busi import read_busi, read_class
from keras_efsnet.training.datasets.classes import (
    ClassNames,
    find_class_table,
    label_samples,
    to_label,
)
from keras_efsnet.training.datasets.coco import is_coco, read_coco
from keras_efsnet.training.datasets.drawing import (
    Drawing,
    Progress,
    draw_masks,
    read_json,
)
from keras_efsnet.training.datasets.files import list_below, list_images
from keras_efsnet.training.datasets.labelme import (
    Annotation,
    draw_mask,
    read_annotations,
)
from keras_efsnet.training.datasets.manifest import check_manifest_name, write_manifest
from keras_efsnet.training.datasets.naming import name_folders, name_images
from keras_efsnet.training.datasets.nnunet import is_nnunet, read_nnunet
from keras_efsnet.training.datasets.reading import LAYOUTS, find_reader, read_dataset
from keras_efsnet.training.datasets.sample import Sample, by_name

FORMATS = (
    *("COCO JSON", "LabelMe files", "nnU-Net (dataset.json and imagesTr/)"),
    *("class folders", "images/ and masks/", "images with _mask files beside them"),
)


def index_datasets(
    paths: Sequence[Path],
    out: Path,
    *,
    classes: Path | None = None,
    names: ClassNames | None = None,
    progress: Progress = lambda done, total: None,
) -> list[Sample]:
    """Writes a manifest of datasets, and the masks that have to be drawn beside it.

    Images and mask files stay where they are and are not changed. Masks that COCO,
    LabelMe or nnU-Net describe are drawn into `<manifest's stem>_masks/`. On an error
    neither is there.

    Args:
        paths: files and folders, see above.
        out: the manifest, such as data/manifest.csv; must not exist.
        classes: a CSV file with the columns `image` and `label`, for folders of images;
            by default one that lies in the folder.
        names: what names of classes stand for, see `classes.parse_names`.
        progress: told of each mask that is drawn.

    Returns:
        The samples, as `read_manifest(out)` gives them.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: a path holds none of these, its files contradict each other, two
            images share a name, one is a mask by its name, or `out` is taken.
    """
    masks = out.with_name(f"{out.stem}_masks")
    check_manifest_name(out)
    if masks.exists():
        raise ValueError(f"{masks}: exists already; choose another name for {out}.")
    sources = name_folders([_dataset_folder(path.resolve()) for path in paths])
    found = [
        _read(path, source, classes, names or {})
        for path, source in zip(paths, sources, strict=True)
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".index-", dir=out.parent) as part:
        samples = [
            sample
            for source, content in zip(sources, found, strict=True)
            for sample in _to_samples(source, content, Path(part), progress)
        ]
        by_name(samples)
        return _put_in_place(samples, Path(part), masks, out)


def _to_samples(
    source: str,
    content: list[Sample] | list[Drawing],
    folder: Path,
    progress: Progress,
) -> list[Sample]:
    samples = [item for item in content if isinstance(item, Sample)]
    drawings = [item for item in content if isinstance(item, Drawing)]
    return samples + draw_masks(drawings, source, folder / "masks", progress)


def _put_in_place(
    samples: Sequence[Sample], part: Path, masks: Path, out: Path
) -> list[Sample]:
    drawn = part / "masks"

    def move(file: Path) -> Path:
        inside = file.is_relative_to(drawn)
        return masks / file.relative_to(drawn) if inside else file

    samples = [replace(s, masks=tuple(map(move, s.masks))) for s in samples]
    if drawn.exists():
        drawn.rename(masks)
    try:
        write_manifest(samples, out)
    except (OSError, ValueError):
        shutil.rmtree(masks, ignore_errors=True)
        raise
    return samples


def _dataset_folder(path: Path) -> Path:
    if not path.is_file():
        return path
    return path.parent.parent if path.parent.name == "annotations" else path.parent


def _read(
    path: Path, source: str, classes: Path | None, names: ClassNames
) -> list[Sample] | list[Drawing]:
    if path.is_file():
        is_json = path.suffix.lower() == ".json"
        return read_coco(path, names) if is_json else read_dataset(path)
    reader = find_reader(path)
    if reader is read_busi:
        samples = read_busi(path)
        return samples if samples[0].source else _name_samples(samples, source)
    if reader is not None:
        return read_dataset(path)
    if is_nnunet(path):
        return read_nnunet(path, names)
    annotations = _find_coco(path)
    if annotations is not None:
        return read_coco(annotations, names)
    if _has_labelme(path):
        return [_from_labelme(a) for a in read_annotations(path, names)]
    samples = _read_folders(path, names)
    table = classes or find_class_table(path)
    if table is not None and all(sample.label is None for sample in samples):
        samples = label_samples(samples, table, names)
    return _name_samples(samples, source)


def _find_coco(folder: Path) -> Path | None:
    files = sorted((*folder.glob("*.json"), *folder.glob("annotations/*.json")))
    found = [file for file in files if is_coco(read_json(file))]
    if len(found) > 1:
        raise ValueError(
            f"{folder}: several COCO files, such as {found[1]}; give each by itself."
        )
    return found[0] if found else None


def _has_labelme(folder: Path) -> bool:
    files = list_below(folder, ".json")
    content = read_json(files[0]) if files else None
    return isinstance(content, dict) and "shapes" in content


def _name_samples(samples: Sequence[Sample], source: str) -> list[Sample]:
    names = name_images([sample.image for sample in samples])
    return [
        replace(sample, name=f"{source}/{name}", source=source)
        for sample, name in zip(samples, names, strict=True)
    ]


def _from_labelme(annotation: Annotation) -> Drawing:
    draw = partial(draw_mask, annotation)
    return Drawing(annotation.image, annotation.name, annotation.label, draw)


def _read_folders(folder: Path, names: ClassNames) -> list[Sample]:
    inside = {p.name.lower(): p for p in sorted(folder.iterdir()) if p.is_dir()}
    classes = [name for name in dict.fromkeys([*LABELS, *names]) if name in inside]
    if classes:
        _refuse_other_folders(inside, classes, names)
        labels = {name: to_label(name, names, str(folder)) for name in classes}
        return [s for n in classes for s in _read_images(inside[n], labels[n])]
    images = next((inside[name] for name in IMAGE_FOLDERS if name in inside), None)
    masks = next((inside[name] for name in MASK_FOLDERS if name in inside), None)
    if images and masks:
        return pair_folders(images, masks)
    samples = _read_images(folder, None)
    if not samples:
        raise ValueError(
            f"{folder}: has none of the layouts {'; '.join((*LAYOUTS, *FORMATS))}. "
            "To fix: arrange it as one of these, name the class of each folder with "
            "--class FOLDER=LABEL, or write a manifest."
        )
    return samples


def _refuse_other_folders(
    inside: Mapping[str, Path], classes: Sequence[str], names: ClassNames
) -> None:
    """Raises ValueError for a folder of images without a class beside named ones."""
    if not set(classes) & names.keys():
        return
    for name, folder in inside.items():
        if name not in classes and list_images(folder):
            raise ValueError(
                f"{folder}: is the folder of no class; give --class {name}=LABEL, or "
                f"{name}=unknown."
            )


def _read_images(folder: Path, label: str | None) -> list[Sample]:
    samples = read_class(folder, label)
    used = {path for s in samples for path in (s.image, *s.masks)}
    orphans = [path for path in list_images(folder) if path not in used]
    if orphans:
        raise ValueError(
            f"{orphans[0]}: a mask by its name, but no image beside it has the rest of "
            "that name; rename or remove it."
        )
    return samples


def pair_folders(images: Path, masks: Path) -> list[Sample]:
    """Pairs the images of one folder with the masks of another.

    A mask has its image's stem, or that and what `mask_names.mask_owner` allows.

    Raises:
        OSError: a folder may not be read.
        ValueError: a mask belongs to no image or lies among them, or there is none.
    """
    files = list_images(images)
    named = [path for path in files if is_mask_name(path)]
    if named:
        raise ValueError(
            f"{named[0]}: a mask by its name, but it lies among the images; move or "
            "rename it."
        )
    owned: dict[str, list[Path]] = {path.stem: [] for path in files}
    for mask in list_images(masks):
        owner = mask.stem if mask.stem in owned else mask_owner(mask, owned)
        if owner is None:
            raise ValueError(
                f"{mask}: belongs to no image in {images}; give it its image's name."
            )
        owned[owner].append(mask)
    if not files:
        raise ValueError(f"{images}: no image in it; put the images there.")
    return [Sample(path.stem, None, path, tuple(owned[path.stem])) for path in files]
