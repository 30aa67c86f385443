"""What the results page shows of a record."""

import os
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from PIL import Image

from keras_efsnet.prediction.caption import bar_height
from keras_efsnet.prediction.measurements import describe_size
from keras_efsnet.prediction.writing import Record, named_files

COPIED = (
    *("frame", "class", "probabilities", "refer", "mask_emptied", "milliseconds"),
    "lesions",
)

NOT_SHOWN = ("box", "longest_diameter_points", "perpendicular_diameter_points")
"""Keys of a lesion that the page leaves out."""


def make_entry(record: Record, out: Path) -> dict[str, Any]:
    """Returns what the page shows of a record.

    Args:
        record: an entry of predictions.json.
        out: its folder.

    Returns:
        Keys of the record, its lesions without points and boxes, and

        - `path` and `error` as texts, whatever bytes the file's name has.
        - `files`: addresses relative to the folder, by "mask", "overlay" and so on.
        - `size` of the largest lesion in words.
        - `ratio`: width / height of the overlay without its caption.
    """
    entry = {key: record[key] for key in COPIED if key in record}
    for key in ("path", "error"):
        if key in record:
            entry[key] = _as_text(record[key])
    names = {kind: name for kind, name in named_files(record) if _is_inside(name)}
    entry["files"] = {kind: quote(os.fsencode(name)) for kind, name in names.items()}
    if lesions := record.get("lesions"):
        entry["size"] = describe_size(lesions[0])
        entry["lesions"] = [
            {key: value for key, value in lesion.items() if key not in NOT_SHOWN}
            for lesion in lesions
        ]
    if "overlay" in names and (ratio := _measure_ratio(out / names["overlay"])):
        entry["ratio"] = ratio
    return entry


def _as_text(value: str) -> str:
    """Shows the bytes of a name that are not UTF-8 as `\\xff`."""
    return os.fsencode(value).decode(errors="backslashreplace")


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _measure_ratio(overlay: Path) -> float | None:
    """Width / height of the scan on an overlay; None if the file cannot be read."""
    try:
        with Image.open(overlay) as picture:
            width, height = picture.size
    except OSError:
        return None
    scan = height - bar_height(width)
    return round(width / scan, 4) if scan > 0 else None
