"""Computes the metrics of metrics.json, with intervals, from the per-image table.

Every metric is computed for many draws of the images at once: the table itself and its
bootstrap resamples. In this module NaN means undefined (no normal image, only one
class); results have None instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from sklearn.metrics import roc_auc_score

from keras_efsnet.labels import LABELS
from keras_efsnet.models.metrics import overlap_from_counts
from keras_efsnet.training.bootstrap import count_images, mean, ratio, weighted_auroc
from keras_efsnet.training.risk_coverage import area_under_risk, kept_and_referred

RESAMPLES = 1000
SEED = 0
BATCH = 8
ECE_BINS = 15

NORMAL, MALIGNANT = LABELS.index("normal"), LABELS.index("malignant")

Scores = dict[str, np.ndarray]


@dataclass(frozen=True)
class ImageScore:
    """One image's row of the per-image table.

    Attributes:
        stem: the image's name in the dataset.
        label: the true class.
        probabilities: of each class, in the order of `LABELS`.
        height, width: size in pixels at which the masks were compared.
        truth_px, predicted_px, intersection_px: lesion pixels in the truth, in the
            prediction and in both.
        hd95: HD95 in pixels; None if the truth is empty.
        mask_margin: from `referral.mask_margin`.
        refer: the reasons for referral.
    """

    stem: str
    label: str
    probabilities: tuple[float, ...]
    height: int
    width: int
    truth_px: int
    predicted_px: int
    intersection_px: int
    hd95: float | None
    mask_margin: float
    refer: tuple[str, ...]


@dataclass(frozen=True)
class _Columns:
    """The table as arrays `(n,)`: float64 pixel counts, class indices, and so on."""

    shared: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    hd95: np.ndarray
    label: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    margin: np.ndarray
    referred: np.ndarray


def compute_metrics(rows: Sequence[ImageScore]) -> dict[str, Any]:
    """Computes the metrics of metrics.json from the per-image table.

    - `iou`, `dice`: means over all images; `*_tumour`: over images with a lesion in the
      truth. `iou_pooled`: IoU of the pixels of all images together.
    - `*_batch8`: of the pixels of 8 consecutive images with a lesion, averaged over
      these batches, weighted by their size (resamples are batched in drawn order).
    - `normal_false_positive_rate`: fraction of normal images with a predicted lesion.
    - `balanced_accuracy`: mean recall of the classes present; `auroc_macro`: mean of
      the one-against-rest AUROC of the three classes; `*_malignant`: malignant against
      the rest, by the most probable class.
    - `ece`: gap between accuracy and confidence, the most probable class's probability,
      in 15 bins of equal width, weighted by the bins' images.
    - `confusion`: numbers of images, rows = truth, columns = prediction.
    - `referred`: fraction of referred images; `*_referred`, `*_kept`: means over the
      referred images and over the others.
    - `class_error_area`, `dice_loss_area`: areas under the risk-coverage curves
      (`risk_coverage`) of wrong classes, sorted by the class's probability, and of
      1 - Dice, sorted by the mask margin.

    `..._ci` is the 95 % percentile interval of a seeded bootstrap over the images,
    without the resamples in which a metric is undefined.

    Args:
        rows: one per image, in file order.

    Returns:
        `{"n", "mask": {...}, "class": {...}, "refer": {...}}` of Python numbers and
        lists; fractions in [0, 1], `hd95_tumour` in pixels; None if undefined.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("rows: a summary needs at least one image; evaluate some.")
    table, n = _columns(rows), len(rows)
    as_is = np.arange(n)[np.newaxis]
    resampled = np.random.default_rng(SEED).integers(n, size=(RESAMPLES, n))

    class_scores = _class_scores(table, count_images(as_is)) | _exact_auroc(table)
    mask = _report(_mask_scores(table, as_is), _mask_scores(table, resampled))
    classes = _report(class_scores, _class_scores(table, count_images(resampled)))
    confusion = _confusion(table, count_images(as_is))[0]
    classes["confusion"] = confusion.astype(int).tolist()
    refer = _report(_refer_scores(table, as_is), _refer_scores(table, resampled))
    return {"n": n, "mask": mask, "class": classes, "refer": refer}


def overlaps(rows: Sequence[ImageScore]) -> tuple[np.ndarray, np.ndarray]:
    """Computes each image's IoU and Dice, float `(n,)` each."""
    table = _columns(rows)
    return _overlap(table.shared, table.truth, table.prediction)


def _columns(rows: Sequence[ImageScore]) -> _Columns:
    probabilities = np.array([row.probabilities for row in rows], dtype=np.float64)
    distances = [np.nan if row.hd95 is None else row.hd95 for row in rows]
    return _Columns(
        shared=np.array([row.intersection_px for row in rows], dtype=np.float64),
        truth=np.array([row.truth_px for row in rows], dtype=np.float64),
        prediction=np.array([row.predicted_px for row in rows], dtype=np.float64),
        hd95=np.array(distances),
        label=np.array([LABELS.index(row.label) for row in rows]),
        predicted=probabilities.argmax(axis=1),
        probabilities=probabilities,
        margin=np.array([row.mask_margin for row in rows]),
        referred=np.array([bool(row.refer) for row in rows]),
    )


