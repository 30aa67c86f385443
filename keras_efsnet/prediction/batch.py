"""Prediction of many files, one frame after another."""

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path

from keras_efsnet.files import describe_error
from keras_efsnet.images.frame import DamagedFrame
from keras_efsnet.images.reading import read_frames
from keras_efsnet.prediction.planning import Job
from keras_efsnet.prediction.predictor import Predictor, predict_frame
from keras_efsnet.prediction.writing import (
    CINE_NAME,
    SHARDS_NAME,
    Record,
    frame_names,
    list_files,
    read_records,
    remove_files,
    write_prediction,
    write_probability,
)


def run_jobs(
    jobs: Sequence[Job],
    predictor: Predictor,
    out: Path,
    save_probabilities: bool = False,
    callipers: bool = False,
) -> Iterator[Record]:
    """Predicts each frame as `predict_jobs`, then removes what an earlier run left.

    This is each file that the folder's predictions.json and cine.json list and this run
    did not write. A run that is interrupted removes nothing.

    Raises:
        OSError: the disk is full, or a file cannot be removed.
        ValueError: `out` holds a run with workers.
    """
    if any((out / SHARDS_NAME).glob("[0-9]*.json")):
        raise ValueError(
            f"{out}: holds a run with --workers ({SHARDS_NAME}/); choose another "
            "output folder."
        )
    return _replace_run(jobs, predictor, out, save_probabilities, callipers)


def _replace_run(
    jobs: Sequence[Job],
    predictor: Predictor,
    out: Path,
    save_probabilities: bool,
    callipers: bool,
) -> Iterator[Record]:
    old = [*read_records(out), *read_records(out, CINE_NAME)]
    earlier = [file for record in old for file in list_files(record, out)]
    kept = [job.source for job in jobs]
    for record in predict_jobs(jobs, predictor, out, save_probabilities, callipers):
        kept += list_files(record, out)
        yield record
    remove_files(earlier, kept)


def predict_jobs(
    jobs: Sequence[Job],
    predictor: Predictor,
    out: Path,
    save_probabilities: bool = False,
    callipers: bool = False,
) -> Iterator[Record]:
    """Predicts each frame, writes its mask and overlay, and yields its record.

    Records are entries of predictions.json, see `writing.write_prediction`. For a
    failed image they hold `path` and `error`.

    Raises:
        OSError: the disk is full.
    """
    for job in jobs:
        try:
            yield from _run_job(job, predictor, out, save_probabilities, callipers)
        except (OSError, ValueError) as error:
            yield {"path": str(job.source), "error": _describe(error)}


def _run_job(
    job: Job,
    predictor: Predictor,
    out: Path,
    save_probabilities: bool,
    callipers: bool,
) -> Iterator[Record]:
    if job.problem:
        raise ValueError(job.problem)
    for frame in read_frames(job.source):
        try:
            if isinstance(frame, DamagedFrame):
                raise ValueError(frame.problem)
            prediction = predict_frame(predictor, frame)
            target = job.frame_target(frame.number, frame.count)
            record = write_prediction(frame, prediction, target, out, callipers)
            if save_probabilities:
                record |= write_probability(prediction, target, out)
            yield record
        except (OSError, ValueError) as error:
            yield {**frame_names(frame), "error": _describe(error)}


def _describe(error: OSError | ValueError) -> str:
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        raise error
    return describe_error(error)
