"""Predictions in the formats of annotation tools: COCO, LabelMe and CSV.

All three follow from the records of predictions.json and the mask files beside it.
"""

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from keras_efsnet.batch import Job
from keras_efsnet.files import write_whole
from keras_efsnet.images import read_mask
from keras_efsnet.polygons import polygon_area, trace_polygons
from keras_efsnet.prediction import LABELS

LESIONS = tuple(label for label in LABELS if label != "normal")
"""What a polygon can be; COCO's categories, numbered from 1."""

COCO_NAME, CSV_NAME, LABELME_FOLDER = "coco.json", "predictions.csv", "labelme"
LABELME_VERSION = "5.5.0"

Record = dict[str, Any]


def check_jobs(jobs: Sequence[Job], formats: Sequence[str]) -> None:
    """Raises ValueError where LabelMe files are asked for what LabelMe cannot open."""
    frames = [job.source for job in jobs if job.frame is not None]
    if "labelme" in formats and frames:
        raise ValueError(
            f"{frames[0]}: LabelMe opens no DICOM files; leave --format labelme out, "
            "or convert the frames to PNG."
        )


def write_annotations(
    out: Path, records: Sequence[Record], formats: Sequence[str]
) -> None:
    """Writes coco.json, labelme/ and predictions.csv, as `formats` says.

    Args:
        out: the folder of predictions.json.
        records: its entries; those of failed images are in the CSV file alone.
        formats: some of "coco", "labelme" and "csv".

    Raises:
        OSError, ValueError: a mask cannot be read, or a file not be written.
    """
    writers = {"coco": _write_coco, "labelme": _write_labelme, "csv": _write_csv}
    for name in dict.fromkeys(formats):
        writers[name](out, records)


def _write_coco(out: Path, records: Sequence[Record]) -> None:
    images: list[Record] = []
    lesions: list[Record] = []
    for record, mask in _masks(out, records):
        frame = {"frame": record["frame"]} if "frame" in record else {}
        height, width = mask.shape
        images.append(
            {
                "id": len(images) + 1,
                "file_name": (_target(record).parent / _name(record)).as_posix(),
                "width": width,
                "height": height,
                **frame,
            }
        )
        for points in trace_polygons(mask):
            lesion = _coco_lesion(points, LESIONS.index(_lesion_label(record)) + 1)
            lesions.append({"id": len(lesions) + 1, "image_id": len(images), **lesion})
    content = {
        "info": {"description": "Predicted by keras-efsnet; for research use only."},
        "images": images,
        "annotations": lesions,
        "categories": [{"id": i, "name": n} for i, n in enumerate(LESIONS, start=1)],
    }
    _write_json(out / COCO_NAME, content)


def _coco_lesion(points: np.ndarray, category: int) -> Record:
    left, top = points.min(axis=0)
    right, bottom = points.max(axis=0)
    return {
        "category_id": category,
        "segmentation": [points.ravel().tolist()],
        "area": polygon_area(points),
        "bbox": [left, top, right - left, bottom - top],
        "iscrowd": 0,
    }


def _write_labelme(out: Path, records: Sequence[Record]) -> None:
    for record, mask in _masks(out, records):
        path = out / LABELME_FOLDER / f"{_target(record)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = mask.shape
        shapes = [
            {
                "label": _lesion_label(record),
                "points": points.tolist(),
                "group_id": None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
            }
            for points in trace_polygons(mask)
        ]
        content = {
            "version": LABELME_VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": os.path.relpath(record["path"], path.parent),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        _write_json(path, content)


def _write_csv(out: Path, records: Sequence[Record]) -> None:
    rows = [_flatten(record) for record in records]
    columns = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _write_text(out / CSV_NAME, text.getvalue())


def _flatten(record: Record) -> Record:
    """A record as cells: probabilities as p_<label>, lists as JSON."""
    cells: Record = {}
    for name, value in record.items():
        if name == "probabilities":
            cells |= {f"p_{label}": p for label, p in value.items()}
        else:
            cells[name] = json.dumps(value) if isinstance(value, list | dict) else value
    return cells


def _masks(out: Path, records: Sequence[Record]) -> Iterator[tuple[Record, np.ndarray]]:
    for record in records:
        if "mask_file" in record:
            yield record, read_mask(out / record["mask_file"])


def _target(record: Record) -> PurePosixPath:
    """The output's name without ending, in folders that mirror the input's."""
    return PurePosixPath(record["mask_file"].removesuffix("_mask.png"))


def _name(record: Record) -> str:
    return Path(record["path"]).name


def _lesion_label(record: Record) -> str:
    return max(LESIONS, key=lambda label: record["probabilities"][label])


def _write_json(path: Path, content: Record) -> None:
    _write_text(path, json.dumps(content) + "\n")


def _write_text(path: Path, text: str) -> None:
    # A file's name that is no UTF-8 stays readable, as \udc80 to \udcff.
    write_whole(
        path,
        lambda part: part.write_text(
            text, encoding="utf-8", errors="backslashreplace", newline=""
        ),
    )
