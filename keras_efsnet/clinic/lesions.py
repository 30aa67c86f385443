"""The segments of a DICOM image: the lesions of all of its frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_efsnet.images.components import label_components
from keras_efsnet.prediction.writing import Record


@dataclass(frozen=True, eq=False)
class FrameResult:
    """One predicted frame.

    Attributes:
        record: its entry in predictions.json.
        mask: bool `(height, width)`.
    """

    record: Record
    mask: np.ndarray

    @property
    def number(self) -> int:
        """The frame's number in its file, from 1."""
        return int(self.record.get("frame", 1))


@dataclass(frozen=True, eq=False)
class Segment:
    """One lesion in one frame.

    Attributes:
        number: of the segment in its object, from 1.
        frame: number of the source's frame.
        lesion: number of the lesion in predictions.json.
        mask: bool `(height, width)`, the lesion alone.
        measurements: its entry in the record's `lesions`.
    """

    number: int
    frame: int
    lesion: int
    mask: np.ndarray
    measurements: dict[str, Any]


def number_segments(frames: Sequence[FrameResult]) -> list[Segment]:
    """Numbers the lesions in the order of frames, then of predictions.json."""
    segments: list[Segment] = []
    for frame in frames:
        labels = label_components(frame.mask)
        measured = frame.record.get("lesions", ())
        for lesion in range(1, labels.max(initial=0) + 1):
            segments.append(
                Segment(
                    number=len(segments) + 1,
                    frame=frame.number,
                    lesion=lesion,
                    mask=labels == lesion,
                    measurements=measured[lesion - 1] if measured else {},
                )
            )
    return segments
