"""Draws the plots of an evaluation with Matplotlib, without a display."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure
from sklearn.metrics import auc, roc_curve

from keras_efsnet.labels import BENIGN, CLASS, MALIGNANT, MASK
from keras_efsnet.training.case_pictures import Case, draw_cases
from keras_efsnet.training.patients import join_views
from keras_efsnet.training.per_image import ImageScore, make_columns
from keras_efsnet.training.plot_style import (
    GUIDE_COLOUR,
    HATCHES,
    add_legend,
    class_looks,
    in_our_look,
    make_figure,
    write_figures,
)
from keras_efsnet.training.plots_by_source import (
    draw_dice_by_size,
    draw_figures,
    draw_reliability,
    draw_roc_by_source,
)
from keras_efsnet.training.risk_coverage import risk_coverage

CHARTS = {
    "figures": "The main figures of each source (hospital) with 95 % intervals.",
    "roc_malignant_benign": (
        "ROC curves of malignant against benign images by source, with the points of "
        "90 % specificity and 90 % sensitivity, and the published one of S-Detect."
    ),
    "roc_patients": (
        "The same with one answer for each patient or scan: that of the worst view."
    ),
    "roc": "ROC curves of each class against the rest.",
    "confusion": "How many images of each class got which class.",
    "reliability": (
        "How often the class is right at each stated probability, by source, with 95 % "
        "intervals."
    ),
    "risk_coverage": "How the error falls when the least sure images are left out.",
    "dice_histogram": "How many images reach which Dice.",
    "dice_by_size": "Dice of each image over its lesion's size, by source.",
}
CASES = {
    "best_cases": "Best cases: found lesions of the highest Dice.",
    "median_cases": "Median cases: found lesions nearest to the median Dice.",
    "worst_cases": "Worst cases: found lesions of the lowest Dice.",
    "missed_cases": "Missed lesions (IoU below 0.1), the largest first.",
    "false_masks": "Normal images with a false mask, the largest first.",
}
"""The plots and pictures of cases by the name of their file, with what they show."""


@in_our_look
def write_plots(
    rows: Sequence[ImageScore],
    sources: Mapping[str, Mapping[str, Any]],
    cases: Mapping[str, Sequence[Case]],
    folder: Path,
) -> None:
    """Writes the plots of an evaluation as PNG files, see `CHARTS` and `CASES`.

    Plots of an output or a class that the model lacks are left out, and so are kinds of
    cases that do not occur.

    Args:
        rows: the per-image table.
        sources: from `breakdown.compute_by_source`.
        cases: those of `case_pictures.pick_cases`.
        folder: where the files are written.
    """
    labels, tasks = rows[0].labels, rows[0].tasks
    figures = {
        "figures": draw_figures(sources),
        "risk_coverage": draw_risk_coverage(rows),
    }
    if CLASS in tasks:
        figures["roc"] = draw_roc(rows)
        figures["confusion"] = draw_confusion(rows)
        figures["reliability"] = draw_reliability(rows)
    if {BENIGN, MALIGNANT} <= set(labels):
        figures |= _draw_malignant_benign(rows)
    if MASK in tasks:
        figures["dice_histogram"] = draw_dice_histogram(rows)
        figures["dice_by_size"] = draw_dice_by_size(rows)
        figures |= {name: draw_cases(shown) for name, shown in cases.items()}
    write_figures(figures, folder)


def _draw_malignant_benign(rows: Sequence[ImageScore]) -> dict[str, Figure]:
    title = "ROC, malignant against benign"
    figures = {"roc_malignant_benign": draw_roc_by_source(rows, title)}
    patients = join_views(rows)
    if len(patients) < len(rows):
        unit = "patients or scans"
        figures["roc_patients"] = draw_roc_by_source(
            patients, f"{title}, by patient", unit
        )
    return figures


def draw_roc(rows: Sequence[ImageScore]) -> Figure:
    """Draws each class's ROC curve against the rest, if both are present."""
    figure = make_figure(6.4)
    axes = figure.add_subplot()
    labels = np.array([row.label for row in rows])
    looks = class_looks(rows[0].labels)
    for index, (label, look) in enumerate(looks.items()):
        positive = labels == label
        if positive.all() or not positive.any():
            continue
        scores = [row.probabilities[index] for row in rows]
        false_rate, true_rate, _ = roc_curve(positive, scores)
        name = f"{label} against the rest, area {auc(false_rate, true_rate):.3f}"
        axes.plot(false_rate, true_rate, label=name, **look)
    axes.plot([0, 1], [0, 1], color=GUIDE_COLOUR, linestyle=":", label="chance")
    axes.set(
        title=f"ROC of each class, {len(rows)} images",
        xlabel="1 - specificity",
        ylabel="sensitivity",
        aspect="equal",
    )
    add_legend(figure, axes)
    return figure


