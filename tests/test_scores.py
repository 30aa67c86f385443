"""The metrics of metrics.json against hand-computed tables."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from keras_efsnet.labels import LABELS
from keras_efsnet.training import bootstrap
from keras_efsnet.training.per_image import ImageScore, make_columns
from keras_efsnet.training.scores import (
    compute_metrics,
    confidence_bins,
    find_errors,
    malignant_share,
)

MASK_FIGURES = {
    *("iou", "dice", "iou_tumour", "dice_tumour", "iou_pooled", "iou_batch8"),
    *("f1_batch8", "hd95_tumour", "missed", "normal_false_positive_rate"),
    "auroc_lesion_mask_peak",
}
CLASS_FIGURES = {
    *("accuracy", "balanced_accuracy", "auroc_macro", "auroc_malignant"),
    *("auroc_malignant_benign", "auroc_lesion", "sensitivity_malignant"),
    *("specificity_malignant", "sensitivity_at_90_specificity"),
    *("specificity_at_90_sensitivity", "ece"),
}
REFER_FIGURES = {
    *("referred", "class_error_area", "dice_loss_area", "accuracy_kept"),
    *("accuracy_referred", "dice_kept", "dice_referred", "errors_referred"),
}
FIGURES = {"mask": MASK_FIGURES, "class": CLASS_FIGURES, "refer": REFER_FIGURES}
WITHOUT_INTERVAL = {"iou_batch8", "f1_batch8", "ece"}
PROPORTIONS = {
    *("missed", "normal_false_positive_rate", "accuracy", "sensitivity_malignant"),
    *("specificity_malignant", "referred", "accuracy_kept", "accuracy_referred"),
    "errors_referred",
}


def score(
    label,
    truth=0,
    predicted=0,
    shared=0,
    distance=None,
    p=(0.2, 0.5, 0.3),
    margin=1.0,
    refer=(),
    peak=0.9,
    group="",
):
    return ImageScore(
        stem=label,
        source="busi",
        group=group,
        label=label,
        probabilities=tuple(p),
        height=100,
        width=100,
        truth_px=truth,
        predicted_px=predicted,
        intersection_px=shared,
        hd95=distance,
        mask_peak=peak,
        mask_margin=margin,
        refer=refer,
    )


def random_rows(n: int, seed: int) -> list[ImageScore]:
    """Rows with ties in the probabilities and empty masks on both sides.

    Each image is a group of its own.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number, label in enumerate(rng.choice(LABELS, n, p=[0.3, 0.4, 0.3])):
        truth = 0 if label == "normal" else int(rng.integers(1, 90))
        predicted = int(rng.choice([0, rng.integers(1, 90)], p=[0.3, 0.7]))
        shared = int(rng.integers(0, min(truth, predicted) + 1))
        distance = float(rng.uniform(0, 50)) if truth else None
        p = rng.dirichlet(np.eye(3)[LABELS.index(label)] + 1).round(1)
        peak = round(float(rng.uniform()), 1)
        margin = abs(2 * peak - 1)
        refer = ("class unsure",) if rng.uniform() < 0.4 else ()
        pixels = (truth, predicted, shared, distance)
        rows.append(score(label, *pixels, p, margin, refer, peak, str(number)))
    return rows


def test_mask_figures_follow_their_definitions():
    rows = [
        score("benign", truth=10, predicted=10, shared=5, distance=4.0),
        score("malignant", truth=20, predicted=0, distance=141.0),
        score("normal"),
        score("normal", predicted=1),
    ]

    mask = compute_metrics(rows)["mask"]

    assert mask["iou"] == pytest.approx((1 / 3 + 0 + 1 + 0) / 4)
    assert mask["dice"] == pytest.approx((1 / 2 + 0 + 1 + 0) / 4)
    assert mask["iou_tumour"] == pytest.approx((1 / 3) / 2)
    assert mask["dice_tumour"] == pytest.approx((1 / 2) / 2)
    assert mask["iou_pooled"] == pytest.approx(5 / (15 + 20 + 1))
    assert mask["hd95_tumour"] == pytest.approx((4 + 141) / 2)
    assert mask["missed"] == pytest.approx(1 / 2)
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
    assert refer["errors_referred"] == pytest.approx(1)
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
    bins = confidence_bins(np.array([0.0, 0.06, 0.07, 0.5, 1.0]))
    assert bins.tolist() == [0, 0, 1, 7, 14]


