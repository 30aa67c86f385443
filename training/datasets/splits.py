"""Reads splits into training, validation and test from folds files or stem lists."""

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keras_efsnet.training.datasets.groups import (
    FOLDS,
    UNUSED,
    group_samples,
    read_halves,
    read_subsets,
)
from keras_efsnet.training.datasets.sample import Sample, by_name

_REMARKS = ("objection", "annotation")
_SPLIT_RULE = "a split is one folds file (.csv) or two stem lists (TRAIN.txt VAL.txt)"


@dataclass(frozen=True)
class Split:
    """Three subsets of a dataset, each in the order of the split file.

    Attributes:
        digest: SHA-256 (hex) of the subsets' names and stems, in order.
        protocol: "B" for folds without shared scans, "A" for the published lists, which
            have no test subset: `test` is `validation`; "C" for a file of subsets of
            several hospitals, or none.
    """

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]
    digest: str
    protocol: str


def read_split(
    samples: Sequence[Sample], split_files: Sequence[str | Path], fold: int = 0
) -> Split:
    """Splits samples into training, validation and test.

    Args:
        samples: the dataset, from `read_dataset`; samples not in the files are unused.
        split_files: one folds file with the columns `stem`, `label` and `fold` (0 to
            4; -1 = unused), or `source`, `stem`, `label` and `subset` (see
            `groups.read_subsets`), or `patient` and `half` (see `groups.read_halves`;
            `development` is for validation); or a list of training stems and one of
            validation stems, one stem per line.
        fold: the test fold of a folds file; the next one (mod 5) is for validation, the
            other three for training.

    Raises:
        OSError: a file is missing or unreadable.
        ValueError: a file breaks these rules or does not match the dataset.
    """
    paths = [Path(path) for path in split_files]
    suffixes = [path.suffix.lower() for path in paths]
    if suffixes == [".csv"]:
        columns, _ = _read_folds(paths[0])
        if "half" in columns:
            halves = read_halves(samples, paths[0])
            return _freeze((), halves["development"], halves["test"], "C")
        if "subset" in columns:
            subsets = read_subsets(samples, paths[0])
            return _make_split(**subsets, protocol="C", files=paths)
        return _split_by_fold(samples, paths[0], fold)
    if suffixes == [".txt", ".txt"]:
        if fold != 0:
            raise ValueError(f"fold {fold}: stem lists have no folds; leave it out.")
        return _split_by_lists(samples, paths[0], paths[1])
    names = " ".join(path.name for path in paths) or "nothing"
    raise ValueError(f"{_SPLIT_RULE}, got {names}.")


def read_groups(path: Path) -> dict[str, str]:
    """Reads each image's group from a folds file; images of one scan share a group.

    Returns:
        Groups by stem; empty without the column `group`.

    Raises:
        OSError, ValueError: the file cannot be read, or is not a folds file.
    """
    rows = [row for _, row in _read_folds(path)[1]]
    return {row["stem"]: row["group"] for row in rows if row.get("group")}


def read_subgroups(split_files: Sequence[str | Path]) -> dict[str, set[str]]:
    """Groups images by the words in a folds file's columns `objection`, `annotation`.

    Each word is a subgroup, such as `text`. `any annotation` and `any objection` hold
    all images with one, `none` the images with neither.

    Args:
        split_files: as in `read_split`.

    Returns:
        Stems by the subgroup's name; empty for stem lists and without these columns.

    Raises:
        OSError, ValueError: the file cannot be read, or is not a folds file.
    """
    path, *others = map(Path, split_files)
    rows = [] if others else [row for _, row in _read_folds(path)[1]]
    subgroups: dict[str, set[str]] = {}
    for row in rows:
        remarks = {name: row[name].split() for name in _REMARKS if name in row}
        names = [word for words in remarks.values() for word in words]
        names += [f"any {name}" for name, words in remarks.items() if words]
        for name in names or (["none"] if remarks else []):
            subgroups.setdefault(name, set()).add(row["stem"])
    return dict(sorted(subgroups.items()))


def take_all(samples: Sequence[Sample]) -> Split:
    """Takes all samples as the test subset, such as those of another hospital."""
    return _freeze((), (), samples, "C")


def name_groups(
    samples: Sequence[Sample], split_files: Sequence[str | Path] = ()
) -> dict[str, str]:
    """Names the group of each image: images of one patient or scan have the same one.

    Patients are those of the dataset, and scans are the groups of a folds file. A scan
    under two patients' names joins these.

    Args:
        samples: the images of one or more datasets.
        split_files: as in `read_split`; stem lists have no groups.

    Returns:
        By stem, the stem of the group's first image.

    Raises:
        OSError, ValueError: the file cannot be read, or is not a folds file.
    """
    alone = len(split_files) == 1
    scan_of = read_groups(Path(split_files[0])) if alone else {}
    scans: dict[str, list[int]] = {}
    for position, sample in enumerate(samples):
        if sample.stem in scan_of:
            scans.setdefault(scan_of[sample.stem], []).append(position)
    first: dict[int, str] = {}
    groups = group_samples(samples, list(scans.values())).tolist()
    return {
        sample.stem: first.setdefault(group, sample.stem)
        for sample, group in zip(samples, groups, strict=True)
    }


