"""Defines the metrics of metrics.json and computes them from the per-image table.

Results have None for an undefined metric (no normal image, only one class).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from keras_efsnet.labels import BENIGN, CLASS, MALIGNANT, MASK, NORMAL
from keras_efsnet.training.bootstrap import (
    draw_groups,
    mean,
    weighted_auroc,
    weighted_sensitivity,
    weighted_specificity,
)
from keras_efsnet.training.intervals import (
    Metric,
    average,
    estimate,
    proportion,
    ranking,
    without_interval,
)
from keras_efsnet.training.per_image import Columns, ImageScore, make_columns, overlap
from keras_efsnet.training.risk_coverage import area_under_risk

BATCH = 8
ECE_BINS = 15
MISSED_IOU = 0.1
"""A lesion counts as missed below this IoU."""
TARGET = 0.9
"""The sensitivity and specificity at which the other one is given."""
S_DETECT = {"sensitivity": (0.82, 0.74, 0.88), "specificity": (0.83, 0.78, 0.88)}
"""What S-Detect, a commercial system, reaches: value and 95 % interval, pooled from 11
studies. Reference: Wang and Meng, Medicine 101(34), 2022, e30359."""


def compute_metrics(rows: Sequence[ImageScore]) -> dict[str, Any]:
    """Computes the metrics of metrics.json from the per-image table.

    - `iou`, `dice`: means over all images; `*_tumour`: over images with a lesion in the
      truth. `iou_pooled`: IoU of the pixels of all images together.
    - `*_batch8`: of the pixels of 8 consecutive images with a lesion, averaged over
      these batches, weighted by their size.
    - `missed`: fraction of the images with a lesion whose IoU is below 0.1.
    - `normal_false_positive_rate`: fraction of normal images with a predicted lesion.
    - `balanced_accuracy`: mean recall of the classes present; `auroc_macro`: mean of
      the one-against-rest AUROC of the classes; `*_malignant`: malignant against
      the rest, by the most probable class.
    - `auroc_malignant_benign`: AUROC of malignant against benign images, without the
      normal ones, by `malignant_share`. `sensitivity_at_90_specificity`: the highest
      sensitivity of thresholds on it with a specificity of at least 0.9 on these
      images; `specificity_at_90_sensitivity`: the reverse.
    - `auroc_lesion`: AUROC of benign and malignant against normal images by
      1 - P(normal); `auroc_lesion_mask_peak`: by the highest lesion probability of the
      network's mask.
    - `ece`: gap between accuracy and confidence, the most probable class's probability,
      in 15 bins of equal width, weighted by the bins' images.
    - `confusion`: numbers of images, rows = truth, columns = prediction.
    - `referred`: fraction of referred images; `errors_referred`: of the images with a
      wrong answer (`find_errors`); `*_referred`, `*_kept`: means over the referred
      images and over the others.
    - `class_error_area`, `dice_loss_area`: areas under the risk-coverage curves
      (`risk_coverage`) of wrong classes, sorted by the class's probability, and of
      1 - Dice, sorted by the mask margin.

    A metric of a class or an output that the model lacks is None, and the confusion is
    empty without classes. An image of another class than normal, benign and malignant
    is in no metric of benign against malignant.

    `..._ci` is the 95 % interval of `intervals`, by groups (patients or scans).

    Args:
        rows: one per image, in file order.

    Returns:
        `{"n", "groups", "mask": {...}, "class": {...}, "refer": {...}}` of Python
        numbers and lists: numbers of images and of groups; fractions in [0, 1],
        `hd95_tumour` in pixels; None if undefined, or for an interval that would say
        nothing.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("rows: a summary needs at least one image; evaluate some.")
    table = make_columns(rows)
    groups, draws = table.group, draw_groups(table.group)
    classes: dict[str, Any] = estimate(_class_metrics(table), groups, draws)
    classes["confusion"] = _confusion(table)
    return {
        "n": len(rows),
        "groups": int(groups.max()) + 1,
        "mask": estimate(_mask_metrics(table), groups, draws),
        "class": classes,
        "refer": estimate(_refer_metrics(table), groups, draws),
    }


def _confusion(table: Columns) -> list[list[int]]:
    every_class = range(len(table.labels))
    if not every_class:
        return []
    matrix = confusion_matrix(table.label, table.predicted, labels=every_class)
    numbers: list[list[int]] = matrix.tolist()
    return numbers


def _if_trained(
    table: Columns, task: str, metrics: dict[str, Metric]
) -> dict[str, Metric]:
    """Leaves metrics undefined that are about an output which the model lacks."""
    if task in table.tasks:
        return metrics
    return dict.fromkeys(metrics, without_interval(np.nan))


def _mask_metrics(table: Columns) -> dict[str, Metric]:
    every = np.full(table.label.shape, True)
    tumour, normal = table.truth > 0, table.of_class(NORMAL)
    batch_iou, batch_f1 = _batch_scores(table)

    def pooled(weights: np.ndarray) -> np.ndarray:
        pixels = (table.shared, table.truth, table.prediction)
        iou, _ = overlap(*(weights @ column for column in pixels))
        return iou

    metrics = {
        "iou": average(table.iou, every),
        "dice": average(table.dice, every),
        "iou_tumour": average(table.iou, tumour),
        "dice_tumour": average(table.dice, tumour),
        "iou_pooled": Metric(pooled, (every,)),
        "iou_batch8": without_interval(batch_iou),
        "f1_batch8": without_interval(batch_f1),
        "hd95_tumour": average(table.hd95, tumour),
        "missed": proportion(table.iou < MISSED_IOU, tumour),
        "normal_false_positive_rate": proportion(table.prediction > 0, normal),
        "auroc_lesion_mask_peak": ranking(table.peak, ~normal, every),
    }
    return _if_trained(table, MASK, metrics)


