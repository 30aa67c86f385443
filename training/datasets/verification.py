"""Checks the files and masks of datasets and finds repeated scans."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from keras_efsnet.files import describe_error, relative_path, write_text
from keras_efsnet.images.reading import read_image
from keras_efsnet.labels import LABELS
from keras_efsnet.training.datasets.busi import is_busi, list_orphan_masks
from keras_efsnet.training.datasets.duplicates import Progress, find_duplicates
from keras_efsnet.training.datasets.masks import mask_problems, read_mask_file
from keras_efsnet.training.datasets.reading import list_samples
from keras_efsnet.training.datasets.sample import Sample, order_labels

REPORT_NAME = "report.json"
UNREADABLE = "unreadable"

TWO_GREYS = 0.95
"""Largest part of a scan's pixels that have its two commonest values. In BUSI, BUS-BRA
and BUS-UCLM it is 0.48 at most."""


@dataclass(frozen=True)
class Problem:
    """A problem with a file."""

    kind: str
    file: Path
    detail: str


@dataclass(frozen=True)
class DataReport:
    """The results of `verify_datasets`.

    Attributes:
        folder: that all datasets lie in.
        images: their number.
        problems: of single files or groups.
        duplicate_groups: two or more images of the same scan each.
    """

    folder: Path
    images: int
    problems: tuple[Problem, ...]
    duplicate_groups: tuple[tuple[Sample, ...], ...]


def verify_datasets(
    paths: Sequence[Path], progress: Progress = lambda done, total: None
) -> DataReport:
    """Checks every image and mask of datasets, and finds images of the same scan.

    Args:
        paths: the datasets, as `reading.read_dataset` takes them.
        progress: told of each step.

    Raises:
        OSError, ValueError: a path is not a dataset, or OpenCV is not installed.
    """
    samples = [sample for path in paths for sample in list_samples(path)]
    # Finding the duplicates takes three more steps per image.
    steps = 4 * len(samples)
    problems = _check_names(samples) + _check_orphans(paths, samples)
    # A dataset of classes alone has no mask at all.
    check = partial(_check_files, needs_mask=any(s.masks for s in samples))
    with ThreadPoolExecutor() as pool:
        for done, found in enumerate(pool.map(check, samples), start=1):
            problems += found
            progress(done, steps)
    unreadable = {problem.file for problem in problems if problem.kind == UNREADABLE}
    readable = [sample for sample in samples if sample.image not in unreadable]
    groups = find_duplicates(
        [sample.image for sample in readable],
        lambda done, total: progress(steps - total + done, steps),
    )
    duplicates = [tuple(readable[i] for i in group) for group in groups]
    problems += [p for group in duplicates for p in _check_labels(group)]
    folder = _common_folder(paths)
    return DataReport(folder, len(samples), tuple(problems), tuple(duplicates))


def write_report(report: DataReport, out: Path) -> None:
    """Writes report.json; file names are relative to the folder of the datasets."""

    def name(file: Path) -> str:
        return relative_path(file, report.folder)

    values = {
        "images": report.images,
        "problems": [
            {"kind": p.kind, "path": name(p.file), "detail": p.detail}
            for p in report.problems
        ],
        "duplicate_groups": [
            {
                "images": [name(sample.image) for sample in group],
                "labels": [sample.label for sample in group],
            }
            for group in report.duplicate_groups
        ],
    }
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    write_text(out / REPORT_NAME, text, durable=True)


def _common_folder(paths: Sequence[Path]) -> Path:
    folders = [path if path.is_dir() else path.parent for path in paths]
    try:
        return Path(os.path.commonpath([os.path.abspath(folder) for folder in folders]))
    except ValueError:  # They lie on several drives.
        return folders[0]


def _check_files(sample: Sample, needs_mask: bool) -> list[Problem]:
    """Reads an image and its masks."""
    try:
        grey = read_image(sample.image)
    except (OSError, ValueError) as error:
        return [Problem(UNREADABLE, sample.image, describe_error(error))]
    problems, lesion = _check_scan(sample.image, grey), 0
    for file in sample.masks:
        found = mask_problems(file, grey.shape)
        problems += [Problem(odd.kind, file, odd.detail) for odd in found]
        if not any(odd.fix for odd in found):
            lesion += int(np.count_nonzero(read_mask_file(file)))
    if not problems:
        problems += _check_lesion(sample, lesion, needs_mask)
    return problems


def _check_scan(file: Path, grey: np.ndarray) -> list[Problem]:
    """Checks that an image has greys, as a mask that lies among the images has not."""
    share = np.sort(np.bincount(grey.ravel()))[-2:].sum() / grey.size
    if share <= TWO_GREYS:
        return []
    detail = f"{share:.1%} of its pixels have two grey values, as those of a mask do"
    return [Problem("no scan", file, detail)]


def _check_lesion(sample: Sample, lesion: int, needs_mask: bool) -> list[Problem]:
    """Checks that tumour images have lesion pixels and normal images have none."""
    if sample.label == "normal":
        if not lesion:
            return []
        detail = f"{lesion} lesion pixels in a normal image"
        return [Problem("lesion in normal", sample.masks[0], detail)]
    if not sample.masks and not needs_mask:
        return []
    if not sample.masks:
        return [Problem("missing mask", sample.image, "no mask file has its stem")]
    if not lesion:
        return [Problem("empty mask", sample.masks[0], "no lesion pixel in any mask")]
    return []


def _check_names(samples: Sequence[Sample]) -> list[Problem]:
    problems: list[Problem] = []
    by_stem: dict[str, Sample] = {}
    for sample in samples:
        named = sample.stem.split(" ")[0].lower()
        if named in LABELS and named != sample.label:
            detail = f"named {named}, but lies in the folder {sample.label}"
            problems.append(Problem("wrong folder", sample.image, detail))
        other = by_stem.setdefault(sample.stem, sample)
        if other is not sample:
            detail = f"{other.image} has the same stem"
            problems.append(Problem("repeated name", sample.image, detail))
    return problems


def _check_orphans(paths: Sequence[Path], samples: Sequence[Sample]) -> list[Problem]:
    return [
        Problem("orphan mask", mask, "no image beside it has its stem")
        for folder in filter(is_busi, paths)
        for mask in list_orphan_masks(folder, samples)
    ]


def _check_labels(group: Sequence[Sample]) -> list[Problem]:
    labels = order_labels(group)
    if len(labels) < 2:
        return []
    stems = ", ".join(sample.stem for sample in group)
    detail = f"{stems} are one scan, but {' and '.join(labels)}"
    return [Problem("duplicates of different classes", group[0].image, detail)]