def group_by_facts(samples: Sequence[Sample]) -> dict[str, set[str]]:
    """Groups images by device, BI-RADS category and histology.

    Returns:
        Stems by the subgroup's name, such as `device: GE Logiq 7 @10-14MHz`, without
        those of all the images.
    """
    subgroups: dict[str, set[str]] = {}
    for fact in ("device", "birads", "histology"):
        for sample in samples:
            if value := getattr(sample, fact):
                subgroups.setdefault(f"{fact}: {value}", set()).add(sample.stem)
    return {
        name: stems
        for name, stems in sorted(subgroups.items())
        if len(stems) < len(samples)
    }


def hold_out_fifth(samples: Sequence[Sample]) -> Split:
    """Splits without a file: every fifth image is for validation and test."""
    held_out = samples[::5]
    train = [sample for i, sample in enumerate(samples) if i % 5]
    return _make_split(train, held_out, held_out, "B", [samples[0].image.parent])


def _split_by_fold(samples: Sequence[Sample], path: Path, fold: int) -> Split:
    if fold not in range(FOLDS):
        raise ValueError(f"fold {fold}: the test fold must be 0 to {FOLDS - 1}.")
    named = by_name(samples)
    folds: dict[int, list[Sample]] = {number: [] for number in range(-1, FOLDS)}
    seen: set[str] = set()
    for line, row in _read_folds(path)[1]:
        where = f"{path}, line {line}"
        sample = _find(row["stem"], named, seen, where)
        if row["label"] != (sample.label or ""):
            raise ValueError(
                f"{where}: {sample.stem} is {row['label']} here but lies in the folder "
                f"{sample.label}; correct the file or move the image."
            )
        folds[_fold_number(row["fold"], where)].append(sample)
    validation = (fold + 1) % FOLDS
    others = [n for n in range(FOLDS) if n not in (fold, validation)]
    train = [sample for number in others for sample in folds[number]]
    return _make_split(train, folds[validation], folds[fold], "B", [path])


def _read_folds(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Reads a folds file's columns, and its rows with their line numbers."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file, restval="")
        columns = list(reader.fieldnames or [])
        needed: tuple[str, ...] = ("patient", "half")
        if "half" not in columns:
            needed = ("stem", "label", "subset" if "subset" in columns else "fold")
        missing = [name for name in needed if name not in columns]
        if missing:
            raise ValueError(
                f"{path}: a folds file has the columns stem, label and fold, but "
                f"{', '.join(missing)} is missing; add it to the first line."
            )
        return columns, [(reader.line_num, row) for row in reader]


def _fold_number(text: str, where: str) -> int:
    if text not in {str(number) for number in range(UNUSED, FOLDS)}:
        raise ValueError(
            f"{where}: a fold is 0 to {FOLDS - 1}, or {UNUSED} for an unused image, "
            f"got '{text}'; correct it."
        )
    return int(text)


def _split_by_lists(samples: Sequence[Sample], train: Path, validation: Path) -> Split:
    named = by_name(samples)
    # One set for both lists, to reject an image that is in both.
    seen: set[str] = set()
    training = _read_stems(train, named, seen)
    held_out = _read_stems(validation, named, seen)
    return _make_split(training, held_out, held_out, "A", [train, validation])


def _read_stems(
    path: Path, named: Mapping[str, Sample], seen: set[str]
) -> list[Sample]:
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return [
        _find(line.strip(), named, seen, f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _find(stem: str, named: Mapping[str, Sample], seen: set[str], where: str) -> Sample:
    if stem not in named:
        raise ValueError(
            f"{where}: '{stem}' is not in the dataset; give the dataset this split was "
            "made for."
        )
    if stem in seen:
        raise ValueError(
            f"{where}: '{stem}' is named twice in the split; keep one of the two."
        )
    seen.add(stem)
    return named[stem]


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
            f"{', '.join(empty)} has none; add images to it."
        )
    return _freeze(train, validation, test, protocol)


def _freeze(
    train: Sequence[Sample],
    validation: Sequence[Sample],
    test: Sequence[Sample],
    protocol: str,
) -> Split:
    digest = hashlib.sha256()
    subsets = {"train": train, "validation": validation, "test": test}
    for name, subset in subsets.items():
        digest.update("\n".join([name, *(s.stem for s in subset), ""]).encode())
    frozen = {name: tuple(subset) for name, subset in subsets.items()}
    return Split(**frozen, digest=digest.hexdigest(), protocol=protocol)