def _batch_scores(table: Columns) -> tuple[float, float]:
    """Computes `iou_batch8` and `f1_batch8`."""
    tumour = np.flatnonzero(table.truth > 0)
    if not tumour.size:
        return np.nan, np.nan
    batch = np.arange(tumour.size) // BATCH
    pixels = (table.shared, table.truth, table.prediction)
    iou, f1 = overlap(*(np.bincount(batch, column[tumour]) for column in pixels))
    sizes = np.bincount(batch)
    return float(np.average(iou, weights=sizes)), float(np.average(f1, weights=sizes))


def _class_metrics(table: Columns) -> dict[str, Metric]:
    every = np.full(table.label.shape, True)
    of_class = [table.of_class(label) for label in table.labels]
    normal, benign, malignant = map(table.of_class, (NORMAL, BENIGN, MALIGNANT))
    lesion = benign | malignant
    p_malignant, p_normal = map(table.probability_of, (MALIGNANT, NORMAL))
    share = malignant_share(table)
    has_malignant = MALIGNANT in table.labels
    over = every & has_malignant
    number = table.labels.index(MALIGNANT) if has_malignant else None
    said = np.array(table.predicted == number) & over
    error = np.nan
    if table.labels:
        error = expected_calibration_error(table.probabilities, table.label)
    metrics = {
        "accuracy": proportion(table.label == table.predicted, every),
        "balanced_accuracy": _balanced_accuracy(table, of_class),
        "auroc_macro": _macro_auroc(table, of_class),
        "auroc_malignant": ranking(p_malignant, malignant, every),
        "auroc_malignant_benign": ranking(share, malignant, lesion),
        "auroc_lesion": ranking(1 - p_normal, ~normal, every),
        "sensitivity_malignant": proportion(said, malignant & over),
        "specificity_malignant": proportion(~said, ~malignant & over),
        "sensitivity_at_90_specificity": ranking(
            share, malignant, lesion, weighted_sensitivity, specificity=TARGET
        ),
        "specificity_at_90_sensitivity": ranking(
            share, malignant, lesion, weighted_specificity, sensitivity=TARGET
        ),
        "ece": without_interval(error),
    }
    return _if_trained(table, CLASS, metrics)


def _balanced_accuracy(table: Columns, of_class: Sequence[np.ndarray]) -> Metric:
    present = tuple(chosen for chosen in of_class if chosen.any())
    right = table.label == table.predicted

    def compute(weights: np.ndarray) -> np.ndarray:
        recalls = [mean(right[chosen], weights[:, chosen]) for chosen in present]
        return np.mean(recalls, axis=0)

    return Metric(compute, present)


def _macro_auroc(table: Columns, of_class: Sequence[np.ndarray]) -> Metric:
    def compute(weights: np.ndarray) -> np.ndarray:
        columns = zip(table.probabilities.T, of_class, strict=True)
        areas = [weighted_auroc(*column, weights) for column in columns]
        return np.mean(areas, axis=0)

    return Metric(compute, tuple(of_class))


def _refer_metrics(table: Columns) -> dict[str, Metric]:
    every = np.full(table.label.shape, True)
    right = table.label == table.predicted
    surest = table.probabilities.max(axis=1, initial=0)

    def class_area(weights: np.ndarray) -> np.ndarray:
        return area_under_risk(surest, 1.0 - right, weights)

    def dice_area(weights: np.ndarray) -> np.ndarray:
        return area_under_risk(table.margin, 1 - table.dice, weights)

    of_class = {
        "class_error_area": Metric(class_area, (every,)),
        "accuracy_kept": proportion(right, ~table.referred),
        "accuracy_referred": proportion(right, table.referred),
    }
    of_mask = {
        "dice_loss_area": Metric(dice_area, (every,)),
        "dice_kept": average(table.dice, ~table.referred),
        "dice_referred": average(table.dice, table.referred),
    }
    return {
        "referred": proportion(table.referred, every),
        "errors_referred": proportion(table.referred, find_errors(table)),
        **_if_trained(table, CLASS, of_class),
        **_if_trained(table, MASK, of_mask),
    }


def find_errors(table: Columns) -> np.ndarray:
    """Finds wrong answers: a wrong class, a missed lesion, a mask on a normal image.

    Returns:
        bool `(n,)`.
    """
    missed = (table.truth > 0) & (table.iou < MISSED_IOU)
    false_mask = table.of_class(NORMAL) & (table.prediction > 0)
    wrong: np.ndarray = (table.label != table.predicted) | missed | false_mask
    return wrong


def malignant_share(table: Columns) -> np.ndarray:
    """Computes P(malignant) / (P(benign) + P(malignant)) of each image.

    Returns:
        `(n,)` in [0, 1]; 0.5 where both probabilities are 0; NaN if the model lacks one
        of the classes.
    """
    malignant = table.probability_of(MALIGNANT)
    both = malignant + table.probability_of(BENIGN)
    return np.divide(malignant, both, out=np.full(len(both), 0.5), where=both != 0)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Computes the `ece` of `compute_metrics`.

    Args:
        probabilities: `(n, classes)`.
        labels: indices of the true classes, `(n,)`.
    """
    confidence = probabilities.max(axis=1)
    gap = confidence - (probabilities.argmax(axis=1) == labels)
    gaps = np.bincount(confidence_bins(confidence), gap)
    return float(np.abs(gaps).sum() / len(labels))


def confidence_bins(confidence: np.ndarray) -> np.ndarray:
    """Gives the bin, 0 to 14, of each probability in [0, 1]; 1 is in the last bin."""
    return np.clip((confidence * ECE_BINS).astype(int), 0, ECE_BINS - 1)
