"""labelme/: one LabelMe file of polygons per image."""

import json
from collections.abc import Sequence
from pathlib import Path

from keras_efsnet.files import relative_path, write_text
from keras_efsnet.images.reading import is_dicom
from keras_efsnet.prediction.formats.records import lesion_label, read_masks, target
from keras_efsnet.prediction.polygons import trace_polygons
from keras_efsnet.prediction.writing import Record

LABELME_FOLDER, LABELME_VERSION = "labelme", "5.5.0"


def check_sources(sources: Sequence[Path]) -> None:
    """Raises ValueError for a file that LabelMe cannot open."""
    for source in sources:
        if is_dicom(source):
            raise ValueError(
                f"{source}: LabelMe opens no DICOM files; leave --format labelme out, "
                "or convert the frames to PNG."
            )


def write_labelme(out: Path, records: Sequence[Record]) -> None:
    for record, mask in read_masks(out, records):
        if "frame" in record:
            raise ValueError(
                f"{record['path']}: LabelMe opens only the first page of a TIFF file; "
                "leave --format labelme out, or save the pages apart."
            )
        path = out / LABELME_FOLDER / f"{target(record)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = mask.shape
        shapes = [
            {
                "label": lesion_label(record),
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
            "imagePath": relative_path(Path(record["path"]), path.parent),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        write_text(path, json.dumps(content) + "\n")
