"""Joins the images of each patient, as `efsnet predict --group-by` does."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from keras_efsnet.labels import CLASS, MALIGNANT, NORMAL
from keras_efsnet.prediction.examinations import worst_view
from keras_efsnet.training.per_image import ImageScore, predicted_class
from keras_efsnet.training.scores import compute_metrics


def join_views(rows: Sequence[ImageScore]) -> list[ImageScore]:
    """Gives one row for each group of images (a patient, or a scan).

    Its probabilities are those of the worst view (`examinations.worst_view`). Its true
    class is malignant if an image's is, else another class with a lesion, else normal.
    It says nothing of masks.
    """
    groups: dict[str, list[ImageScore]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return [_join(views) for views in groups.values()]


def compute_by_patient(rows: Sequence[ImageScore]) -> dict[str, Any] | None:
    """Computes the metrics of the class with one answer for each patient or scan.

    Returns:
        `{"n", "groups", "class"}` as of `compute_metrics`; None without classes, or if
        no patient has several images.
    """
    if CLASS not in rows[0].tasks:
        return None
    patients = join_views(rows)
    if len(patients) == len(rows):
        return None
    metrics = compute_metrics(patients)
    return {name: metrics[name] for name in ("n", "groups", "class")}


def _join(views: Sequence[ImageScore]) -> ImageScore:
    facts = [
        {
            "class": predicted_class(row),
            "probabilities": dict(zip(row.labels, row.probabilities, strict=True)),
            "row": row,
        }
        for row in views
    ]
    worst: ImageScore = worst_view(facts)["row"]
    label = max((row.label for row in views), key=_rank)
    return replace(worst, label=label, tasks=(CLASS,))


def _rank(label: str) -> tuple[bool, bool]:
    return label == MALIGNANT, label != NORMAL
