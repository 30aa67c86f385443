"""`<stem>_seg.dcm` and `<stem>_sr.dcm` beside the masks of DICOM files."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from keras_efsnet.clinic.algorithm import Algorithm
from keras_efsnet.clinic.objects import KINDS, encode, make_objects
from keras_efsnet.clinic.source import read_tags
from keras_efsnet.extras import import_highdicom
from keras_efsnet.files import write_whole
from keras_efsnet.images import dicom
from keras_efsnet.images.reading import is_dicom
from keras_efsnet.labels import MASK
from keras_efsnet.prediction.formats.records import read_masks
from keras_efsnet.prediction.planning import Job
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.prediction.writing import Record

_MODALITIES = {"dicom-seg": "SEG", "dicom-sr": "SR"}


def check_sources(sources: Sequence[Path], kinds: Sequence[str]) -> None:
    """Checks that the objects can be made, before anything is predicted.

    Args:
        sources: the files. One that is not there or, by its name, damaged is left to
            the prediction.
        kinds: some of `KINDS`; none checks nothing.

    Raises:
        MissingPackage: highdicom is not installed.
        ValueError: a file is not DICOM.
    """
    if not kinds:
        return
    import_highdicom()
    for source in sources:
        may_be_damaged = source.suffix.lower() in dicom.SUFFIXES
        if source.is_file() and not may_be_damaged and not is_dicom(source):
            raise ValueError(
                f"{source}: not a DICOM file, and {kinds[0]} refers to one; leave "
                f"--format {kinds[0]} out, or give DICOM files alone."
            )


def check_rules(rules: Postprocess, kinds: Sequence[str]) -> None:
    """Raises ValueError if a model has no mask, which every object is about."""
    if kinds and MASK not in rules.tasks:
        raise ValueError(
            f"{kinds[0]} needs a model with a mask, and this one gives classes alone; "
            f"choose another model, or leave --format {kinds[0]} out."
        )


def write_objects(
    out: Path,
    jobs: Sequence[Job],
    records: Sequence[Record],
    algorithm: Algorithm,
    kinds: Sequence[str],
) -> list[str]:
    """Writes the objects of each file whose frames were all tried.

    A file of which an interrupted run saw only some frames gets none. The records
    receive the objects' names, from `out`, as `seg_file` and `sr_file`.

    Args:
        out: the folder of predictions.json.
        jobs: the files.
        records: the entries of predictions.json.
        algorithm: what made them.
        kinds: some of `KINDS`.

    Returns:
        A line for each file without the objects that it should have.

    Raises:
        OSError: a file cannot be read or written.
    """
    by_source: dict[str, list[Record]] = {}
    for record in records:
        by_source.setdefault(record["path"], []).append(record)
    problems = []
    for job in jobs if kinds else ():
        try:
            _write(out, job, by_source.get(str(job.source), []), algorithm, kinds)
        except ValueError as error:
            problems.append(f"{job.source}: {error}")
    return problems


def _write(
    out: Path,
    job: Job,
    records: list[Record],
    algorithm: Algorithm,
    kinds: Sequence[str],
) -> None:
    found = list(read_masks(out, records))
    if not found:
        return
    with job.source.open("rb") as opened:
        source = read_tags(opened)
    if len(records) != int(source.get("NumberOfFrames") or 1):
        return
    predicted, masks = zip(*found, strict=True)
    made = make_objects(source, predicted, masks, algorithm, kinds)
    by_modality = {thing.Modality: thing for thing in made}
    for kind in [kind for kind in KINDS if kind in kinds]:
        modality = _MODALITIES[kind]
        ending = modality.lower()
        file = job.target.with_name(f"{job.target.name}_{ending}.dcm")
        if modality not in by_modality:
            file.unlink(missing_ok=True)  # of an earlier run
            continue
        content = encode(by_modality[modality])
        write_whole(file, partial(Path.write_bytes, data=content))
        for record in predicted:
            record[f"{ending}_file"] = file.relative_to(out).as_posix()
