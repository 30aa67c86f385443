"""Draws the plots of an evaluation with Matplotlib, without a display."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import auc, roc_curve

from keras_efsnet.labels import LABELS
from keras_efsnet.training.case_pictures import Case, draw_cases, make_figure
from keras_efsnet.training.risk_coverage import risk_coverage
from keras_efsnet.training.scores import ECE_BINS, ImageScore, confidence_bins, overlaps

DPI = 150
# For colour-blind readers (Okabe and Ito, 2008).
LABEL_COLOURS = dict(zip(LABELS, ("#009E73", "#0072B2", "#D55E00"), strict=True))
GUIDE_COLOUR = "#888888"


def write_plots(
    rows: Sequence[ImageScore],
    worst: Sequence[Case],
    best: Sequence[Case],
    folder: Path,
) -> None:
    """Writes the plots of an evaluation as PNG files; replaces older ones.

    Args:
        rows: the per-image table.
        worst: the worst cases, worst first.
        best: the best cases, best first; may be empty.
        folder: where the files are written.
    """
    figures = {
        "roc": draw_roc(rows),
        "confusion": draw_confusion(rows),
        "dice_histogram": draw_dice_histogram(rows),
        "reliability": draw_reliability(rows),
        "risk_coverage": draw_risk_coverage(rows),
        "dice_by_size": draw_dice_by_size(rows),
        "worst_cases": draw_cases(worst),
    }
    if best:
        figures["best_cases"] = draw_cases(best)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=DPI)


def draw_roc(rows: Sequence[ImageScore]) -> Figure:
    """Draws each class's ROC curve against the rest, if both are present."""
    figure = make_figure(5.0, 5.0)
    axes = figure.add_subplot()
    labels = np.array([row.label for row in rows])
    for index, label in enumerate(LABELS):
        positive = labels == label
        if positive.all() or not positive.any():
            continue
        scores = [row.probabilities[index] for row in rows]
        false_rate, true_rate, _ = roc_curve(positive, scores)
        area = auc(false_rate, true_rate)
        axes.plot(
            false_rate,
            true_rate,
            color=LABEL_COLOURS[label],
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
    counts = np.zeros((len(LABELS), len(LABELS)), dtype=int)
    for row in rows:
        counts[LABELS.index(row.label), np.argmax(row.probabilities)] += 1
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
        xticks=range(len(LABELS)),
        yticks=range(len(LABELS)),
        xticklabels=LABELS,
        yticklabels=LABELS,
    )
    return figure


def draw_dice_histogram(rows: Sequence[ImageScore]) -> Figure:
    """Draws a histogram of Dice, stacked by class."""
    _, dice = overlaps(rows)
    labels = np.array([row.label for row in rows])
    figure = make_figure(6.4, 4.0)
    axes = figure.add_subplot()
    axes.hist(
        [dice[labels == label] for label in LABELS],
        bins=np.linspace(0, 1, 21).tolist(),
        stacked=True,
        color=[LABEL_COLOURS[label] for label in LABELS],
        label=[f"{label}, {np.sum(labels == label)} images" for label in LABELS],
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


def draw_dice_by_size(rows: Sequence[ImageScore]) -> Figure:
    """Draws the Dice of each image with a lesion over the lesion's relative size."""
    _, dice = overlaps(rows)
    share = np.array([row.truth_px / (row.height * row.width) for row in rows])
    labels = np.array([row.label for row in rows])
    figure = make_figure(6.4, 4.0)
    axes = figure.add_subplot()
    for label in LABELS[1:]:
        chosen = (labels == label) & (share > 0)
        axes.plot(
            100 * share[chosen],
            dice[chosen],
            "o",
            alpha=0.6,
            color=LABEL_COLOURS[label],
            label=f"{label}, {chosen.sum()} images",
        )
    _draw_quarter_means(axes, 100 * share[share > 0], dice[share > 0])
    axes.set(
        title="Dice by lesion size",
        xlabel="lesion, % of the image",
        ylabel="Dice",
        xscale="log",
        ylim=(-0.05, 1.05),
    )
    axes.xaxis.set_major_formatter("{x:g}")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def draw_reliability(rows: Sequence[ImageScore]) -> Figure:
    """Draws accuracy against confidence in the bins of the calibration error."""
    edges, images, accuracy, confidence = _filled_bins(rows)
    error = np.abs(accuracy - confidence) @ images / len(rows)
    figure = make_figure(5.0, 5.6)
    upper, lower = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1)}
    )
    bar: dict[str, Any] = {"width": 1 / ECE_BINS, "align": "edge", "edgecolor": "white"}
    colour = LABEL_COLOURS["benign"]
    upper.bar(edges, accuracy, color=colour, **bar, label="accuracy")
    upper.plot(confidence, accuracy, "o", color="black", label="mean confidence")
    upper.plot([0, 1], [0, 1], color=GUIDE_COLOUR, linestyle=":", label="calibrated")
    upper.set(
        title=f"Reliability, expected calibration error {error:.3f}",
        ylabel="accuracy",
        xlim=(0, 1),
        ylim=(0, 1.05),
    )
    upper.legend(loc="upper left")
    lower.bar(edges, images, color=GUIDE_COLOUR, **bar)
    lower.set(xlabel="probability of the predicted class", ylabel="images")
    return figure


