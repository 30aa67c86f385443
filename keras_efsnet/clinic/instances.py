"""The instances of a study, and which of them are ultrasound images."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_UID = re.compile(r"[0-9.]{1,64}")
_TAGS = {
    "series": "0020000E",
    "uid": "00080018",
    "sop_class": "00080016",
    "modality": "00080060",
    "number": "00200013",
}

ULTRASOUND = (
    "1.2.840.10008.5.1.4.1.1.3",
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.6",
    "1.2.840.10008.5.1.4.1.1.6.1",
)
"""SOP classes of ultrasound images of one and of several frames, also the retired."""


@dataclass(frozen=True)
class Instance:
    """An instance of a study, as a search finds it.

    Attributes:
        study, series, uid: its UIDs.
        sop_class: the UID of its class.
        modality: such as "US"; empty if the server does not say.
        number: its Instance Number, 0 if it has none that is one.
    """

    study: str
    series: str
    uid: str
    sop_class: str
    modality: str
    number: int

    def place(self) -> tuple[str, int, str]:
        """Returns a sort key: by series, then by Instance Number."""
        return self.series, self.number, self.uid


def choose_images(instances: Sequence[Instance]) -> list[Instance]:
    """Returns the ultrasound images among the instances of a study.

    These are all of modality US, and those of another modality, such as one that was
    not stated, in a SOP class of ultrasound images.
    """
    return [
        instance
        for instance in instances
        if instance.modality == "US" or instance.sop_class in ULTRASOUND
    ]


def check_uid(uid: str, name: str) -> None:
    """Raises ValueError unless `uid` can stand in a request."""
    if not _UID.fullmatch(uid):
        raise ValueError(
            f"{name} must be a DICOM UID, digits and dots up to 64 characters, got "
            f"{uid!r}."
        )


def read_instance(study: str, item: Mapping[str, Any]) -> Instance:
    """Reads an instance of a study from the DICOM JSON of a search.

    Raises:
        AttributeError, LookupError, TypeError, ValueError: it is no DICOM JSON.
    """
    values = {}
    for name, tag in _TAGS.items():
        found = item.get(tag, {}).get("Value") or [""]
        values[name] = str(found[0])
    if not values["uid"]:
        raise ValueError("no SOP Instance UID")
    number = values.pop("number")
    # One damaged number must not hide the study.
    is_number = re.fullmatch("[0-9]{1,12}", number)
    return Instance(study, number=int(number) if is_number else 0, **values)
