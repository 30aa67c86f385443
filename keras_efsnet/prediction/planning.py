"""Prediction of many files: which images to read, and what to write for each."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_efsnet import dicom
from keras_efsnet.files import write_whole
from keras_efsnet.images import SUFFIXES, read_image
from keras_efsnet.prediction import Prediction, draw_overlay
from keras_efsnet.predictor import Predictor, predict_image

RECORDS_NAME = "predictions.json"

LONGEST_STEM = 200
"""Bytes of an output's name before its ending; file systems hold names of 255."""


@dataclass(frozen=True)
class Job:
    """One input and its outputs.

    Attributes:
        source: the image file, or an input that is none.
        target: the outputs' path in the output folder, without `_mask.png` and
            `_overlay.png`.
        problem: why `source` cannot be read at all, or "".
        frame: number of the frame of a DICOM file, from 1; None for other files.
    """

    source: Path
    target: Path
    problem: str = ""
    frame: int | None = None

    def names(self) -> dict[str, Any]:
        """What its record in predictions.json begins with."""
        frame = {} if self.frame is None else {"frame": self.frame}
        return {"path": str(self.source), **frame}


def plan_jobs(inputs: Sequence[Path], out: Path) -> list[Job]:
    """Lists the images of files and folders and gives each its own output name.

    Folders are walked with their sub-folders, which the output folder mirrors; hidden
    files, files that are no images by their ending, and `<stem>_mask*` beside an image
    `<stem>` are left out. Where two outputs would share a name, the later one's stem
    gets `_2`, `_3`, and so on; a name too long for the endings is cut. Each frame of a
    DICOM file is an image of its own.

    Args:
        inputs: image files and folders.
        out: the output folder; need not exist.

    Raises:
        ValueError: an output would lie in a folder that inputs are read from.
    """
    found: dict[tuple[Path, int | None], Job] = {}
    for path in inputs:
        for job in _find(path, out):
            found.setdefault((_real(job.source), job.frame), job)
    images = {(source.parent, source.stem) for source, _ in found}
    jobs = [job for (source, _), job in found.items() if not _is_mask(source, images)]
    _refuse_output_in_input(jobs, inputs, out)
    return _with_unique_targets(jobs)


def run_jobs(
    jobs: Sequence[Job],
    predictor: Predictor,
    out: Path,
    save_probabilities: bool = False,
) -> Iterator[dict[str, Any]]:
    """Predicts image after image, writes its mask and overlay and yields its record.

    `save_probabilities` adds `<target>_probability.png` and its record's
    `probability_file`.

    Records are the entries of predictions.json: see `make_record`, or for an image that
    failed its `path` and `error`.

    Raises:
        OSError: the disk is full.
    """
    for job in jobs:
        try:
            record, prediction = _run_job(job, predictor, out)
            if save_probabilities:
                file = job.target.with_name(job.target.name + "_probability.png")
                write_probability(file, prediction.probability)
                record["probability_file"] = file.relative_to(out).as_posix()
            yield record
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise
            yield {**job.names(), "error": describe_error(error)}


def write_prediction(target: Path, grey: np.ndarray, prediction: Prediction) -> None:
    """Writes `<target>_mask.png` (0 and 255) and `<target>_overlay.png`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.fromarray(prediction.mask.astype(np.uint8) * 255)
    overlay = draw_overlay(grey, prediction)
    write_image(_mask_file(target), mask)
    write_image(_overlay_file(target), overlay)


def write_probability(path: Path, probability: np.ndarray) -> None:
    """Writes a 16-bit PNG file: 0 to 65535 for 0 to 1, before any rule of the card."""
    pixels = np.rint(probability.clip(0, 1) * 65535).astype(np.uint16)
    write_image(path, Image.fromarray(pixels))


def make_record(
    source: Path, prediction: Prediction, target: Path, out: Path
) -> dict[str, Any]:
    """An entry of predictions.json; the files written are named relative to `out`."""
    return {
        "path": str(source),
        **prediction.to_json(),
        "mask_file": _mask_file(target).relative_to(out).as_posix(),
        "overlay_file": _overlay_file(target).relative_to(out).as_posix(),
    }


def write_image(path: Path, image: Image.Image) -> None:
    """Writes a PNG file whole or not at all."""
    # Level 3 takes a third of the default's time for files of the same size.
    write_whole(path, lambda part: image.save(part, format="PNG", compress_level=3))


def write_records(
    out: Path, records: Sequence[dict[str, Any]], name: str = RECORDS_NAME
) -> None:
    """Writes predictions.json, a line a record, whole or not at all."""
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    text = "[\n" + ",\n".join(lines) + "\n]\n"

    def write(part: Path) -> None:
        # A file's name that is no UTF-8 stays readable, as JSON's \udc80 to \udcff.
        part.write_text(text, encoding="utf-8", errors="backslashreplace")

    write_whole(out / name, write)


def prepare_output(out: Path) -> None:
    """Makes the output folder and makes sure that files can be written in it.

    Raises:
        OSError: they cannot.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        problem = f"cannot be written to ({error.strerror})"
        raise OSError(error.errno, problem, str(out)) from error


