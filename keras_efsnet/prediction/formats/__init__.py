"""Export of predictions.json and its masks to COCO, LabelMe and CSV."""

from collections.abc import Sequence
from pathlib import Path

from keras_efsnet.prediction.formats import labelme
from keras_efsnet.prediction.formats.coco import write_coco
from keras_efsnet.prediction.formats.csv_table import write_csv
from keras_efsnet.prediction.formats.labelme import write_labelme
from keras_efsnet.prediction.writing import Record

WRITERS = {"coco": write_coco, "labelme": write_labelme, "csv": write_csv}


def check_sources(sources: Sequence[Path], formats: Sequence[str]) -> None:
    """Raises ValueError for a file that a format does not support."""
    if "labelme" in formats:
        labelme.check_sources(sources)


def write_formats(out: Path, records: Sequence[Record], formats: Sequence[str]) -> None:
    """Writes coco.json, labelme/ or predictions.csv.

    Args:
        out: the folder of predictions.json.
        records: its entries; only the CSV file includes failed images.
        formats: some of `WRITERS`.

    Raises:
        OSError, ValueError: a mask cannot be read or a file cannot be written.
    """
    for name in dict.fromkeys(formats):
        WRITERS[name](out, records)
