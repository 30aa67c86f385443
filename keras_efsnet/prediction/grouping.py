"""Which files belong to one examination: those of a study, a folder or a patient."""

import os
from collections.abc import Sequence
from typing import Literal

from keras_efsnet.extras import MissingPackage
from keras_efsnet.images.dicom import read_identifiers
from keras_efsnet.images.reading import is_dicom
from keras_efsnet.prediction.planning import Job

GroupBy = Literal["study", "folder", "patient"]

_TAGS = {
    "study": ("StudyInstanceUID",),
    # Two hospitals may give two patients the same ID.
    "patient": ("PatientID", "IssuerOfPatientID"),
}
"""The tags that say whether two files belong together; the first one is required."""

_NAMES = {"study": "Study Instance UID", "patient": "Patient ID"}


def group_jobs(jobs: Sequence[Job], by: GroupBy) -> dict[str, int]:
    """Numbers the examinations of files, from 1 in the order of their first files.

    Chosen: the number stands for the study or patient in all outputs. A hash of an
    identifier would not protect it: there are so few possible ones that a program can
    try them all.

    Args:
        jobs: the files.
        by: `study` (DICOM Study Instance UID), `patient` (DICOM Patient ID and its
            issuer), or `folder` (the one that holds the file).

    Returns:
        The number by the file's path. A file that cannot be read, or is a DICOM file
        without an image, has none.

    Raises:
        ValueError: a file is no DICOM file or lacks the identifier, or pydicom is not
            installed.
    """
    numbers: dict[tuple[str, ...], int] = {}
    found: dict[str, int] = {}
    for job in jobs:
        key = _find_key(job, by)
        if key is not None:
            found[str(job.source)] = numbers.setdefault(key, len(numbers) + 1)
    return found


def _find_key(job: Job, by: GroupBy) -> tuple[str, ...] | None:
    if job.problem:
        return None
    if by == "folder":
        return (os.path.realpath(job.source.parent),)
    try:
        key = read_identifiers(job.source, _TAGS[by]) if is_dicom(job.source) else None
    except MissingPackage:
        raise
    # The prediction of this file will say why it failed.
    except (OSError, ValueError):
        return None
    if key is None or not key[0]:
        missing = f"no {_NAMES[by]} in this DICOM file"
        raise ValueError(
            f"{job.source}: {'not a DICOM file' if key is None else missing}, so its "
            f"{by} is not known; use --group-by folder, or leave the file out."
        )
    return key
