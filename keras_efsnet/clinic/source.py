"""The image that an object is about: what is read of its tags, and what is copied."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_efsnet.images.dicom import muted
from keras_efsnet.images.dicom_tags import Refusal, read_values

if TYPE_CHECKING:
    from pydicom import Dataset

COPIED = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
"""What an archive needs to file an object with its patient and study, what says that it
is anonymous, the frame of reference, and the image's lossy compression. Nothing else of
the patient, the study or the image is copied."""

_ONLY_IN_SEGMENTATIONS = COPIED[COPIED.index("FrameOfReferenceUID") :]

PLANE = (
    *("ImagePositionPatient", "ImageOrientationPatient"),
    *("PixelSpacing", "SliceThickness"),
)
"""Where an image lies in its frame of reference; copied too, if it has all of them."""

_NEEDED = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"),
    *("Rows", "Columns"),
)
_BLANK = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyID", "StudyDate", "StudyTime", "AccessionNumber"),
)
"""Attributes that highdicom wants to find in a source."""


@dataclass(frozen=True, eq=False)
class Source:
    """An image object.

    Attributes:
        tags: its own.
        size: `(height, width)`.
        reference: an object with its UIDs and without patient, for highdicom.
    """

    tags: "Dataset"
    size: tuple[int, int]
    reference: "Dataset"

    @property
    def instance_number(self) -> int:
        """The image's own, or 1."""
        number = self.tags.get("InstanceNumber")
        return int(number) if number and 0 < number < 2**31 else 1

    def frame_numbers(self, frame: int) -> list[int] | None:
        """A frame's number as a reference has it: only for a multi-frame image."""
        return [frame] if "NumberOfFrames" in self.tags else None

    @property
    def plane(self) -> list[Any]:
        """The values of `PLANE`; empty if it has no plane or several."""
        names = ("FrameOfReferenceUID", *PLANE)
        if "NumberOfFrames" in self.tags or not all(map(self.tags.get, names)):
            return []
        return [self.tags[name].value for name in PLANE]

    def copy_identity(self, made: "Dataset") -> None:
        """Gives an object the attributes of `COPIED`."""
        names = set(COPIED)
        if made.Modality != "SEG":
            names -= set(_ONLY_IN_SEGMENTATIONS)
        for name in names & set(self.tags.dir()):
            made[name] = deepcopy(self.tags[name])


def read_tags(path: Path) -> "Dataset":
    """Reads of a file the tags that an object needs, and no others.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged; the message does not name it.
    """
    names = [*COPIED, *PLANE, *_NEEDED, "NumberOfFrames", "InstanceNumber"]
    with path.open("rb") as file, without_their_words():
        return read_values(file, names)


def read_source(tags: "Dataset") -> Source:
    """Reads the tags of an image.

    Raises:
        Refusal: it lacks a UID or its size.
        Exception: pydicom raises any on a damaged tag.
    """
    from pydicom import Dataset

    missing = [name for name in _NEEDED if not tags.get(name)]
    if missing:
        raise Refusal(f"the tag {missing[0]} is missing; export the image again.")
    reference = Dataset()
    for name in _NEEDED:
        setattr(reference, name, tags[name].value)
    for name in _BLANK:
        setattr(reference, name, None)
    return Source(tags, (int(tags.Rows), int(tags.Columns)), reference)


@contextmanager
def without_their_words() -> Iterator[None]:
    """Replaces the messages of pydicom and highdicom, which can quote a patient.

    Raises:
        ValueError: for any error but a `Refusal`; it names no file.
    """
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
