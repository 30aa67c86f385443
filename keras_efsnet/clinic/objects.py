"""DICOM SEG and SR objects of a predicted image."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_efsnet.clinic.lesions import FrameResult, number_segments
from keras_efsnet.extras import import_highdicom
from keras_efsnet.images.dicom import muted
from keras_efsnet.images.dicom_tags import Refusal
from keras_efsnet.prediction.writing import Record

if TYPE_CHECKING:
    from pydicom import Dataset

KINDS = ("dicom-seg", "dicom-sr")
"""The kinds of objects, as `efsnet predict --format` names them."""


@dataclass(frozen=True)
class Algorithm:
    """What made the results.

    Attributes:
        name: the model's name, at most 64 characters.
        version: of keras-efsnet.
        weights: hexadecimal SHA-256 of the weights' file.
        options: what else the results depend on.
    """

    name: str
    version: str
    weights: str
    options: Mapping[str, Any]

    @property
    def parameters(self) -> dict[str, str]:
        """The hash and the options as text, sorted by name."""
        options = {name: str(value) for name, value in self.options.items()}
        return {"weights SHA-256": self.weights, **dict(sorted(options.items()))}


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
        The segmentation, if there is a lesion, then the report. Their UIDs follow from
        the source's, the weights, the options and `kinds`: the same run gives the same
        ones.

    Raises:
        MissingPackage: highdicom is not installed.
        ValueError: a mask has not the image's size, or the source's tags allow no
            object; the message quotes none of their values and names no file.
    """
    import_highdicom()
    from keras_efsnet.clinic.report import make_report
    from keras_efsnet.clinic.segmentation import make_segmentation
    from keras_efsnet.clinic.source import read_source

    with _without_their_words():
        image = read_source(source)
    for mask in masks:
        if mask.shape != image.size:
            raise ValueError(
                f"masks must have the image's {image.size[0]} rows and "
                f"{image.size[1]} columns, got {mask.shape}."
            )
    frames = [
        FrameResult(record, mask) for record, mask in zip(records, masks, strict=True)
    ]
    segments = number_segments(frames)
    made: list[Dataset] = []
    with _without_their_words():
        if "dicom-seg" in kinds and segments:
            made.append(make_segmentation(image, segments, algorithm))
        if "dicom-sr" in kinds:
            segmentation = made[0] if made else None
            made.append(make_report(image, frames, segments, algorithm, segmentation))
        for thing in made:
            image.copy_identity(thing)
            thing.save_as(io.BytesIO(), enforce_file_format=True)
    return made


@contextmanager
def _without_their_words() -> Iterator[None]:
    """Replaces the messages of pydicom and highdicom, which can quote a patient."""
    try:
        with muted():
            yield
    except Refusal:
        raise
    # Damaged tags can raise any exception.
    except Exception as error:
        raise ValueError(
            f"no DICOM object can be made of this file's tags ({type(error).__name__})"
            "; export the image again."
        ) from None
