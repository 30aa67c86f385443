"""Prediction of many files: reading, network and writing at the same time."""

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path

from keras_efsnet.files import describe_error
from keras_efsnet.images.frame import DamagedFrame, Frame
from keras_efsnet.images.reading import MAX_PIXELS, read_frames
from keras_efsnet.prediction.parallel import keep_freed_memory, map_in_order
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
    at_a_time: int | None = None,
) -> Iterator[Record]:
    """Predicts each frame, writes its mask and overlay, and yields its record.

    Frames are read one after another in the caller's thread, and predicted and written
    on threads. Their pixels in memory are at most those of two of the largest images.
    After Ctrl-C and on a full disk, the records of the frames that are done come before
    the error.

    Args:
        jobs: from `plan_jobs`.
        predictor: the network.
        out: the output folder; exists.
        save_probabilities: also write probability maps.
        callipers: see `write_prediction`.
        at_a_time: frames predicted at a time; None is one for each core.

    Yields:
        Entries of predictions.json in the order of the frames, see
        `writing.write_prediction`. For a failed image they hold `path` and `error`.

    Raises:
        OSError: the disk is full.
    """

    def finish(read: _Read) -> Record:
        job, frame = read
        if not isinstance(frame, Frame):
            return frame
        try:
            prediction = predict_frame(predictor, frame)
            target = job.frame_target(frame.number, frame.count)
            record = write_prediction(frame, prediction, target, out, callipers)
            if save_probabilities:
                record |= write_probability(prediction, target, out)
            return record
        except (OSError, ValueError) as error:
            return {**frame_names(frame), "error": _describe(error)}

    keep_freed_memory()
    yield from map_in_order(finish, _read(jobs), at_a_time, _count_pixels, MAX_PIXELS)


_Read = tuple[Job, Frame | Record]
"""A job, and a frame of its file, or the record of one that cannot be read."""


def _read(jobs: Sequence[Job]) -> Iterator[_Read]:
    for job in jobs:
        try:
            if job.problem:
                raise ValueError(job.problem)
            for frame in read_frames(job.source):
                if isinstance(frame, DamagedFrame):
                    problem = describe_error(ValueError(frame.problem))
                    yield job, {**frame_names(frame), "error": problem}
                else:
                    yield job, frame
        except (OSError, ValueError) as error:
            yield job, {"path": str(job.source), "error": _describe(error)}


def _count_pixels(read: _Read) -> int:
    frame = read[1]
    return frame.pixels.size if isinstance(frame, Frame) else 0


def _describe(error: OSError | ValueError) -> str:
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        raise error
    return describe_error(error)
