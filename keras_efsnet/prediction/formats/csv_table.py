"""predictions.csv, one row per record of predictions.json, and lesions.csv."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from keras_efsnet.files import write_text
from keras_efsnet.prediction.writing import Record

CSV_NAME, LESIONS_NAME = "predictions.csv", "lesions.csv"


def write_csv(out: Path, records: Sequence[Record]) -> None:
    """Writes predictions.csv, and lesions.csv with one row for each lesion."""
    write_rows(out / CSV_NAME, records)
    lesions = [
        {**_names(record), **_flatten(lesion)}
        for record in records
        for lesion in record.get("lesions", ())
    ]
    write_table(out / LESIONS_NAME, lesions)


def write_rows(path: Path, records: Sequence[Record]) -> None:
    """Writes records as rows, without their lesions; see `write_table`."""
    write_table(path, [_flatten(record) for record in records])


def write_table(
    path: Path, rows: Sequence[Record], first: Sequence[str] = ("path",)
) -> None:
    """Writes rows as CSV, whole or not at all; a cell that a row lacks is empty.

    The columns in `first` come first, also where no row has them.
    """
    columns = dict.fromkeys([*first, *(name for row in rows for name in row)])
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _names(record: Record) -> Record:
    return {name: record[name] for name in ("path", "frame") if name in record}


def _flatten(record: Record) -> Record:
    """A record as cells: probabilities as p_<label>, lists as JSON, no lesions."""
    cells: Record = {}
    for name, value in record.items():
        if name == "lesions":
            continue
        if name == "probabilities":
            cells |= {f"p_{label}": p for label, p in value.items()}
        else:
            cells[name] = json.dumps(value) if isinstance(value, list | dict) else value
    return cells