def _overlap(
    shared: np.ndarray, truth: np.ndarray, prediction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    both = map(ops.convert_to_numpy, overlap_from_counts(shared, truth, prediction))
    iou, dice = (values.astype(np.float64) for values in both)
    return iou, dice


def _mask_scores(table: _Columns, draws: np.ndarray) -> Scores:
    weights = count_images(draws)
    iou, dice = _overlap(table.shared, table.truth, table.prediction)
    pooled, _ = _overlap(
        weights @ table.shared, weights @ table.truth, weights @ table.prediction
    )
    batch_iou, batch_f1 = _batch_scores(table, draws)
    tumour = weights * (table.truth > 0)
    normal = weights * (table.label == NORMAL)
    return {
        "iou": mean(iou, weights),
        "dice": mean(dice, weights),
        "iou_tumour": mean(iou, tumour),
        "dice_tumour": mean(dice, tumour),
        "iou_pooled": pooled,
        "iou_batch8": batch_iou,
        "f1_batch8": batch_f1,
        "hd95_tumour": mean(np.nan_to_num(table.hd95), tumour),
        "normal_false_positive_rate": mean(table.prediction > 0, normal),
    }


def _batch_scores(table: _Columns, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes `iou_batch8` and `f1_batch8` of each draw."""
    r, n = draws.shape
    tumour = (table.truth > 0)[draws]
    batches = -(-n // BATCH)
    batch = (np.cumsum(tumour, axis=1) - 1) // BATCH
    key = (batch + batches * np.arange(r)[:, np.newaxis])[tumour]
    chosen = draws[tumour]

    def total(column: np.ndarray) -> np.ndarray:
        sums = np.bincount(key, weights=column[chosen], minlength=r * batches)
        return sums.reshape(r, batches)

    sizes = total(np.ones(n))
    iou, f1 = _overlap(total(table.shared), total(table.truth), total(table.prediction))
    images = sizes.sum(axis=1)
    iou, f1 = (ratio((x * sizes).sum(axis=1), images) for x in (iou, f1))
    return iou, f1


def _class_scores(table: _Columns, weights: np.ndarray) -> Scores:
    confusion = _confusion(table, weights)
    truth, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    images = weights.sum(axis=1)
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    recall = ratio(hits, truth)
    others = images - truth[:, MALIGNANT]
    false_alarms = predicted[:, MALIGNANT] - hits[:, MALIGNANT]
    auroc = np.stack(
        [
            weighted_auroc(table.probabilities[:, index], table.label == index, weights)
            for index in range(len(LABELS))
        ]
    )
    return {
        "accuracy": ratio(hits.sum(axis=1), images),
        "balanced_accuracy": np.nanmean(recall, axis=1),
        "auroc_macro": auroc.mean(axis=0),
        "auroc_malignant": auroc[MALIGNANT],
        "sensitivity_malignant": recall[:, MALIGNANT],
        "specificity_malignant": ratio(others - false_alarms, others),
        "ece": _calibration_error(table.probabilities, table.label, weights),
    }


def _confusion(table: _Columns, weights: np.ndarray) -> np.ndarray:
    """Counts images, `(r, truth, predicted)`."""
    classes = len(LABELS)
    cells = np.eye(classes**2)[table.label * classes + table.predicted]
    return (weights @ cells).reshape(-1, classes, classes)


def _area(scores: np.ndarray, positive: np.ndarray) -> float:
    """Computes one AUROC with scikit-learn; NaN without positives or negatives."""
    undefined = positive.all() or not positive.any()
    return np.nan if undefined else float(roc_auc_score(positive, scores))


def _exact_auroc(table: _Columns) -> Scores:
    """Computes the AUROCs of the table itself, `(1,)` each."""
    areas = [
        _area(table.probabilities[:, index], table.label == index)
        for index in range(len(LABELS))
    ]
    return {
        "auroc_macro": np.array([np.mean(areas)]),
        "auroc_malignant": np.array([areas[MALIGNANT]]),
    }


def _refer_scores(table: _Columns, draws: np.ndarray) -> Scores:
    _, dice = _overlap(table.shared, table.truth, table.prediction)
    right = (table.label == table.predicted).astype(np.float64)
    surest = table.probabilities.max(axis=1)
    return {
        "class_error_area": area_under_risk(surest, 1 - right, draws),
        "dice_loss_area": area_under_risk(table.margin, 1 - dice, draws),
        **kept_and_referred(table.referred, right, dice, draws),
    }


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Computes the `ece` of `compute_metrics`.

    Args:
        probabilities: `(n, classes)`.
        labels: indices of the true classes, `(n,)`.
    """
    weights = np.ones((1, len(labels)))
    return float(_calibration_error(probabilities, labels, weights)[0])


def _calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    confidence = probabilities.max(axis=1)
    bins = confidence_bins(confidence)
    gap = confidence - (probabilities.argmax(axis=1) == labels)
    gaps = weights @ (np.eye(ECE_BINS)[bins] * gap[:, np.newaxis])
    return np.abs(gaps).sum(axis=1) / weights.sum(axis=1)


def confidence_bins(confidence: np.ndarray) -> np.ndarray:
    """Gives the bin, 0 to 14, of each probability in [0, 1]; 1 is in the last bin."""
    return np.clip((confidence * ECE_BINS).astype(int), 0, ECE_BINS - 1)


def _report(values: Scores, resampled: Scores) -> dict[str, Any]:
    report: dict[str, Any] = {}
    for name, (value,) in values.items():
        defined = np.isfinite(value)
        report[name] = float(value) if defined else None
        report[f"{name}_ci"] = _interval(resampled[name]) if defined else None
    return report


def _interval(values: np.ndarray) -> list[float]:
    return np.nanpercentile(values, [2.5, 97.5]).tolist()
