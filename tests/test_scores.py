"""The figures of metrics.json against hand-computed tables, and their intervals."""

import json

import numpy as np
import pytest

from keras_efsnet.labels import LABELS
from keras_efsnet.training import scores
from keras_efsnet.training.scores import ImageScore, compute_metrics

MASK_FIGURES = {
    *("iou", "dice", "iou_tumour", "dice_tumour", "iou_pooled", "iou_batch8"),
    *("f1_batch8", "hd95_tumour", "normal_false_positive_rate"),
}
CLASS_FIGURES = {
    *("accuracy", "balanced_accuracy", "auroc_macro", "auroc_malignant"),
    *("sensitivity_malignant", "specificity_malignant", "ece"),
}


REFER_FIGURES = {
    *("referred", "class_error_area", "dice_loss_area", "accuracy_kept"),
    *("accuracy_referred", "dice_kept", "dice_referred"),
}
FIGURES = {"mask": MASK_FIGURES, "class": CLASS_FIGURES, "refer": REFER_FIGURES}


def score(
    label,
    truth=0,
    predicted=0,
    shared=0,
    distance=None,
    p=(0.2, 0.5, 0.3),
    margin=1.0,
    refer=(),
):
    return ImageScore(
        stem=label,
        label=label,
        probabilities=tuple(p),
        height=100,
        width=100,
        truth_px=truth,
        predicted_px=predicted,
        intersection_px=shared,
        hd95=distance,
        mask_margin=margin,
        refer=refer,
    )


def random_rows(n: int, seed: int) -> list[ImageScore]:
    """Rows with ties in the probabilities and empty masks on both sides."""
    rng = np.random.default_rng(seed)
    rows = []
    for label in rng.choice(LABELS, n, p=[0.2, 0.5, 0.3]):
        truth = 0 if label == "normal" else int(rng.integers(1, 90))
        predicted = int(rng.choice([0, rng.integers(1, 90)], p=[0.3, 0.7]))
        shared = int(rng.integers(0, min(truth, predicted) + 1))
        distance = float(rng.uniform(0, 50)) if truth else None
        p = rng.dirichlet(np.eye(3)[LABELS.index(label)] + 1).round(1)
        margin = round(float(rng.uniform()), 1)
        refer = ("class unsure",) if rng.uniform() < 0.4 else ()
        rows.append(score(label, truth, predicted, shared, distance, p, margin, refer))
    return rows


def test_mask_figures_follow_their_definitions():
    rows = [
        score("benign", truth=10, predicted=10, shared=5, distance=4.0),
        score("malignant", truth=20, predicted=0, distance=141.0),
        score("normal"),
        score("normal", predicted=7),
    ]

    mask = compute_metrics(rows)["mask"]

    assert mask["iou"] == pytest.approx((1 / 3 + 0 + 1 + 0) / 4)
    assert mask["dice"] == pytest.approx((1 / 2 + 0 + 1 + 0) / 4)
    assert mask["iou_tumour"] == pytest.approx((1 / 3) / 2)
    assert mask["dice_tumour"] == pytest.approx((1 / 2) / 2)
    assert mask["iou_pooled"] == pytest.approx(5 / (15 + 20 + 7))
    assert mask["hd95_tumour"] == pytest.approx((4 + 141) / 2)
    assert mask["normal_false_positive_rate"] == pytest.approx(1 / 2)


def test_batch8_pools_consecutive_tumour_images_and_weights_the_rest():
    first = [score("benign", truth=10, predicted=10, shared=10)] * 7
    # The normal image neither fills a place in a batch nor adds its pixels.
    between = [score("normal", predicted=50)]
    eighth = [score("malignant", truth=30, predicted=0)]
    last = [score("malignant", truth=10, predicted=30, shared=10)] * 2

    mask = compute_metrics(first + between + eighth + last)["mask"]

    assert mask["iou_batch8"] == pytest.approx((8 * 70 / 100 + 2 * 20 / 60) / 10)
    assert mask["f1_batch8"] == pytest.approx((8 * 140 / 170 + 2 * 40 / 80) / 10)


def test_class_figures_follow_their_definitions():
    rows = [
        score("normal", p=(0.8, 0.1, 0.1)),
        score("normal", p=(0.3, 0.1, 0.6)),
        score("benign", p=(0.1, 0.6, 0.3)),
        score("benign", p=(0.1, 0.7, 0.2)),
        score("malignant", p=(0.1, 0.5, 0.4)),
        score("malignant", p=(0.0, 0.1, 0.9)),
        score("malignant", p=(0.0, 0.2, 0.8)),
    ]

    classes = compute_metrics(rows)["class"]

    assert classes["confusion"] == [[1, 0, 1], [0, 2, 0], [0, 1, 2]]
    assert classes["accuracy"] == pytest.approx(5 / 7)
    assert classes["balanced_accuracy"] == pytest.approx((1 / 2 + 1 + 2 / 3) / 3)
    assert classes["sensitivity_malignant"] == pytest.approx(2 / 3)
    assert classes["specificity_malignant"] == pytest.approx(3 / 4)
    # Malignant 0.4, 0.8, 0.9 against 0.1, 0.2, 0.3, 0.6: 11 of 12 pairs in order.
    assert classes["auroc_malignant"] == pytest.approx(11 / 12)
    # Normal: 10 of 10. Benign 0.6, 0.7 against 0.1, 0.1, 0.5, 0.1, 0.2: 10 of 10.
    assert classes["auroc_macro"] == pytest.approx((1 + 1 + 11 / 12) / 3)


