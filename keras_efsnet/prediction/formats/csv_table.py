"""predictions.csv: one row per record of predictions.json."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from keras_efsnet.files import write_text
from keras_efsnet.prediction.writing import Record

CSV_NAME = "predictions.csv"


def write_csv(out: Path, records: Sequence[Record]) -> None:
    rows = [_flatten(record) for record in records]
    columns = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / CSV_NAME, text.getvalue())


def _flatten(record: Record) -> Record:
    """A record as cells: probabilities as p_<label>, lists as JSON."""
    cells: Record = {}
    for name, value in record.items():
        if name == "probabilities":
            cells |= {f"p_{label}": p for label, p in value.items()}
        else:
            cells[name] = json.dumps(value) if isinstance(value, list | dict) else value
    return cells
