"""Masks, names and labels from the records of predictions.json."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from keras_efsnet.images.reading import read_image
from keras_efsnet.labels import NORMAL
from keras_efsnet.prediction.writing import Record

LESION = "lesion"
"""The label of every lesion if the model has no classes."""


def read_masks(
    out: Path, records: Sequence[Record]
) -> Iterator[tuple[Record, np.ndarray]]:
    for record in records:
        if "mask_file" in record:
            yield record, read_image(out / record["mask_file"]) > 0


def target(record: Record) -> PurePosixPath:
    """Returns the output's relative path without its ending."""
    return PurePosixPath(record["mask_file"].removesuffix("_mask.png"))


def lesion_labels(records: Sequence[Record]) -> list[str]:
    """Returns the classes of lesions, in the order of the model's.

    They are all but normal; `LESION` alone for a model without classes.
    """
    labels = {p: None for record in records for p in record.get("probabilities", ())}
    return [label for label in labels if label != NORMAL] or [LESION]


def lesion_label(record: Record) -> str:
    """Returns the most probable class of an image's lesions."""
    probabilities = record["probabilities"]
    return max(lesion_labels([record]), key=lambda label: probabilities.get(label, 1.0))
