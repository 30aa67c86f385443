"""Scans and patients that are on both sides of a split."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from keras_efsnet.training.datasets.groups import find_leaks
from keras_efsnet.training.datasets.sample import Sample
from keras_efsnet.training.datasets.splits import Split, read_groups

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""


def warn_of_leaks(split: Split, split_files: Sequence[str | Path]) -> None:
    """Logs a warning if `count_leaks` counts any."""
    warning = describe_leaks(*count_leaks(split, split_files))
    if warning:
        logging.getLogger(__name__).warning(warning)


def describe_leaks(scans: int, images: int) -> str:
    """Says what the numbers of `count_leaks` mean; "" where there is no leak."""
    if not scans:
        return ""
    return (
        f"{scans} scans ({images} near-duplicate images) lie in more than one of "
        "training, validation and test, so figures will be too good; efsnet data split "
        "makes folds without them."
    )


def count_leaks(
    split: Split,
    split_files: Sequence[str | Path],
    progress: Progress = lambda done, total: None,
) -> tuple[int, int]:
    """Counts the scans and patients in more than one of training, validation and test.

    Images with one value of a folds file's `group` are one scan. Without this column,
    `remembered_duplicates` looks for them.

    Args:
        split: of a dataset.
        split_files: the files that it was read from.
        progress: told of each step of looking for scans.

    Returns:
        The number of these scans or patients, and of their images.

    Raises:
        OSError, ValueError: a file cannot be read, or OpenCV is not installed.
    """
    subsets = {"train": split.train, "validation": split.validation}
    if split.test != split.validation:
        subsets["test"] = split.test
    samples = [sample for members in subsets.values() for sample in members]
    duplicates = _named_scans(split_files, samples) or _found_scans(samples, progress)
    leaks = find_leaks(subsets, duplicates)
    return len(leaks), sum(map(len, leaks))


def _named_scans(
    split_files: Sequence[str | Path], samples: Sequence[Sample]
) -> list[list[Sample]]:
    path = Path(split_files[0])
    group_of = read_groups(path) if path.suffix.lower() == ".csv" else {}
    scans: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.stem in group_of:
            scans[group_of[sample.stem]].append(sample)
    return list(scans.values())


def _found_scans(samples: Sequence[Sample], progress: Progress) -> list[list[Sample]]:
    # Imported here because it needs OpenCV.
    from keras_efsnet.training.datasets.duplicates import remembered_duplicates

    found = remembered_duplicates([sample.image for sample in samples], progress)
    return [[samples[i] for i in group] for group in found]
