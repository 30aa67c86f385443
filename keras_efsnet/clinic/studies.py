"""Prediction of a study on a DICOMweb server, one instance after another."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from keras_efsnet.clinic.algorithm import Algorithm
from keras_efsnet.clinic.dicomweb import Server
from keras_efsnet.clinic.instances import Instance
from keras_efsnet.clinic.objects import make_objects
from keras_efsnet.clinic.session import ServerError
from keras_efsnet.clinic.source import read_tags
from keras_efsnet.files import describe_error
from keras_efsnet.images import dicom
from keras_efsnet.images.frame import DamagedFrame
from keras_efsnet.prediction.cine import Cine, follow_lesions
from keras_efsnet.prediction.predictor import Predictor, predict_frame
from keras_efsnet.prediction.writing import Record, make_record


@dataclass(frozen=True)
class Outcome:
    """What became of an instance.

    Attributes:
        instance: the image.
        frames: frames predicted.
        stored: the kinds of result that were stored now; in a dry run those that would
            be.
        present: the kinds that the server had before.
        error: the problem in one line; None if there was none.
    """

    instance: Instance
    frames: int = 0
    stored: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    error: str | None = None


def predict_instances(
    server: Server,
    instances: Sequence[Instance],
    predictor: Predictor,
    algorithm: Algorithm,
    kinds: Sequence[str],
    dry_run: bool = False,
) -> Iterator[Outcome]:
    """Fetches and predicts each instance, and stores what the server does not have.

    One instance at a time is on the disk, in an unnamed file of the system's folder for
    temporary files that only this user can read; the system frees it even if the
    process is killed.

    Args:
        server: holds the instances.
        instances: from `choose_images`.
        predictor: the network.
        algorithm: what the results say of it.
        kinds: of results, see `make_objects`.
        dry_run: store nothing.

    Yields:
        What became of each instance.

    Raises:
        ServerError: the server does not answer, or refuses.
        OSError: the disk is full.
    """
    for instance in instances:
        try:
            yield _run(server, instance, predictor, algorithm, kinds, dry_run)
        except ServerError:
            raise
        except ValueError as error:
            yield Outcome(instance, error=describe_error(error))


def _run(
    server: Server,
    instance: Instance,
    predictor: Predictor,
    algorithm: Algorithm,
    kinds: Sequence[str],
    dry_run: bool,
) -> Outcome:
    name = Path(instance.uid)
    with tempfile.TemporaryFile() as file:
        server.fetch(instance, file)
        records, masks = _predict(name, file, predictor)
        try:
            made = make_objects(read_tags(file), records, masks, algorithm, kinds)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    results = {f"dicom-{result.Modality.lower()}": result for result in made}
    missing = {
        kind: result
        for kind, result in results.items()
        if not server.has(instance.study, result.SOPInstanceUID)
    }
    if missing and not dry_run:
        server.store(instance, list(missing.values()))
    return Outcome(
        instance,
        frames=len(records),
        stored=tuple(missing),
        present=tuple(kind for kind in results if kind not in missing),
    )


def _predict(
    name: Path, file: BinaryIO, predictor: Predictor
) -> tuple[list[Record], list[np.ndarray]]:
    records, masks = [], []
    if not dicom.has_mark(file):
        raise ValueError(f"{name}: the server did not send a DICOM file; see its log.")
    for frame in dicom.read_frames(name, file):
        # In a PACS an incomplete result would look like a complete one.
        if isinstance(frame, DamagedFrame):
            raise ValueError(frame.problem)
        prediction = predict_frame(predictor, frame)
        records.append(make_record(frame, prediction))
        masks.append(prediction.mask)
    if len(records) > 1:
        follow_lesions(records, Cine(str(name), target=None))
    return records, masks