def test_a_lesion_is_missed_below_an_iou_of_a_tenth():
    shares = [score("benign", 11, 10, 1), score("benign", 10, 10, 2)]
    barely = score("malignant", truth=10, predicted=1, shared=1)

    mask = compute_metrics([*shares, barely, score("benign", truth=1)])["mask"]

    # IoU 1/20, 2/18, 1/10 and 0.
    assert mask["missed"] == pytest.approx(2 / 4)
    assert mask["iou_batch8"] == pytest.approx(4 / (20 + 18 + 10 + 1))


def test_malignant_against_benign_leaves_out_normal_images_and_their_probability():
    rows = [
        # Shares 0.25, 0.5, 0.4 and 0.5, 1: 4 + 1/2 + 1/2 of 6 pairs are in order.
        *(score("benign", p=p) for p in [(0.2, 0.6, 0.2), (0.9, 0.05, 0.05)]),
        score("benign", p=(0.5, 0.3, 0.2)),
        *(score("malignant", p=p) for p in [(0.2, 0.4, 0.4), (0.99, 0.0, 0.01)]),
        score("normal", p=(0.0, 0.0, 1.0)),
    ]

    classes = compute_metrics(rows)["class"]

    assert classes["auroc_malignant_benign"] == pytest.approx(5.5 / 6)
    assert malignant_share(make_columns([score("normal", p=(1.0, 0.0, 0.0))])) == 0.5


def test_lesion_against_normal_by_class_and_by_mask():
    rows = [
        score("normal", p=(0.6, 0.2, 0.2), peak=0.4),
        score("normal", p=(0.1, 0.9, 0.0), peak=0.1),
        score("benign", p=(0.3, 0.7, 0.0), peak=0.3),
        score("malignant", p=(0.2, 0.2, 0.6), peak=0.8),
    ]

    metrics = compute_metrics(rows)

    # 1 - P(normal): 0.7 and 0.8 against 0.4 and 0.9. Peaks: 0.3, 0.8 against 0.4, 0.1.
    assert metrics["class"]["auroc_lesion"] == pytest.approx(2 / 4)
    assert metrics["mask"]["auroc_lesion_mask_peak"] == pytest.approx(3 / 4)
    unknown = compute_metrics([replace(row, mask_peak=np.nan) for row in rows])
    assert unknown["mask"]["auroc_lesion_mask_peak"] is None


def test_operating_points_keep_their_limit():
    # Shares of malignant: ten benign images at 0, 0.1 ... 0.9, five malignant ones.
    rows = [score("benign", p=(0, 1 - n / 10, n / 10)) for n in range(10)]
    rows += [score("malignant", p=(0, 1 - p, p)) for p in (0.25, 0.85, 0.86, 0.95, 1)]

    classes = compute_metrics(rows)["class"]

    # One of ten benign images may be wrong (0.9); then 0.85 and above are found.
    assert classes["sensitivity_at_90_specificity"] == pytest.approx(4 / 5)
    # 90 % of five is all five: from 0.25 on, which leaves 0, 0.1 and 0.2.
    assert classes["specificity_at_90_sensitivity"] == pytest.approx(3 / 10)


def test_aurocs_are_those_of_scikit_learn():
    rows = random_rows(80, seed=5)
    labels = np.array([LABELS.index(row.label) for row in rows])
    p = np.array([row.probabilities for row in rows])

    classes = compute_metrics(rows)["class"]

    areas = [roc_auc_score(labels == index, p[:, index]) for index in range(3)]
    assert classes["auroc_macro"] == pytest.approx(np.mean(areas))
    assert classes["auroc_lesion"] == pytest.approx(
        roc_auc_score(labels > 0, 1 - p[:, 0])
    )


