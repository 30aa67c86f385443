"""Predictions in the formats of annotation tools: COCO, LabelMe and CSV.

All three follow from the records of predictions.json and the mask files beside it.
"""

from collections.abc import Sequence
from pathlib import Path

from keras_efsnet.prediction.formats import labelme
from keras_efsnet.prediction.formats.coco import write_coco
from keras_efsnet.prediction.formats.csv_table import write_csv
from keras_efsnet.prediction.formats.labelme import write_labelme
from keras_efsnet.prediction.writing import Record

WRITERS = {"coco": write_coco, "labelme": write_labelme, "csv": write_csv}


def check_sources(sources: Sequence[Path], formats: Sequence[str]) -> None:
    """Raises ValueError for a file that a format cannot take, before a prediction."""
    if "labelme" in formats:
        labelme.check_sources(sources)


def write_formats(out: Path, records: Sequence[Record], formats: Sequence[str]) -> None:
    """Writes coco.json, labelme/ and predictions.csv, as `formats` says.

    Args:
        out: the folder of predictions.json.
        records: its entries; those of failed images are in the CSV file alone.
        formats: some of `WRITERS`.

    Raises:
        OSError, ValueError: a mask cannot be read, or a file not be written.
    """
    for name in dict.fromkeys(formats):
        WRITERS[name](out, records)
