"""The per-image table: a row for each evaluated image, its file, and its columns."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from keras import ops

from keras_efsnet.labels import CLASS, LABELS, MASK, TASKS
from keras_efsnet.models.metrics import overlap_from_counts

_P = "p_"
"""Begins the names of the columns of probabilities; the label follows."""

_PIXELS = ("height", "width", "truth_px", "predicted_px", "intersection_px")
_NAMES = ("stem", "source", "group", "label", "predicted")
_SCORES = ("iou", "dice", "hd95", "mask_peak", "mask_margin", "refer")

UNKNOWN_SOURCE = "unknown"

_BETWEEN_REASONS = "; "


@dataclass(frozen=True)
class ImageScore:
    """One image's row of the per-image table.

    Attributes:
        stem: the image's name in the dataset.
        source: the dataset; `UNKNOWN_SOURCE` where none is given.
        group: the same for images of one patient or scan, see `splits.name_groups`.
        label: the true class; empty if it is unknown.
        probabilities: of each class, in the order of `labels`.
        height, width: size in pixels at which the masks were compared.
        truth_px, predicted_px, intersection_px: lesion pixels in the truth, in the
            prediction and in both; 0 if the model has no mask.
        hd95: HD95 in pixels; None if the truth is empty.
        mask_peak: highest lesion probability of the network's mask, before any rule;
            NaN where it is unknown.
        mask_margin: from `referral.mask_margin`.
        refer: the reasons for referral.
        labels: the model's classes; empty if it has none.
        tasks: the model's outputs, of `labels.TASKS`.
    """

    stem: str
    source: str
    group: str
    label: str
    probabilities: tuple[float, ...]
    height: int
    width: int
    truth_px: int
    predicted_px: int
    intersection_px: int
    hd95: float | None
    mask_peak: float
    mask_margin: float
    refer: tuple[str, ...]
    labels: tuple[str, ...] = LABELS
    tasks: tuple[str, ...] = TASKS


@dataclass(frozen=True)
class Columns:
    """The table as arrays `(n,)`.

    Attributes:
        shared, truth, prediction: lesion pixels as in `ImageScore`, float64.
        iou, dice: of each image, in [0, 1].
        lesion_share: the lesion's part of the image's pixels, in [0, 1].
        hd95: pixels; NaN if the truth is empty.
        name: the true class, str; empty if unknown.
        label, predicted: indices of the true and of the most probable class; -1 if
            unknown.
        probabilities: `(n, classes)`.
        labels, tasks: those of the model.
        peak, margin: `mask_peak` and `mask_margin`.
        referred: bool.
        group: the groups' numbers from 0.
    """

    shared: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    iou: np.ndarray
    dice: np.ndarray
    lesion_share: np.ndarray
    hd95: np.ndarray
    name: np.ndarray
    label: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    peak: np.ndarray
    margin: np.ndarray
    referred: np.ndarray
    group: np.ndarray
    labels: tuple[str, ...] = LABELS
    tasks: tuple[str, ...] = TASKS

    def of_class(self, label: str) -> np.ndarray:
        """Finds the images of a true class, bool `(n,)`."""
        found: np.ndarray = self.name == label
        return found

    def probability_of(self, label: str) -> np.ndarray:
        """Gives the probabilities of a class, `(n,)`; NaN if the model lacks it."""
        if label not in self.labels:
            return np.full(len(self.label), np.nan)
        column: np.ndarray = self.probabilities[:, self.labels.index(label)]
        return column


def make_columns(rows: Sequence[ImageScore]) -> Columns:
    """Gives the table's columns as arrays."""
    pixels = [(row.intersection_px, row.truth_px, row.predicted_px) for row in rows]
    shared, truth, prediction = np.array(pixels, dtype=np.float64).reshape(-1, 3).T
    iou, dice = overlap(shared, truth, prediction)
    probabilities = np.array([row.probabilities for row in rows], dtype=np.float64)
    distances = [np.nan if row.hd95 is None else row.hd95 for row in rows]
    _, group = np.unique([row.group for row in rows], return_inverse=True)
    labels = rows[0].labels
    label = [labels.index(r.label) if r.label in labels else -1 for r in rows]
    return Columns(
        shared=shared,
        truth=truth,
        prediction=prediction,
        iou=iou,
        dice=dice,
        lesion_share=truth / np.array([row.height * row.width for row in rows]),
        hd95=np.array(distances),
        name=np.array([row.label for row in rows]),
        label=np.array(label),
        predicted=probabilities.argmax(axis=1) if labels else np.full(len(rows), -1),
        probabilities=probabilities,
        peak=np.array([row.mask_peak for row in rows]),
        margin=np.array([row.mask_margin for row in rows]),
        referred=np.array([bool(row.refer) for row in rows]),
        group=group,
        labels=labels,
        tasks=rows[0].tasks,
    )


def overlap(
    shared: np.ndarray, truth: np.ndarray, prediction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Computes IoU and Dice from numbers of pixels; 1 for two empty masks."""
    both = map(ops.convert_to_numpy, overlap_from_counts(shared, truth, prediction))
    iou, dice = (values.astype(np.float64) for values in both)
    return iou, dice


def write_table(rows: Sequence[ImageScore], path: Path) -> None:
    """Writes per_image.csv, with a column of probabilities for each class.

    `predicted`, `iou` and `dice` follow from the rest.
    """
    columns = make_columns(rows)
    probabilities = [f"{_P}{label}" for label in columns.labels]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*_NAMES, *probabilities, *_PIXELS, *_SCORES])
        for row, iou, dice in zip(rows, columns.iou, columns.dice, strict=True):
            names = [row.stem, row.source, row.group, row.label, predicted_class(row)]
            pixels = [getattr(row, name) for name in _PIXELS]
            overlaps = [f"{iou:.6f}", f"{dice:.6f}"]
            scores = [*(overlaps if MASK in row.tasks else ("", "")), row.hd95]
            sureness = [row.mask_peak, row.mask_margin]
            reasons = _BETWEEN_REASONS.join(row.refer)
            facts = [*names, *row.probabilities, *pixels]
            writer.writerow([*facts, *scores, *sureness, reasons])


def predicted_class(row: ImageScore) -> str:
    """Gives the most probable class; empty if the model has none."""
    return row.labels[int(np.argmax(row.probabilities))] if row.labels else ""


def read_table(path: Path) -> list[ImageScore]:
    """Reads a per_image.csv.

    Files of earlier versions have no source, group and `mask_peak`: there each image is
    a group of its own.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = [name for name in reader.fieldnames or () if name.startswith(_P)]
        labels = tuple(name.removeprefix(_P) for name in names)
        return [
            ImageScore(
                stem=row["stem"],
                source=row.get("source") or UNKNOWN_SOURCE,
                group=row.get("group") or row["stem"],
                label=row["label"],
                probabilities=tuple(float(row[name]) for name in names),
                labels=labels,
                tasks=tuple(
                    task
                    for task, known in ((MASK, row["dice"]), (CLASS, labels))
                    if known
                ),
                hd95=float(row["hd95"]) if row["hd95"] else None,
                mask_peak=float(row.get("mask_peak") or "nan"),
                mask_margin=float(row["mask_margin"]),
                refer=tuple(filter(None, row["refer"].split(_BETWEEN_REASONS))),
                **{name: int(row[name]) for name in _PIXELS},
            )
            for row in reader
        ]