def test_draws_give_the_metrics_of_the_images_in_them(monkeypatch):
    rows = random_rows(60, seed=3)
    monkeypatch.setattr(bootstrap, "RESAMPLES", 15)
    weights = bootstrap.draw_groups(np.arange(len(rows)))
    drawn = {}

    def keep(values, groups):
        drawn[len(drawn)] = values
        return [0.0, 1.0]

    monkeypatch.setattr("keras_efsnet.training.intervals.percentile_interval", keep)

    order = sorted(range(len(rows)), key=lambda index: rows[index].group)
    report = compute_metrics(rows)

    bootstrapped = [
        (output, name)
        for output in ("class", "mask", "refer")
        for name in report[output]
        if report[output].get(f"{name}_ci") == [0.0, 1.0]
    ]
    assert len(bootstrapped) == len(drawn) > 12
    by_group = {position: rank for rank, position in enumerate(order)}
    for draw, times in enumerate(weights[:, [by_group[i] for i in range(len(rows))]]):
        images = [
            row for row, n in zip(rows, times, strict=True) for _ in range(int(n))
        ]
        expected = compute_metrics(images)
        for position, (output, name) in enumerate(bootstrapped):
            value = expected[output][name]
            assert drawn[position][draw] == pytest.approx(value), name


def test_summary_names_every_figure_with_its_interval():
    report = compute_metrics(random_rows(60, seed=1))

    for output, figures in FIGURES.items():
        for name in figures:
            interval = report[output].pop(f"{name}_ci")
            value = report[output].pop(name)
            if name in WITHOUT_INTERVAL:
                assert interval is None and 0 <= value <= 1
                continue
            low, high = interval
            assert 0 <= low <= value <= high
            assert high <= 1 or name == "hd95_tumour"
    assert (report.pop("n"), report.pop("groups")) == (60, 60)
    assert set(report["class"]) == {"confusion"}
    assert report["mask"] == report["refer"] == {}


def test_images_of_one_group_count_once_in_every_interval():
    rows = random_rows(60, seed=1)
    once, twice = compute_metrics(rows), compute_metrics(rows * 2)
    apart = compute_metrics(
        [replace(row, group=str(n)) for n, row in enumerate(rows * 2)]
    )

    assert (twice["n"], twice["groups"], apart["groups"]) == (120, 60, 120)
    for output, figures in FIGURES.items():
        for name in figures - WITHOUT_INTERVAL:
            low, high = twice[output][f"{name}_ci"]
            lower, higher = apart[output][f"{name}_ci"]
            # Twice the images would be narrower by a factor of 1.4.
            assert high - low > 1.15 * (higher - lower), name
            if name in PROPORTIONS:
                assert [low, high] == pytest.approx(once[output][f"{name}_ci"])


def test_fewer_than_ten_groups_have_no_interval():
    rows = random_rows(60, seed=1)
    few = [replace(row, group=str(n % 9)) for n, row in enumerate(rows)]

    report = compute_metrics(few)

    assert (report["n"], report["groups"]) == (60, 9)
    for output in FIGURES:
        intervals = [v for name, v in report[output].items() if name.endswith("_ci")]
        assert intervals and not any(intervals)


def test_perfect_proportions_have_an_interval_and_perfect_aurocs_none():
    p = {"benign": (0.0, 0.9, 0.1), "malignant": (0.0, 0.1, 0.9)}
    rows = [
        score(label, 5, 5, 5, 0.0, p=p[label], group=str(n))
        for n, label in enumerate(["benign"] * 18 + ["malignant"] * 2)
    ]

    report = compute_metrics(rows)

    classes = report["class"]
    assert classes["sensitivity_malignant"] == classes["auroc_malignant_benign"] == 1
    assert classes["sensitivity_malignant_ci"] == pytest.approx([0.342, 1], abs=1e-3)
    assert report["mask"]["missed_ci"] == pytest.approx([0, 0.161], abs=1e-3)
    assert classes["auroc_malignant_benign_ci"] is None
    assert report["mask"]["dice"] == 1 and report["mask"]["dice_ci"] is None


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
    assert tumours["class"]["confusion"] == [[0, 0, 0], [0, 1, 0], [0, 1, 0]]
    for name in ("iou_tumour", "dice_tumour", "iou_batch8", "hd95_tumour"):
        assert normals["mask"][name] is None
    for name in ("auroc_malignant", "sensitivity_malignant"):
        assert normals["class"][name] is None
    assert normals["mask"]["iou_pooled"] == 1.0
    json.dumps([tumours, normals], allow_nan=False)


