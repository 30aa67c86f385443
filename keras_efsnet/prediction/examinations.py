"""examinations.json and examinations.csv: all views of a study, folder or patient.

A view is one frame. A lesion that is seen in two views is listed twice: nothing here
says which outlines of two views are one lesion.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_efsnet.files import write_text
from keras_efsnet.labels import LABELS, MALIGNANT, NORMAL
from keras_efsnet.prediction.formats.csv_table import write_table
from keras_efsnet.prediction.grouping import GroupBy
from keras_efsnet.prediction.measurements import UNITS
from keras_efsnet.prediction.referral import REASONS
from keras_efsnet.prediction.writing import Record

EXAMINATIONS_NAME, TABLE_NAME = "examinations.json", "examinations.csv"

_FIRST = ("number", "folder", "class")
_LAST = (
    *("worst_path", "worst_frame", "views", "referred_views", "refer", "lesions"),
    *("largest_diameter_mm", "largest_diameter_px", "failed", "unfinished", "paths"),
)


def list_columns(labels: Sequence[str]) -> list[str]:
    """Returns the columns of examinations.csv, with the probability of each label.

    `views`, `lesions`, `failed` and `unfinished` are numbers of entries.
    """
    return [*_FIRST, *(f"p_{label}" for label in labels), *_LAST]


_COUNTED = ("views", "lesions", "failed", "unfinished")
_NAMED = ("path", "frame")
_DIAMETERS = tuple(
    f"{which}_diameter_{unit}"
    for which in ("longest", "perpendicular")
    for unit in UNITS
)
_VIEW = (*_NAMED, "class", "probabilities", "refer", "error")


def worst_view(views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Returns the view whose class and probabilities are those of all views together.

    It has the worst class (malignant, then any other, then normal), and among these the
    highest P(malignant), or the highest probability of its class if the model has no
    class malignant. So the views are normal together only if each of them is.

    Chosen on BUS-BRA's folds 2 to 5 (`benchmarks/views.py`, docs/reference/results.md):
    no rule sorts all patients clearly better. Means miss most malignant examinations in
    which only one of several lesions is malignant, and the noisy-or calls most benign
    ones malignant, the more the more views they have.

    Args:
        views: at least one; `class` and `probabilities` as in predictions.json.
    """
    return max(views, key=_badness)


def _badness(view: Mapping[str, Any]) -> tuple[bool, bool, float]:
    label, probabilities = view["class"], view["probabilities"]
    decisive = MALIGNANT if MALIGNANT in probabilities else label
    return label == MALIGNANT, label != NORMAL, probabilities[decisive]


def make_view(record: Record) -> Record:
    """Returns what an examination needs of an entry of predictions.json."""
    lesions = [
        _pick(lesion, ("number", *_DIAMETERS)) for lesion in record.get("lesions", ())
    ]
    return {**_pick(record, _VIEW), "lesions": lesions}


def summarize_views(views: Sequence[Record]) -> Record:
    """Makes the record of one examination.

    Args:
        views: from `make_view`.

    Returns:
        `class`, `probabilities` and `worst_view` (its path and frame), absent if no
        view was predicted or the model has no classes; `refer`, the reasons of all
        views, and `referred_views`, their number; `largest_diameter_mm` and
        `largest_diameter_px`, each absent without a lesion in this unit; `views`,
        `lesions` and `failed`, with path and frame.
    """
    predicted = [view for view in views if "error" not in view]
    failed = [view for view in views if "error" in view]
    lesions = [
        {**_pick(view, _NAMED), **lesion}
        for view in predicted
        for lesion in view["lesions"]
    ]
    reasons = {reason for view in predicted for reason in view["refer"]}
    return {
        **(_combine(predicted) if any(v["class"] for v in predicted) else {}),
        "refer": [reason for reason in REASONS if reason in reasons],
        "referred_views": sum(bool(view["refer"]) for view in predicted),
        **_largest_diameters(lesions),
        "views": [_pick(view, (*_NAMED, "class")) for view in predicted],
        "lesions": lesions,
        "failed": [_pick(view, (*_NAMED, "error")) for view in failed],
    }


