"""Splits that keep each patient and each scan on one side."""

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from keras_efsnet.files import write_whole
from keras_efsnet.labels import UNKNOWN
from keras_efsnet.training.datasets.files import read_table
from keras_efsnet.training.datasets.sample import Sample, by_name, order_labels

FOLDS = 5
UNUSED = -1
"""The fold of images that no subset takes."""

SUBSETS = ("train", "validation", "test")
HALVES = ("development", "test")

Subsets = dict[str, tuple[Sample, ...]]


def check_folds_name(path: Path) -> None:
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
    """Numbers the groups that must stay together, from 0 in the order of the samples.

    Images of one patient are one group, and so are images of one scan; a scan of two
    patients' names joins these.

    Args:
        samples: the images.
        duplicates: positions of the images of the same scan, as `find_duplicates` gives
            them; empty if scans were not looked for.

    Returns:
        int `(n,)`, the group of each sample.
    """
    together: dict[str, list[int]] = defaultdict(list)
    for position, sample in enumerate(samples):
        if sample.person is not None:
            together[sample.person].append(position)
    count = len(samples)
    links = [
        (members[0], member)
        for members in (*together.values(), *duplicates)
        for member in members
    ]
    rows, columns = np.array(links, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, first, groups = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[groups]


def find_contradictions(
    samples: Sequence[Sample], duplicates: Sequence[Sequence[int]]
) -> list[int]:
    """Gives the positions of images whose scan is labelled with several classes."""
    return [
        position
        for group in duplicates
        if len({samples[i].label for i in group} - {None}) > 1
        for position in group
    ]


def assign_folds(
    samples: Sequence[Sample],
    groups: np.ndarray,
    unused: Sequence[int] = (),
    seed: int = 0,
) -> np.ndarray:
    """Gives each sample a fold, 0 to 4, stratified by class, no group in two folds.

    Args:
        samples: the images; those of unknown class are one class more.
        groups: int `(n,)`, from `group_samples`.
        unused: positions of images to leave out, from `find_contradictions`.
        seed: of the shuffling.

    Returns:
        int `(n,)`; -1 for what is left out.

    Raises:
        ValueError: a class has images, but fewer groups than there are folds.
    """
    classes = [*order_labels(samples), UNKNOWN]
    labels = np.array([classes.index(sample.label or UNKNOWN) for sample in samples])
    usable = np.setdiff1d(np.arange(len(samples)), np.array(unused, int))
    for number in np.unique(labels[usable]):
        count = len(np.unique(groups[usable][labels[usable] == number]))
        if count < FOLDS:
            raise ValueError(
                f"{FOLDS} folds need as many patients or scans of each class, but "
                f"{classes[number]} has {count}; add images."
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
    """Writes a folds file whole: stem (the sample's name), label, group, fold.

    Raises:
        OSError: it cannot be written.
    """

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["stem", "label", "group", "fold"])
            for sample, group, fold in zip(samples, groups, folds, strict=True):
                writer.writerow([sample.name, sample.label or "", group, fold])

    write_whole(path, write, durable=True)


def find_leaks(
    subsets: Mapping[str, Sequence[Sample]], duplicates: Sequence[Sequence[Sample]]
) -> list[list[Sample]]:
    """Finds the patients and scans that lie in more than one subset.

    Args:
        subsets: the samples by the name of their subset.
        duplicates: samples of the same scan; empty if scans were not looked for.

    Returns:
        The images of each such patient or scan.
    """
    subset = {s.name: name for name, members in subsets.items() for s in members}
    samples = [sample for members in subsets.values() for sample in members]
    position = {sample.name: i for i, sample in enumerate(samples)}
    scans = [[position[s.name] for s in g if s.name in position] for g in duplicates]
    together: dict[int, list[Sample]] = defaultdict(list)
    groups = group_samples(samples, [scan for scan in scans if scan])
    for sample, group in zip(samples, groups.tolist(), strict=True):
        together[group].append(sample)
    return [g for g in together.values() if len({subset[s.name] for s in g}) > 1]


def read_subsets(samples: Sequence[Sample], path: Path) -> Subsets:
    """Reads a folds file with the columns `source`, `stem`, `label` and `subset`.

    Rows of a source of which no sample is given are passed over, so that one hospital's
    part of a split can be used alone.

    Args:
        samples: the images; those that the file does not name stay unused.
        path: the file, such as protocol_c_folds.csv. `stem` is a sample's name, and
            `subset` is train, validation, test or unused.

    Returns:
        The samples by subset, in the order of the file.

    Raises:
        OSError: it is missing or may not be read.
        ValueError: it names an image that is not there, or twice, or says something
            else of it than the dataset.
    """
    named = by_name(samples)
    sources = {sample.source or "" for sample in samples}
    subsets: dict[str, list[Sample]] = {name: [] for name in (*SUBSETS, "unused")}
    seen: set[str] = set()
    for where, row in read_table(path, ("source", "stem", "label", "subset")):
        if row["source"] not in sources:
            continue
        sample = _find(row, named, seen, where)
        if row["subset"] not in subsets:
            raise ValueError(
                f"{where}: a subset is {', '.join(subsets)}, got '{row['subset']}'; "
                "correct it."
            )
        subsets[row["subset"]].append(sample)
    return {name: tuple(subsets[name]) for name in SUBSETS}


def read_halves(samples: Sequence[Sample], path: Path) -> Subsets:
    """Reads a file with the columns `patient` and `half` (development or test).

    Raises:
        OSError: it is missing or may not be read.
        ValueError: a half is another one, or a sample's patient is not in the file.
    """
    half_of = {}
    for where, row in read_table(path, ("patient", "half")):
        if row["half"] not in HALVES:
            raise ValueError(
                f"{where}: a half is {' or '.join(HALVES)}, got '{row['half']}'; "
                "correct it."
            )
        half_of[row["patient"]] = row["half"]
    halves: dict[str, list[Sample]] = {name: [] for name in HALVES}
    for sample in samples:
        if sample.patient not in half_of:
            raise ValueError(
                f"{sample.image}: the patient {sample.patient} is not in {path}; give "
                "the dataset this file was made for."
            )
        halves[half_of[sample.patient]].append(sample)
    return {name: tuple(members) for name, members in halves.items()}


def _find(
    row: dict[str, str], named: dict[str, Sample], seen: set[str], where: str
) -> Sample:
    stem = row["stem"]
    if stem not in named:
        raise ValueError(
            f"{where}: '{stem}' is not in the dataset; give the dataset this split was "
            "made for."
        )
    if stem in seen:
        raise ValueError(f"{where}: '{stem}' is named twice; keep one of the two.")
    seen.add(stem)
    if row["label"] != (named[stem].label or ""):
        raise ValueError(
            f"{where}: '{stem}' is '{row['label']}' here but '{named[stem].label}' in "
            "the dataset; correct one of them."
        )
    return named[stem]
