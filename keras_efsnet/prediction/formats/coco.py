"""coco.json: the lesions as polygons in COCO's format."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_efsnet.files import relative_path, write_text
from keras_efsnet.prediction.formats.records import (
    lesion_label,
    lesion_labels,
    read_masks,
)
from keras_efsnet.prediction.polygons import polygon_area, trace_polygons
from keras_efsnet.prediction.writing import Record

COCO_NAME = "coco.json"


def write_coco(out: Path, records: Sequence[Record]) -> None:
    """Writes coco.json; `file_name` is the image's path from `out`."""
    images: list[Record] = []
    lesions: list[Record] = []
    labels = lesion_labels(records)
    for record, mask in read_masks(out, records):
        frame = {"frame": record["frame"]} if "frame" in record else {}
        height, width = mask.shape
        name = relative_path(Path(record["path"]), out)
        facts = {"file_name": name, "width": width, "height": height}
        images.append({"id": len(images) + 1, **facts, **frame})
        for points in trace_polygons(mask):
            lesion = _coco_lesion(points, labels.index(lesion_label(record)) + 1)
            lesions.append({"id": len(lesions) + 1, "image_id": len(images), **lesion})
    content = {
        "info": {"description": "Predicted by keras-efsnet; for research use only."},
        "images": images,
        "annotations": lesions,
        "categories": [{"id": i, "name": n} for i, n in enumerate(labels, start=1)],
    }
    write_text(out / COCO_NAME, json.dumps(content) + "\n")


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
