"""Masks, names and labels from the records of predictions.json."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from keras_efsnet.images.reading import read_image
from keras_efsnet.labels import LESIONS
from keras_efsnet.prediction.writing import Record


def read_masks(
    out: Path, records: Sequence[Record]
) -> Iterator[tuple[Record, np.ndarray]]:
    for record in records:
        if "mask_file" in record:
            yield record, read_image(out / record["mask_file"]) > 0


def target(record: Record) -> PurePosixPath:
    """Returns the output's relative path without its ending."""
    return PurePosixPath(record["mask_file"].removesuffix("_mask.png"))


def lesion_label(record: Record) -> str:
    return max(LESIONS, key=lambda label: record["probabilities"][label])
