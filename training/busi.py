"""The BUSI dataset in its original folder layout, and the splits made of it.

    Dataset_BUSI_with_GT/benign/benign (4).png
    Dataset_BUSI_with_GT/benign/benign (4)_mask.png
    Dataset_BUSI_with_GT/benign/benign (4)_mask_1.png

An image is known by its stem, `benign (4)`. Any dataset laid out and named in this way
is read alike.

Reference: Al-Dhabyani et al., Data in Brief 28:104863, 2020.
"""

import csv
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_efsnet.images import SUFFIXES, read_mask
from keras_efsnet.prediction import LABELS

FOLDS = 5
UNUSED = -1
"""The fold of images that no subset takes, such as scans filed under two classes."""

_REMARKS = ("objection", "annotation")
_MASK = re.compile(r"(?P<stem>.+)_mask(_\d+)?")
_SPLIT_RULE = "a split is one folds file (.csv) or two stem lists (TRAIN.txt VAL.txt)"


@dataclass(frozen=True)
class Sample:
    """One image of the dataset: its stem, class and files (none to several masks)."""

    stem: str
    label: str
    image: Path
    masks: tuple[Path, ...]


@dataclass(frozen=True)
class Split:
    """Three subsets of a dataset, each in the order of the split file.

    Attributes:
        digest: SHA-256 (hex) of the subsets' names and stems, in order.
        protocol: "B" for folds without shared scans, "A" for the published lists,
            which have no test subset of their own: `test` is `validation`.
    """

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]
    digest: str
    protocol: str


def index_dataset(folder: str | Path) -> list[Sample]:
    """Lists a dataset's images with their masks, by class (`LABELS`) and number.

    Raises:
        OSError: the folder is missing or may not be read.
        ValueError: it lacks a class folder, holds no image, or two images share a
            stem.
    """
    samples = list_images(folder)
    _by_stem(samples)
    return samples


def list_images(folder: str | Path) -> list[Sample]:
    """Lists as `index_dataset` does, images that share a stem too.

    Hidden files and files that are no images are passed over.

    Raises:
        OSError: the folder is missing or may not be read.
        ValueError: it lacks a class folder, or holds no image.
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
    """Lists the dataset's mask files that belong to none of its images, the samples."""
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
        bool of that shape, True = lesion; all False where there is no mask file.

    Raises:
        OSError, ValueError: a mask cannot be read, or its size is not the image's.
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


def read_split(
    samples: Sequence[Sample], split_files: Sequence[str | Path], fold: int = 0
) -> Split:
    """Reads which of the samples train, validate and test.

    Args:
        samples: the dataset, from `index_dataset`; those not named stay unused.
        split_files: one folds file with the columns `stem`, `label` and `fold` (0 to
            4; -1 = unused), or a list of training stems and one of validation stems,
            one a line.
        fold: the test fold of a folds file; the next one (mod 5) validates, the other
            three train.

    Raises:
        OSError: a file is missing or may not be read.
        ValueError: what a file says contradicts these rules or the dataset.
    """
    paths = [Path(path) for path in split_files]
    suffixes = [path.suffix.lower() for path in paths]
    if suffixes == [".csv"]:
        return _split_by_fold(samples, paths[0], fold)
    if suffixes == [".txt", ".txt"]:
        if fold != 0:
            raise ValueError(f"fold {fold}: stem lists have no folds; leave it out.")
        return _split_by_lists(samples, paths[0], paths[1])
    names = " ".join(path.name for path in paths) or "nothing"
    raise ValueError(f"{_SPLIT_RULE}, got {names}.")


def read_groups(path: Path) -> dict[str, str]:
    """Gives each image's group of a folds file: images of one scan share theirs.

    Returns:
        Groups by stem; empty where the file has no column `group`.

    Raises:
        OSError, ValueError: it cannot be read, or is no folds file.
    """
    rows = [row for _, row in _read_folds(path)]
    return {row["stem"]: row["group"] for row in rows if row.get("group")}


def read_subgroups(split_files: Sequence[str | Path]) -> dict[str, set[str]]:
    """Groups images by what a folds file's `objection` and `annotation` say of them.

    Each word is a subgroup, such as `text`; `any annotation` and `any objection` hold
    all that have one, `none` those with neither.

    Args:
        split_files: as of `read_split`.

    Returns:
        Stems by the subgroup's name; empty for stem lists and without these columns.

    Raises:
        OSError, ValueError: it cannot be read, or is no folds file.
    """
    path, *others = map(Path, split_files)
    rows = [] if others else [row for _, row in _read_folds(path)]
    subgroups: dict[str, set[str]] = {}
    for row in rows:
        remarks = {name: row[name].split() for name in _REMARKS if name in row}
        names = [word for words in remarks.values() for word in words]
        names += [f"any {name}" for name, words in remarks.items() if words]
        for name in names or (["none"] if remarks else []):
            subgroups.setdefault(name, set()).add(row["stem"])
    return dict(sorted(subgroups.items()))