def test_summary_of_nothing_is_refused():
    with pytest.raises(
        ValueError, match="^rows: a summary needs at least one image; evaluate some.$"
    ):
        compute_metrics([])


KINDS = ("cyst", "solid")


def own(label, p, labels=KINDS, **facts):
    return replace(score(label, p=p, **facts), labels=labels)


def test_a_model_of_other_classes_has_no_metric_of_malignant_and_normal():
    rows = [
        own("cyst", (0.8, 0.2), truth=10, predicted=10, shared=10),
        own("cyst", (0.4, 0.6), truth=10),
        own("solid", (0.3, 0.7), truth=10, predicted=10, shared=5),
    ]
    metrics = compute_metrics(rows)
    found = metrics["class"]
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["auroc_macro"] == 1
    assert found["confusion"] == [[1, 1], [0, 1]]
    assert found["ece"] is not None
    missing = ("auroc_malignant", "auroc_malignant_benign", "auroc_lesion")
    missing += ("sensitivity_malignant", "specificity_malignant")
    missing += ("sensitivity_at_90_specificity", "specificity_at_90_sensitivity")
    assert [found[name] for name in missing] == [None] * len(missing)
    assert metrics["mask"]["normal_false_positive_rate"] is None
    assert metrics["mask"]["missed"] == pytest.approx(1 / 3)
    assert metrics["refer"]["errors_referred"] == 0


def test_further_classes_are_neither_benign_nor_malignant():
    four = ("other", "malignant", "benign", "normal")
    rows = [
        own("malignant", (0.1, 0.6, 0.2, 0.1), four),
        own("benign", (0.1, 0.3, 0.4, 0.2), four),
        own("other", (0.2, 0.8, 0.0, 0.0), four),
        own("normal", (0.0, 0.1, 0.1, 0.8), four, predicted=3),
    ]
    metrics = compute_metrics(rows)
    assert metrics["class"]["auroc_malignant_benign"] == 1
    assert metrics["class"]["sensitivity_malignant"] == 1
    assert metrics["class"]["specificity_malignant"] == pytest.approx(2 / 3)
    assert metrics["class"]["auroc_lesion"] == 1
    assert metrics["mask"]["normal_false_positive_rate"] == 1


def test_an_output_that_is_not_trained_has_no_metrics():
    seen = score("normal", truth=0, predicted=4)
    masks = replace(seen, probabilities=(), labels=(), tasks=("mask",))
    metrics = compute_metrics([masks])
    values = {k: v for k, v in metrics["class"].items() if not k.endswith("_ci")}
    assert values.pop("confusion") == [] and not any(values.values())
    assert set(values.values()) == {None}
    assert metrics["mask"]["dice"] == 0
    assert metrics["mask"]["normal_false_positive_rate"] == 1
    assert metrics["refer"]["accuracy_kept"] is None
    assert metrics["refer"]["dice_kept"] == 0
    classes = replace(score("benign", p=(0.1, 0.8, 0.1)), tasks=("class",))
    metrics = compute_metrics([classes])
    assert {v for k, v in metrics["mask"].items()} == {None}
    assert metrics["class"]["accuracy"] == 1
    assert metrics["refer"]["dice_loss_area"] is None
    assert metrics["refer"]["class_error_area"] == 0


def test_one_pixel_makes_a_wrong_answer():
    found = score("benign", truth=1, predicted=1, shared=1)
    missed = score("benign", truth=1)
    none = score("benign", predicted=5)
    sure = (0.8, 0.1, 0.1)
    marked = score("normal", predicted=1, p=sure)
    table = make_columns([found, missed, none, marked, score("normal", p=sure)])
    assert find_errors(table).tolist() == [False, True, False, True, False]
