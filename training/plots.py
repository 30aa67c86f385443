"""Draws the plots of an evaluation with Matplotlib, without a display."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import auc, roc_curve

from keras_efsnet.labels import BENIGN, CLASS, MALIGNANT, MASK, NORMAL
from keras_efsnet.training.case_pictures import Case, draw_cases, make_figure
from keras_efsnet.training.per_image import ImageScore, make_columns
from keras_efsnet.training.plots_by_source import (
    GUIDE_COLOUR,
    draw_dice_by_size,
    draw_reliability,
    draw_roc_by_source,
)
from keras_efsnet.training.risk_coverage import risk_coverage

DPI = 150
# For colour-blind readers (Okabe and Ito, 2008).
LABEL_COLOURS = {NORMAL: "#009E73", BENIGN: "#0072B2", MALIGNANT: "#D55E00"}
OTHER_COLOURS = ("#CC79A7", "#E69F00", "#56B4E9", "#000000")


def write_plots(
    rows: Sequence[ImageScore],
    worst: Sequence[Case],
    best: Sequence[Case],
    folder: Path,
) -> None:
    """Writes the plots of an evaluation as PNG files; replaces older ones.

    Plots of an output or a class that the model lacks are left out.

    Args:
        rows: the per-image table.
        worst: the worst cases, worst first.
        best: the best cases, best first; may be empty.
        folder: where the files are written.
    """
    labels, tasks = rows[0].labels, rows[0].tasks
    figures = {"risk_coverage": draw_risk_coverage(rows)}
    if CLASS in tasks:
        figures["roc"] = draw_roc(rows)
        figures["confusion"] = draw_confusion(rows)
        figures["reliability"] = draw_reliability(rows)
    if {BENIGN, MALIGNANT} <= set(labels):
        figures["roc_malignant_benign"] = draw_roc_by_source(rows)
    if MASK in tasks:
        figures["dice_histogram"] = draw_dice_histogram(rows)
        figures["dice_by_size"] = draw_dice_by_size(rows)
        figures["worst_cases"] = draw_cases(worst)
        if best:
            figures["best_cases"] = draw_cases(best)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=DPI)


def _colours(labels: Sequence[str]) -> dict[str, str]:
    others = cycle(OTHER_COLOURS)
    return {label: LABEL_COLOURS.get(label) or next(others) for label in labels}


def draw_roc(rows: Sequence[ImageScore]) -> Figure:
    """Draws each class's ROC curve against the rest, if both are present."""
    figure = make_figure(5.0, 5.0)
    axes = figure.add_subplot()
    labels = np.array([row.label for row in rows])
    colours = _colours(rows[0].labels)
    for index, label in enumerate(rows[0].labels):
        positive = labels == label
        if positive.all() or not positive.any():
            continue
        scores = [row.probabilities[index] for row in rows]
        false_rate, true_rate, _ = roc_curve(positive, scores)
        area = auc(false_rate, true_rate)
        axes.plot(
            false_rate,
            true_rate,
            color=colours[label],
            label=f"{label} against the rest, area {area:.3f}",
        )
    axes.plot([0, 1], [0, 1], color=GUIDE_COLOUR, linestyle=":", label="chance")
    axes.set(
        title=f"ROC curves, {len(rows)} images",
        xlabel="false positive rate",
        ylabel="true positive rate",
        aspect="equal",
    )
    axes.legend(loc="lower right")
    return figure


def draw_confusion(rows: Sequence[ImageScore]) -> Figure:
    """Draws the confusion matrix, coloured by the share of each true class."""
    classes = rows[0].labels
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    for row in rows:
        counts[classes.index(row.label), np.argmax(row.probabilities)] += 1
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = make_figure(5.0, 4.6)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (truth, predicted), count in np.ndenumerate(counts):
        share = shares[truth, predicted]
        axes.text(
            predicted,
            truth,
            f"{count}\n{share:.0%}",
            ha="center",
            va="center",
            color="white" if share > 0.5 else "black",
        )
    axes.set(
        title="Confusion matrix: images, share of the true class",
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
    return figure


def draw_dice_histogram(rows: Sequence[ImageScore]) -> Figure:
    """Draws a histogram of Dice, stacked by class."""
    dice = make_columns(rows).dice
    labels = np.array([row.label or "unknown class" for row in rows])
    groups = rows[0].labels or tuple(np.unique(labels))
    figure = make_figure(6.4, 4.0)
    axes = figure.add_subplot()
    axes.hist(
        [dice[labels == label] for label in groups],
        bins=np.linspace(0, 1, 21).tolist(),
        stacked=True,
        color=list(_colours(groups).values()),
        label=[f"{label}, {np.sum(labels == label)} images" for label in groups],
    )
    mean, median = dice.mean(), np.median(dice)
    axes.axvline(mean, color="black", label=f"mean {mean:.3f}")
    axes.axvline(median, color="black", linestyle=":", label=f"median {median:.3f}")
    axes.set(
        title="Dice per image (no lesion, and none predicted: 1)",
        xlabel="Dice",
        ylabel="images",
        xlim=(0, 1),
    )
    axes.legend(loc="upper left")
    return figure


def draw_risk_coverage(rows: Sequence[ImageScore]) -> Figure:
    """Draws the risk-coverage curves of the class and the mask."""
    table = make_columns(rows)
    wrong = (table.predicted != table.label).astype(np.float64)
    surest = table.probabilities.max(axis=1, initial=0)
    curves = {}
    if CLASS in table.tasks:
        name = "wrong class, by its probability"
        curves[name, LABEL_COLOURS[BENIGN]] = risk_coverage(surest, wrong)
    if MASK in table.tasks:
        name = "1 - Dice, by the mask's margin"
        curves[name, LABEL_COLOURS[MALIGNANT]] = risk_coverage(
            table.margin, 1 - table.dice
        )
    figure = make_figure(6.4, 4.6)
    axes = figure.add_subplot()
    for (name, colour), (coverage, risk) in curves.items():
        text = f"{name}, area {risk.mean():.3f}"
        axes.plot(coverage, risk, color=colour, label=text)
    kept = sum(not row.refer for row in rows) / len(rows)
    axes.axvline(kept, color="black", linestyle=":", label=f"not referred: {kept:.0%}")
    axes.set(
        title=f"Risk and coverage, {len(rows)} images",
        xlabel="share of images kept, surest first",
        ylabel="mean over these",
        xlim=(0, 1.02),
        ylim=(0, None),
    )
    figure.legend(loc="outside lower center")
    return figure