def write_examinations(
    out: Path,
    by: GroupBy,
    examination_of: Mapping[str, int],
    views: Sequence[Record],
    *,
    finished: bool,
) -> None:
    """Writes examinations.json and examinations.csv, each whole or not at all.

    Args:
        out: the folder of predictions.json.
        by: how files were grouped.
        examination_of: from `grouping.group_jobs`.
        views: from `make_view`, in the order of prediction; failed ones too.
        finished: False if the run was stopped; its last file may then lack frames.

    Raises:
        OSError: a file cannot be written.
    """
    unfinished = _find_unfinished(examination_of, views, finished)
    members: dict[int, list[str]] = {}
    for path, number in examination_of.items():
        members.setdefault(number, []).append(path)
    views_of: dict[str, list[Record]] = {}
    for view in views:
        views_of.setdefault(view["path"], []).append(view)
    examinations = [
        {
            "number": number,
            **({"folder": str(Path(paths[0]).parent)} if by == "folder" else {}),
            **summarize_views([v for path in paths for v in views_of.get(path, ())]),
            "unfinished": [path for path in paths if path in unfinished],
        }
        for number, paths in members.items()
    ]
    lost = [
        _pick(view, (*_NAMED, "class", "error"))
        for view in views
        if view["path"] not in examination_of
    ]
    text = (
        f'{{"grouped_by": "{by}",\n'
        f' "examinations": {_lines(examinations)},\n'
        f' "ungrouped": {_lines(lost)}}}\n'
    )
    write_text(out / EXAMINATIONS_NAME, text)
    labels = {p: None for entry in examinations for p in entry.get("probabilities", ())}
    columns = list_columns(list(labels or LABELS))
    rows = [_to_cells(entry, columns) for entry in examinations]
    write_table(out / TABLE_NAME, rows, columns)


def remove_examinations(out: Path) -> None:
    """Removes the files that `write_examinations` wrote, and no others.

    Raises:
        OSError: one cannot be read or removed.
    """
    for name, start in (
        (EXAMINATIONS_NAME, '{"grouped_by": '),
        (TABLE_NAME, ",".join(_FIRST)),
    ):
        file = out / name
        if file.is_file() and file.read_bytes().startswith(start.encode()):
            file.unlink()


def _pick(record: Record, keys: Sequence[str]) -> Record:
    return {key: record[key] for key in keys if key in record}


def _combine(views: Sequence[Record]) -> Record:
    worst = worst_view(views)
    facts = {"class": worst["class"], "probabilities": worst["probabilities"]}
    return {**facts, "worst_view": {key: worst[key] for key in _NAMED if key in worst}}


def _largest_diameters(lesions: Sequence[Record]) -> Record:
    largest: Record = {}
    for unit in UNITS:
        key = f"longest_diameter_{unit}"
        found = [lesion[key] for lesion in lesions if key in lesion]
        if found:
            largest[f"largest_diameter_{unit}"] = max(found)
    return largest


def _find_unfinished(
    examination_of: Mapping[str, int], views: Sequence[Record], finished: bool
) -> set[str]:
    done = {view["path"] for view in views}
    # More frames of the last file may have been waiting.
    if not finished and views and "frame" in views[-1]:
        done.remove(views[-1]["path"])
    return examination_of.keys() - done


def _lines(entries: Sequence[Record]) -> str:
    """A JSON list with an entry a line."""
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    return f"[\n{lines}\n]" if entries else "[]"


def _to_cells(entry: Record, columns: Sequence[str]) -> Record:
    paths = [item["path"] for name in ("views", "failed") for item in entry[name]]
    return {
        **_pick(entry, columns),
        **{f"p_{k}": p for k, p in entry.get("probabilities", {}).items()},
        **{f"worst_{k}": value for k, value in entry.get("worst_view", {}).items()},
        "refer": "; ".join(entry["refer"]),
        **{name: len(entry[name]) for name in _COUNTED},
        "paths": json.dumps([*dict.fromkeys(paths + entry["unfinished"])]),
    }