def test_refer_figures_follow_their_definitions():
    wrong = {"p": (0.0, 0.4, 0.6), "refer": ("class unsure",)}
    sure, unsure = {"p": (0.0, 0.9, 0.1)}, {"p": (0.0, 0.7, 0.3)}
    rows = [
        score("benign", 10, 10, 10, 0.0, margin=0.9, **sure),
        score("benign", 10, 10, 5, 3.0, margin=0.2, **unsure),
        score("benign", 10, 0, 0, 9.0, margin=0.5, **wrong),
        score("benign", 10, 10, 10, 0.0, margin=0.5, **wrong),
    ]

    refer = compute_metrics(rows)["refer"]

    assert refer["referred"] == pytest.approx(2 / 4)
    assert refer["accuracy_kept"] == pytest.approx(1)
    assert refer["accuracy_referred"] == pytest.approx(0)
    assert refer["dice_kept"] == pytest.approx((1 + 1 / 2) / 2)
    assert refer["dice_referred"] == pytest.approx((0 + 1) / 2)
    # Wrong classes, surest first: 0, 0, 1, 1.
    assert refer["class_error_area"] == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    # 1 - Dice by margin, of the two at 0.5 the worse first: 0, 1, 0, 1 / 2.
    assert refer["dice_loss_area"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 1.5 / 4) / 4)


def test_calibration_error_weights_the_gap_of_each_bin():
    sure = [score("benign", p=(0.0, 0.99, 0.01))] * 3
    wrong = [score("normal", p=(0.0, 0.99, 0.01))]
    unsure = [score("benign", p=(0.3, 0.3, 0.4))]

    ece = compute_metrics(sure + wrong + unsure)["class"]["ece"]

    assert ece == pytest.approx((4 * abs(3 / 4 - 0.99) + abs(0 - 0.4)) / 5)


def test_intervals_are_percentiles_of_the_figures_of_resamples(monkeypatch):
    rows = random_rows(45, seed=3)
    monkeypatch.setattr(scores, "RESAMPLES", 60)
    rng = np.random.default_rng(scores.SEED)
    draws = rng.integers(len(rows), size=(60, len(rows)))

    report = compute_metrics(rows)

    each = [compute_metrics([rows[index] for index in draw]) for draw in draws]

    for output, figures in FIGURES.items():
        for name in figures:
            values = [summary_of[output][name] for summary_of in each]
            expected = np.percentile(values, [2.5, 97.5])
            assert report[output][f"{name}_ci"] == pytest.approx(list(expected)), name


def test_summary_names_every_figure_with_its_interval():
    report = compute_metrics(random_rows(40, seed=1))

    for output, figures in FIGURES.items():
        for name in figures:
            low, high = report[output].pop(f"{name}_ci")
            value = report[output].pop(name)
            assert 0 <= low <= value <= high
            assert high <= 1 or name == "hd95_tumour"
    assert report.pop("n") == 40
    assert set(report["class"]) == {"confusion"}
    assert report["mask"] == report["refer"] == {}


def test_summary_is_the_same_every_time():
    rows = random_rows(30, seed=2)

    assert compute_metrics(rows) == compute_metrics(rows)


def test_figures_without_their_images_are_none():
    tumours = compute_metrics(
        [score("benign", 5, 5, 5, 0.0), score("malignant", 5, 5, 5, 0)]
    )
    normals = compute_metrics([score("normal")] * 3)

    assert tumours["mask"]["normal_false_positive_rate"] is None
    assert tumours["mask"]["normal_false_positive_rate_ci"] is None
    assert tumours["class"]["auroc_macro"] is None
    assert tumours["class"]["auroc_malignant"] is not None
    for name in ("iou_tumour", "dice_tumour", "iou_batch8", "hd95_tumour"):
        assert normals["mask"][name] is None
    for name in ("auroc_malignant", "sensitivity_malignant"):
        assert normals["class"][name] is None
    assert normals["mask"]["iou_pooled"] == 1.0
    json.dumps([tumours, normals], allow_nan=False)


def test_summary_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one image"):
        compute_metrics([])