def hold_out_fifth(samples: Sequence[Sample]) -> Split:
    """Splits a dataset without a split file: every fifth image validates and tests."""
    held_out = samples[::5]
    train = [sample for i, sample in enumerate(samples) if i % 5]
    return _make_split(train, held_out, held_out, "B", [samples[0].image.parent])


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
    return sorted(files, key=_natural_order)


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """Sorts `benign (9)` before `benign (10)`."""
    parts = re.split(r"(\d+)", path.stem)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _split_by_fold(samples: Sequence[Sample], path: Path, fold: int) -> Split:
    if fold not in range(FOLDS):
        raise ValueError(f"fold {fold}: the test fold must be 0 to {FOLDS - 1}.")
    by_stem = _by_stem(samples)
    folds: dict[int, list[Sample]] = {number: [] for number in range(-1, FOLDS)}
    seen: set[str] = set()
    for line, row in _read_folds(path):
        where = f"{path}, line {line}"
        sample = _find(row["stem"], by_stem, seen, where)
        if row["label"] != sample.label:
            raise ValueError(
                f"{where}: {sample.stem} is {row['label']} here but lies in the folder "
                f"{sample.label}; correct one of them."
            )
        folds[_fold_number(row["fold"], where)].append(sample)
    validation = (fold + 1) % FOLDS
    train = [
        sample
        for number in range(FOLDS)
        if number not in (fold, validation)
        for sample in folds[number]
    ]
    return _make_split(train, folds[validation], folds[fold], "B", [path])


def _read_folds(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Gives each row of a folds file with its line number."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file, restval="")
        columns = reader.fieldnames or []
        missing = [name for name in ("stem", "label", "fold") if name not in columns]
        if missing:
            raise ValueError(
                f"{path}: a folds file has the columns stem, label and fold, but "
                f"{', '.join(missing)} is missing; add it to the first line."
            )
        return [(reader.line_num, row) for row in reader]


def _fold_number(text: str, where: str) -> int:
    if text not in {str(number) for number in range(UNUSED, FOLDS)}:
        raise ValueError(
            f"{where}: a fold is 0 to {FOLDS - 1}, or {UNUSED} for an unused image, "
            f"got '{text}'; correct it."
        )
    return int(text)


def _split_by_lists(samples: Sequence[Sample], train: Path, validation: Path) -> Split:
    by_stem = _by_stem(samples)
    # One set for both lists: an image in both would be tested on what was learnt.
    seen: set[str] = set()
    training = _read_stems(train, by_stem, seen)
    held_out = _read_stems(validation, by_stem, seen)
    return _make_split(training, held_out, held_out, "A", [train, validation])


def _read_stems(
    path: Path, by_stem: Mapping[str, Sample], seen: set[str]
) -> list[Sample]:
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return [
        _find(line.strip(), by_stem, seen, f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _find(
    stem: str, by_stem: Mapping[str, Sample], seen: set[str], where: str
) -> Sample:
    if stem not in by_stem:
        raise ValueError(
            f"{where}: '{stem}' is not in the dataset; give the dataset this split was "
            "made for."
        )
    if stem in seen:
        raise ValueError(
            f"{where}: '{stem}' is named twice in the split; keep one of the two."
        )
    seen.add(stem)
    return by_stem[stem]


def _make_split(
    train: Sequence[Sample],
    validation: Sequence[Sample],
    test: Sequence[Sample],
    protocol: str,
    files: Iterable[Path],
) -> Split:
    subsets = {"train": train, "validation": validation, "test": test}
    empty = [name for name, subset in subsets.items() if not subset]
    if empty:
        raise ValueError(
            f"{', '.join(map(str, files))}: every subset needs an image, but "
            f"{', '.join(empty)} has none; name some."
        )
    digest = hashlib.sha256()
    for name, subset in subsets.items():
        digest.update("\n".join([name, *(s.stem for s in subset), ""]).encode())
    frozen = {name: tuple(subset) for name, subset in subsets.items()}
    return Split(**frozen, digest=digest.hexdigest(), protocol=protocol)


def _by_stem(samples: Iterable[Sample]) -> dict[str, Sample]:
    by_stem: dict[str, Sample] = {}
    for sample in samples:
        twin = by_stem.setdefault(sample.stem, sample)
        if twin is not sample:
            raise ValueError(
                f"{sample.image}: a stem names one image, but {twin.image} has it too; "
                "rename one of them."
            )
    return by_stem


def _size(mask: np.ndarray) -> str:
    return f"{mask.shape[0]} x {mask.shape[1]} (height x width)"