def draw_risk_coverage(rows: Sequence[ImageScore]) -> Figure:
    """Draws the risk-coverage curves of the class and the mask."""
    probabilities = np.array([row.probabilities for row in rows])
    truth = np.array([LABELS.index(row.label) for row in rows])
    _, dice = overlaps(rows)
    curves = {
        "wrong class, by its probability": risk_coverage(
            probabilities.max(axis=1),
            (probabilities.argmax(axis=1) != truth).astype(np.float64),
        ),
        "1 - Dice, by the mask's margin": risk_coverage(
            np.array([row.mask_margin for row in rows]), 1 - dice
        ),
    }
    figure = make_figure(6.4, 4.0)
    axes = figure.add_subplot()
    for (name, (coverage, risk)), label in zip(curves.items(), LABELS[1:], strict=True):
        text = f"{name}, area {risk.mean():.3f}"
        axes.plot(coverage, risk, color=LABEL_COLOURS[label], label=text)
    kept = sum(not row.refer for row in rows) / len(rows)
    axes.axvline(kept, color="black", linestyle=":", label=f"not referred: {kept:.0%}")
    axes.set(
        title=f"Risk and coverage, {len(rows)} images",
        xlabel="share of images kept, surest first",
        ylabel="mean over these",
        xlim=(0, 1.02),
        ylim=(0, None),
    )
    axes.legend(loc="upper left")
    return figure


def _filled_bins(
    rows: Sequence[ImageScore],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gives left edge, images, accuracy and mean confidence of the non-empty bins."""
    probabilities = np.array([row.probabilities for row in rows])
    confidence = probabilities.max(axis=1)
    truth = np.array([LABELS.index(row.label) for row in rows])
    bins, members = np.unique(confidence_bins(confidence), return_inverse=True)
    images = np.bincount(members)
    right = np.bincount(members, probabilities.argmax(axis=1) == truth)
    mean_confidence = np.bincount(members, confidence) / images
    return bins / ECE_BINS, images, right / images, mean_confidence


def _draw_quarter_means(axes: Axes, sizes: np.ndarray, dice: np.ndarray) -> None:
    """Draws the mean Dice of each quarter of the lesions, sorted by size."""
    for quarter in np.array_split(np.argsort(sizes), 4):
        if quarter.size:
            mean = dice[quarter].mean()
            ends = sizes[quarter[[0, -1]]]
            label = "mean of a quarter" if quarter[0] == sizes.argmin() else None
            axes.plot(ends, [mean, mean], color="black", label=label)
