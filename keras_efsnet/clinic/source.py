"""The image that an object is about: what is read of its tags, and what is copied."""

import uuid
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keras_efsnet.images.dicom_tags import Refusal

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

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
)
"""Attributes that an archive needs to file an object with its patient and study, and
those that say that it is anonymous. No others of the patient or study are copied."""

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

    def frame_numbers(self, frame: int) -> list[int] | None:
        """A frame's number as a reference has it: only for a multi-frame image."""
        return [frame] if "NumberOfFrames" in self.tags else None

    @property
    def instance_number(self) -> int:
        """The image's own, or 1."""
        number = self.tags.get("InstanceNumber")
        return int(number) if number and 0 < number < 2**31 else 1

    def copy_identity(self, made: "Dataset") -> None:
        """Gives an object the attributes of `COPIED`."""
        for keyword in COPIED:
            if keyword in self.tags:
                made[keyword] = deepcopy(self.tags[keyword])


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


def derive_uid(*facts: object) -> "UID":
    """Returns a UID that follows from facts: the same for the same ones."""
    from pydicom.uid import UID

    name = "\n".join(["keras-efsnet", *map(str, facts)])
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, name).int}")
