"""Splits a dataset into folds, stratified by class, that share no scan."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from keras_efsnet.files import write_whole
from keras_efsnet.labels import LABELS
from keras_efsnet.training.datasets.busi import Sample
from keras_efsnet.training.datasets.splits import FOLDS, UNUSED


def check_target(path: Path) -> None:
    """Checks the name of a new folds file.

    Raises:
        ValueError: the name does not end with .csv, or the file exists.
    """
    if path.suffix.lower() != ".csv":
        raise ValueError(f"{path}: a folds file ends with .csv; change the name.")
    if path.exists():
        raise ValueError(
            f"{path}: exists already, and runs may use it; choose another name."
        )


def group_samples(
    samples: Sequence[Sample], duplicates: Sequence[Sequence[int]]
) -> np.ndarray:
    """Numbers the groups from 0, in the order of the samples.

    Args:
        samples: the dataset.
        duplicates: positions of images of the same scan, from `find_duplicates`; each
            other image is a group.

    Returns:
        int `(n,)`, the group of each sample.
    """
    first = np.arange(len(samples))
    for group in duplicates:
        first[list(group)] = min(group)
    return np.unique(first, return_inverse=True)[1]


def assign_folds(
    samples: Sequence[Sample], groups: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Gives each sample a fold, 0 to 4, or -1 if its group has several classes.

    Args:
        groups: int `(n,)`, from `group_samples`.

    Returns:
        int `(n,)`.

    Raises:
        ValueError: a class has fewer usable groups than there are folds.
    """
    labels = np.array([LABELS.index(sample.label) for sample in samples])
    several = [g for g in np.unique(groups) if len(set(labels[groups == g])) > 1]
    usable = np.flatnonzero(~np.isin(groups, several))
    for number, label in enumerate(LABELS):
        count = len(np.unique(groups[usable][labels[usable] == number]))
        if count < FOLDS:
            raise ValueError(
                f"{FOLDS} folds need as many different scans of each class, but "
                f"{label} has {count}; add images."
            )
    folds = np.full(len(samples), UNUSED)
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    parts = splitter.split(usable, labels[usable], groups[usable])
    for fold, (_, held_out) in enumerate(parts):
        folds[usable[held_out]] = fold
    return folds


def write_folds(
    path: Path, samples: Sequence[Sample], groups: np.ndarray, folds: np.ndarray
) -> None:
    """Writes a folds file for `read_split`: stem, label, group, fold."""

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["stem", "label", "group", "fold"])
            for sample, group, fold in zip(samples, groups, folds, strict=True):
                writer.writerow([sample.stem, sample.label, group, fold])

    write_whole(path, write, durable=True)
