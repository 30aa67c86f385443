"""DICOM SEG and SR objects of a predicted image."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_efsnet.clinic.algorithm import Algorithm
from keras_efsnet.clinic.lesions import FrameResult, number_segments
from keras_efsnet.clinic.source import read_source, without_their_words
from keras_efsnet.extras import import_highdicom
from keras_efsnet.prediction.writing import Record

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["KINDS", "Algorithm", "encode", "make_objects"]

KINDS = ("dicom-seg", "dicom-sr")
"""The kinds of objects, as `efsnet predict --format` names them."""


def make_objects(
    source: "Dataset",
    records: Sequence[Record],
    masks: Sequence[np.ndarray],
    algorithm: Algorithm,
    kinds: Sequence[str] = KINDS,
) -> list["Dataset"]:
    """Makes the segmentation and the report of one DICOM image.

    Args:
        source: the image's object; its pixels are not needed.
        records: entries of predictions.json, one for each frame that was predicted.
        masks: bool `(height, width)`, one for each record, of the frame's size.
        algorithm: what made the results.
        kinds: some of `KINDS`.

    Returns:
        The segmentation, if there is a lesion, then the report; nothing if there are no
        records. Their UIDs follow from the source's and the algorithm: the same run
        gives the same ones. A report that refers to a segmentation has another UID than
        one without.

    Raises:
        MissingPackage: highdicom is not installed.
        ValueError: a mask has not the image's size, or the source's tags allow no
            object; the message quotes none of their values and names no file.
    """
    import_highdicom()
    from keras_efsnet.clinic.report import make_report
    from keras_efsnet.clinic.segmentation import make_segmentation

    with without_their_words():
        image = read_source(source)
    for mask in masks:
        if mask.shape != image.size:
            raise ValueError(
                f"masks must have the image's {image.size[0]} rows and "
                f"{image.size[1]} columns, got {mask.shape}."
            )
    frames = [FrameResult(*both) for both in zip(records, masks, strict=True)]
    segments = number_segments(frames)
    made: list[Dataset] = []
    with without_their_words():
        if "dicom-seg" in kinds and segments:
            made.append(make_segmentation(image, segments, algorithm))
        if "dicom-sr" in kinds and frames:
            segmentation = made[0] if made else None
            made.append(make_report(image, frames, segments, algorithm, segmentation))
        for thing in made:
            image.copy_identity(thing)
    for thing in made:
        encode(thing)  # a damaged value can fail as late as here
    return made


def encode(thing: "Dataset") -> bytes:
    """Returns an object as the content of a file, without a word of pydicom.

    Raises:
        ValueError: a value cannot be written.
    """
    content = io.BytesIO()
    with without_their_words():
        thing.save_as(content, enforce_file_format=True)
    return content.getvalue()
