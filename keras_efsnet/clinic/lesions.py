"""The segments of a DICOM image: the lesions of all of its frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_efsnet.images.components import Box, label_components, split_components
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
        frame: the frame that it lies in.
        lesion: number of the lesion in predictions.json.
        box: `(left, top, right, bottom)`; right and bottom are exclusive.
        pixels: bool, the lesion alone, inside its box.
    """

    number: int
    frame: FrameResult
    lesion: int
    box: Box
    pixels: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """The lesion alone, bool `(height, width)` of the frame."""
        left, top, right, bottom = self.box
        mask = np.zeros_like(self.frame.mask)
        mask[top:bottom, left:right] = self.pixels
        return mask

    @property
    def measurements(self) -> dict[str, Any]:
        """Its entry in the record's `lesions`; empty if there are none."""
        lesions = self.frame.record.get("lesions")
        return lesions[self.lesion - 1] if lesions else {}


def number_segments(frames: Sequence[FrameResult]) -> list[Segment]:
    """Numbers the lesions in the order of frames, then of predictions.json."""
    segments: list[Segment] = []
    for frame in frames:
        labels = label_components(frame.mask)
        for lesion, box in enumerate(split_components(frame.mask)[1], start=1):
            left, top, right, bottom = box
            pixels = labels[top:bottom, left:right] == lesion
            segments.append(Segment(len(segments) + 1, frame, lesion, box, pixels))
    return segments