def describe_error(error: Exception) -> str:
    """The error in one line: the file, and what is wrong with it."""
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        text = name + error.strerror
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())


def _find(path: Path, out: Path) -> Iterator[Job]:
    if not os.path.isdir(path):  # Path.is_dir raises for a name that is too long
        yield from _jobs(path, out / path.stem)
        return
    endings = (*SUFFIXES, *dicom.SUFFIXES)
    unreadable: list[OSError] = []
    files = [
        Path(folder, name)
        for folder, _, names in os.walk(path, onerror=unreadable.append)
        for name in names
        if Path(name).suffix.lower() in endings and not name.startswith(".")
    ]
    for file in sorted(files):
        yield from _jobs(file, out / file.relative_to(path).with_suffix(""))
    for error in unreadable:
        yield Job(Path(error.filename), out, describe_error(error))
    if not files and not unreadable:
        yield Job(path, out, f"{path}: no image in this folder ({', '.join(endings)})")


def _jobs(file: Path, target: Path) -> Iterator[Job]:
    """One job, or for a DICOM file one a frame."""
    problem = _problem(file)
    if problem:
        yield Job(file, target, problem)
        return
    try:
        frames = dicom.read_header(file).frames if dicom.is_dicom(file) else None
    except (OSError, ValueError) as error:
        yield Job(file, target, describe_error(error))
        return
    if frames is None or frames == 1:
        yield Job(file, target, frame=frames)
        return
    for frame in range(1, frames + 1):
        name = f"{target.name}_frame{frame:0{len(str(frames))}}"
        yield Job(file, target.with_name(name), frame=frame)


def _problem(path: Path) -> str:
    """Why a path leads to no file, or ""."""
    try:
        path.stat()
    except FileNotFoundError:
        what = "a link to a file that is not there" if path.is_symlink() else ""
        return f"{path}: {what or 'no such file or folder'}"
    except OSError as error:
        return describe_error(error)
    return ""


def _real(path: Path) -> Path:
    """The path without links; unlike `Path.resolve`, also where they form a loop."""
    return Path(os.path.realpath(path))


def _is_mask(source: Path, images: set[tuple[Path, str]]) -> bool:
    image_stem, mask, _ = source.stem.rpartition("_mask")
    return bool(mask) and (source.parent, image_stem) in images


def _refuse_output_in_input(
    jobs: Sequence[Job], inputs: Sequence[Path], out: Path
) -> None:
    for path in inputs:
        if os.path.isdir(path) and _real(out).is_relative_to(_real(path)):
            raise ValueError(
                f"{out}: lies inside the input {path}; choose another output folder."
            )
    read_from = {_real(job.source).parent for job in jobs}
    for job in jobs:
        if not job.problem and _real(job.target).parent in read_from:
            raise ValueError(
                f"{job.target.parent}: holds input images, whose masks could be "
                "overwritten; choose another output folder."
            )


def _with_unique_targets(jobs: Sequence[Job]) -> list[Job]:
    taken: set[str] = set()
    result = []
    for job in jobs:
        wanted = target = job.target.with_name(_shorten(job.target.name))
        count = 1
        # Some file systems hold `A.png` and `a.png` for the same file.
        while str(target).casefold() in taken:
            count += 1
            target = wanted.with_name(f"{wanted.name}_{count}")
        taken.add(str(target).casefold())
        result.append(replace(job, target=target))
    return result


def _shorten(name: str) -> str:
    name_bytes = os.fsencode(name)
    if len(name_bytes) <= LONGEST_STEM:
        return name
    return name_bytes[:LONGEST_STEM].decode(errors="ignore")


Outcome = tuple[dict[str, Any], Prediction]


def _run_job(job: Job, predictor: Predictor, out: Path) -> Outcome:
    if job.problem:
        raise ValueError(job.problem)
    if job.frame is not None:
        return _run_frame(job, job.frame, predictor, out)
    grey = read_image(job.source)
    prediction = predict_image(predictor, grey)
    write_prediction(job.target, grey, prediction)
    return make_record(job.source, prediction, job.target, out), prediction


def _run_frame(job: Job, frame: int, predictor: Predictor, out: Path) -> Outcome:
    regions = dicom.read_header(job.source).regions
    grey = dicom.read_frame(job.source, frame)
    prediction = predict_image(predictor, grey)
    write_prediction(job.target, dicom.hide_outside(grey, regions), prediction)
    record = make_record(job.source, prediction, job.target, out)
    size = dicom.lesion_size(prediction, regions)
    return {**job.names(), **record, **size}, prediction


def _mask_file(target: Path) -> Path:
    return target.with_name(target.name + "_mask.png")


def _overlay_file(target: Path) -> Path:
    return target.with_name(target.name + "_overlay.png")
