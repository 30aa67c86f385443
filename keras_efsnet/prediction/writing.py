"""Writing masks, overlays, probability maps and predictions.json."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_efsnet.files import write_text, write_whole
from keras_efsnet.images.frame import DamagedFrame, Frame
from keras_efsnet.prediction.measurements import measure_area, measure_lesions
from keras_efsnet.prediction.overlay import draw_overlay
from keras_efsnet.prediction.png import encode_png
from keras_efsnet.prediction.postprocess import Prediction

RECORDS_NAME = "predictions.json"

CINE_NAME = "cine.json"
"""Rows of the lesions that were followed over the frames of clips."""

SHARDS_NAME = "predictions"
"""Folder of a run with workers; its records are in several files."""

_ENDINGS = {
    "mask_file": r"_mask\.png",
    "overlay_file": r"_overlay\.png",
    "probability_file": r"_probability\.png",
    "track_file": r"_track\d+\.png",
    "seg_file": r"_seg\.dcm",
    "sr_file": r"_sr\.dcm",
}
"""Keys of a record that name a file, and the endings of these names."""

Record = dict[str, Any]
"""An entry of predictions.json."""


def write_prediction(
    frame: Frame,
    prediction: Prediction,
    target: Path,
    out: Path,
    callipers: bool = False,
) -> Record:
    """Writes `<target>_mask.png` (0 and 255) and `<target>_overlay.png`.

    A model without a mask leaves the mask and its measurements out.

    Args:
        frame: read from a file.
        prediction: of the frame.
        target: in `out`, without the endings.
        out: the folder of predictions.json.
        callipers: draw both diameters of each lesion on the overlay.

    Returns:
        The frame's record, with file names relative to `out`.

    Raises:
        OSError: a file cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    record = make_record(frame, prediction)
    lesions = record.get("lesions", ())
    overlay = draw_overlay(frame, prediction, lesions, callipers)
    if "lesions" in record:
        mask = Image.fromarray(prediction.mask.astype(np.uint8) * 255)
        record["mask_file"] = _write(target, "mask", mask, out)
    record["overlay_file"] = _write(target, "overlay", overlay, out)
    return record


def make_record(frame: Frame, prediction: Prediction) -> Record:
    """Returns the record of a frame from a file, without names of written files.

    A model without a mask gives no `lesions`.
    """
    record = {**frame_names(frame), **prediction.to_json()}
    if prediction.lesion_area_px is None:
        return record
    lesions = measure_lesions(frame, prediction)
    return {**record, **measure_area(frame, lesions), "lesions": lesions}


def write_probability(prediction: Prediction, target: Path, out: Path) -> Record:
    """Writes `<target>_probability.png`, 16-bit: 0 to 65535 for 0 to 1.

    It holds the lesion probabilities before postprocessing. Returns the entry for the
    frame's record, empty if the model has no mask.
    """
    if prediction.lesion_area_px is None:
        return {}
    pixels = np.rint(prediction.probability.clip(0, 1) * 65535).astype(np.uint16)
    file = _write(target, "probability", Image.fromarray(pixels), out)
    return {"probability_file": file}


def frame_names(frame: Frame | DamagedFrame) -> Record:
    """Returns the start of a frame's record: its file and frame number."""
    number = {} if frame.number is None else {"frame": frame.number}
    return {"path": str(frame.source), **number}


def write_image(path: Path, image: Image.Image) -> None:
    """Writes a PNG file whole or not at all; for the modes see `encode_png`."""
    content = encode_png(image)
    write_whole(path, lambda part: part.write_bytes(content))


def write_records(
    out: Path, records: Sequence[Record], name: str = RECORDS_NAME
) -> list[Record]:
    """Writes predictions.json with one record per line, whole or not at all.

    Records of an earlier run follow if their files are still there, and none of them is
    one of the new records': a later run then knows these files.

    Returns:
        All records that were written, in their order.
    """
    new = {file for record in records for file in list_files(record, out)}
    old = [
        record
        for record in read_records(out, name)
        if (files := set(list_files(record, out)))
        and new.isdisjoint(files)
        and any(map(os.path.lexists, files))
    ]
    written = [*records, *old]
    lines = [json.dumps(record, ensure_ascii=False) for record in written]
    write_text(out / name, "[\n" + ",\n".join(lines) + "\n]\n")
    return written


def read_records(out: Path, name: str = RECORDS_NAME) -> list[Record]:
    """Reads an earlier run's records; empty if there are none.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        with open(out / name, encoding="utf-8") as file:
            found = json.load(file)
    except (FileNotFoundError, ValueError, RecursionError):
        return []
    records = found if isinstance(found, list) else []
    return [record for record in records if isinstance(record, dict)]


def list_files(record: Record, out: Path) -> Iterator[Path]:
    """Yields the files in `out` that a record names, whoever wrote the record."""
    root = os.path.realpath(out)
    for _, name in named_files(record):
        folder = (out / name).parent
        if folder == out or Path(os.path.realpath(folder)).is_relative_to(root):
            yield out / name


def named_files(record: Record) -> Iterator[tuple[str, str]]:
    """Yields what a record says of its files: "mask" and the like, and their names."""
    for key, ending in _ENDINGS.items():
        name = record.get(key)
        if not isinstance(name, str) or "\0" in name:
            continue
        if re.search(rf"{ending}\Z", name):
            yield key.removesuffix("_file"), name


def remove_files(files: Iterable[Path], kept: Iterable[Path]) -> None:
    """Removes files that are not among the kept ones, under any name of these.

    Raises:
        OSError: one cannot be removed.
    """
    same = {_identity(path) for path in kept if os.path.isfile(path)}
    for file in files:
        if os.path.isfile(file) and _identity(file) not in same:
            file.unlink()


def _identity(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_dev, state.st_ino


def _write(target: Path, name: str, picture: Image.Image, out: Path) -> str:
    file = target.with_name(f"{target.name}_{name}.png")
    write_image(file, picture)
    return file.relative_to(out).as_posix()