def draw_confusion(rows: Sequence[ImageScore]) -> Figure:
    """Draws the confusion matrix, coloured by the share of each true class."""
    classes = rows[0].labels
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    for row in rows:
        counts[classes.index(row.label), np.argmax(row.probabilities)] += 1
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = make_figure(4.8)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    words = []
    for (truth, predicted), count in np.ndenumerate(counts):
        share = shares[truth, predicted]
        text = f"{count}\n{100 * share:.0f} %"
        colour = "white" if share > 0.7 else "black"
        axes.text(predicted, truth, text, ha="center", va="center", color=colour)
        words.append(f"{classes[truth]} called {classes[predicted]}: {count}")
    axes.set(
        title="Confusion: images, % of the true class",
        xlabel="predicted class",
        ylabel="true class",
        xticks=range(len(classes)),
        yticks=range(len(classes)),
        yticklabels=classes,
    )
    if len(classes) > 3:
        axes.set_xticklabels(classes, rotation=30, ha="right")
    else:
        axes.set_xticklabels(classes)
    figure.set_label(f"{axes.get_title()}; {'; '.join(words)}.")
    return figure


def draw_dice_histogram(rows: Sequence[ImageScore]) -> Figure:
    """Draws a histogram of Dice, stacked by class."""
    dice = make_columns(rows).dice
    labels = np.array([row.label or "unknown class" for row in rows])
    groups = rows[0].labels or tuple(np.unique(labels))
    figure = make_figure(5.2)
    axes = figure.add_subplot()
    below = np.zeros(20)
    hatches = cycle(HATCHES)
    for label, look in class_looks(groups).items():
        images, edges = np.histogram(dice[labels == label], bins=20, range=(0, 1))
        axes.bar(
            edges[:-1],
            images,
            width=0.05,
            bottom=below,
            align="edge",
            color=look["color"],
            edgecolor="white",
            hatch=next(hatches),
            label=f"{label}: {images.sum()} images",
        )
        below += images
    # Seen on the bars as well.
    halo = [patheffects.withStroke(linewidth=4, foreground="white")]
    for name, value, line in (
        ("mean", dice.mean(), "-"),
        ("median", np.median(dice), ":"),
    ):
        look = {"color": "black", "linestyle": line, "path_effects": halo}
        axes.axvline(value, label=f"{name} {value:.3f}", **look)
    axes.set(
        title="Dice per image (no lesion, and none predicted: 1)",
        xlabel="Dice",
        ylabel="images",
        xlim=(0, 1),
    )
    add_legend(figure, axes)
    return figure


def draw_risk_coverage(rows: Sequence[ImageScore]) -> Figure:
    """Draws the risk-coverage curves of the class and the mask."""
    table = make_columns(rows)
    wrong = (table.predicted != table.label).astype(np.float64)
    surest = table.probabilities.max(axis=1, initial=0)
    curves = {}
    if CLASS in table.tasks:
        curves["wrong class, by its probability"] = risk_coverage(surest, wrong)
    if MASK in table.tasks:
        curves["1 - Dice, by the mask's margin"] = risk_coverage(
            table.margin, 1 - table.dice
        )
    figure = make_figure(5.2)
    axes = figure.add_subplot()
    looks = class_looks((BENIGN, MALIGNANT)).values()
    for (name, (coverage, risk)), look in zip(curves.items(), looks, strict=False):
        axes.plot(coverage, risk, label=f"{name}, area {risk.mean():.3f}", **look)
    kept = sum(not row.refer for row in rows) / len(rows)
    label = f"not referred: {100 * kept:.0f} %"
    axes.axvline(kept, color="black", linestyle=":", label=label)
    axes.set(
        title=f"Risk and coverage, {len(rows)} images",
        xlabel="share of images kept, surest first",
        ylabel="mean of the images kept",
        xlim=(0, 1.02),
        ylim=(0, None),
    )
    add_legend(figure, axes)
    return figure
