"""Writing masks, overlays, probability maps and predictions.json."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_efsnet.files import write_text, write_whole
from keras_efsnet.images.frame import DamagedFrame, Frame
from keras_efsnet.prediction.measurements import measure_lesion
from keras_efsnet.prediction.overlay import draw_overlay
from keras_efsnet.prediction.postprocess import Prediction

RECORDS_NAME = "predictions.json"

Record = dict[str, Any]
"""An entry of predictions.json."""


def write_prediction(
    frame: Frame, prediction: Prediction, target: Path, out: Path
) -> Record:
    """Writes `<target>_mask.png` (0 and 255) and `<target>_overlay.png`.

    Args:
        frame: read from a file.
        prediction: of the frame.
        target: in `out`, without the endings.
        out: the folder of predictions.json.

    Returns:
        The frame's record, with file names relative to `out`.

    Raises:
        OSError: a file cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.fromarray(prediction.mask.astype(np.uint8) * 255)
    overlay = draw_overlay(frame, prediction)
    return {
        **frame_names(frame),
        **prediction.to_json(),
        "mask_file": _write(target, "mask", mask, out),
        "overlay_file": _write(target, "overlay", overlay, out),
        **measure_lesion(frame, prediction),
    }


def write_probability(prediction: Prediction, target: Path, out: Path) -> Record:
    """Writes `<target>_probability.png`, 16-bit: 0 to 65535 for 0 to 1.

    It holds the lesion probabilities before postprocessing. Returns the entry for the
    frame's record.
    """
    pixels = np.rint(prediction.probability.clip(0, 1) * 65535).astype(np.uint16)
    file = _write(target, "probability", Image.fromarray(pixels), out)
    return {"probability_file": file}


def frame_names(frame: Frame | DamagedFrame) -> Record:
    """Returns the start of a frame's record: its file and frame number."""
    number = {} if frame.number is None else {"frame": frame.number}
    return {"path": str(frame.source), **number}


def write_image(path: Path, image: Image.Image) -> None:
    """Writes a PNG file whole or not at all."""
    # Level 3 takes a third of the default's time for the same size.
    write_whole(path, lambda part: image.save(part, format="PNG", compress_level=3))


def write_records(
    out: Path, records: Sequence[Record], name: str = RECORDS_NAME
) -> None:
    """Writes predictions.json with one record per line, whole or not at all."""
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    write_text(out / name, "[\n" + ",\n".join(lines) + "\n]\n")


def _write(target: Path, name: str, picture: Image.Image, out: Path) -> str:
    file = target.with_name(f"{target.name}_{name}.png")
    write_image(file, picture)
    return file.relative_to(out).as_posix()
