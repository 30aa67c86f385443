"""Draws plots that compare sources, such as hospitals."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.metrics import auc, roc_curve

from keras_efsnet.labels import BENIGN, MALIGNANT, NORMAL
from keras_efsnet.training.case_pictures import make_figure
from keras_efsnet.training.per_image import Columns, ImageScore, make_columns
from keras_efsnet.training.scores import (
    ECE_BINS,
    TARGET,
    confidence_bins,
    expected_calibration_error,
    malignant_share,
)

# For colour-blind readers (Okabe and Ito, 2008); the lines differ as well.
SOURCE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SOURCE_LINES = ("-", "--", "-.", ":")
GUIDE_COLOUR = "#888888"
CLASS_MARKERS = ("o", "^", "s", "D", "v", "P")


def draw_roc_by_source(rows: Sequence[ImageScore]) -> Figure:
    """Draws each source's ROC curve of malignant against benign, normal left out.

    Two marks on each curve are the operating points of
    `sensitivity_at_90_specificity` and `specificity_at_90_sensitivity`.
    """
    figure = make_figure(5.0, 5.2)
    axes = figure.add_subplot()
    for source, table, style in _by_source(rows):
        lesion = table.of_class(BENIGN) | table.of_class(MALIGNANT)
        malignant = table.of_class(MALIGNANT)[lesion]
        if not malignant.any() or malignant.all():
            continue
        share = malignant_share(table)[lesion]
        curve = roc_curve(malignant, share, drop_intermediate=False)
        false_rate, true_rate, _ = curve
        label = f"{source}: {len(share)} images, area {auc(false_rate, true_rate):.3f}"
        axes.plot(false_rate, true_rate, label=label, **style)
        specific = np.argmax(np.where(false_rate <= 1 - TARGET + 1e-9, true_rate, -1))
        sensitive = np.argmax(true_rate >= TARGET - 1e-9)
        for point, marker in ((specific, "o"), (sensitive, "s")):
            place = false_rate[point], true_rate[point]
            axes.plot(*place, marker, color=style["color"], markeredgecolor="black")
    axes.plot([0, 1], [0, 1], color=GUIDE_COLOUR, linestyle=":", label="chance")
    limit = f"{TARGET:.0%}".replace("%", " %")
    for marker, name in (("o", "specificity"), ("s", "sensitivity")):
        label = f"{name} of at least {limit}"
        axes.plot([], [], marker, color="white", markeredgecolor="black", label=label)
    axes.set(
        title="ROC, malignant against benign",
        xlabel="1 - specificity",
        ylabel="sensitivity",
        aspect="equal",
    )
    axes.legend(loc="lower right")
    return figure


def draw_reliability(rows: Sequence[ImageScore]) -> Figure:
    """Draws accuracy against confidence in the bins of the calibration error."""
    figure = make_figure(5.0, 6.4)
    upper, lower = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1)}
    )
    edges = np.linspace(0, 1, ECE_BINS + 1)
    for source, table, style in _by_source(rows):
        confidence = table.probabilities.max(axis=1)
        bins = confidence_bins(confidence)
        images = np.bincount(bins, minlength=ECE_BINS)
        right = np.bincount(bins, table.predicted == table.label, ECE_BINS)
        sums = np.bincount(bins, confidence, ECE_BINS)
        filled = images > 0
        x, y = (total[filled] / images[filled] for total in (sums, right))
        error = expected_calibration_error(table.probabilities, table.label)
        label = f"{source}: {len(bins)} images, calibration error {error:.3f}"
        upper.plot(x, y, label=label, **style)
        size = 10 + 150 * images[filled] / images.max()
        upper.scatter(x, y, size, color=style["color"], alpha=0.7)
        lower.stairs(images, edges, **style)
    upper.plot([0, 1], [0, 1], color=GUIDE_COLOUR, linestyle=":", label="calibrated")
    upper.set(
        title="Reliability (area of a point: its images)",
        ylabel="accuracy",
        xlim=(0, 1.02),
        ylim=(-0.03, 1.05),
    )
    figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center")
    lower.set(xlabel="probability of the predicted class", ylabel="images")
    return figure


def draw_dice_by_size(rows: Sequence[ImageScore]) -> Figure:
    """Draws the Dice of each image with a lesion over the lesion's relative size."""
    figure = make_figure(6.4, 4.6)
    axes = figure.add_subplot()
    lesions = [label for label in rows[0].labels if label != NORMAL]
    markers = dict(zip(lesions or [""], cycle(CLASS_MARKERS), strict=False))
    for source, table, style in _by_source(rows):
        percent = 100 * table.lesion_share
        for label, marker in markers.items():
            chosen = table.of_class(label) & (percent > 0)
            look: dict[str, Any] = {"color": style["color"], "alpha": 0.35}
            axes.plot(percent[chosen], table.dice[chosen], marker, ms=4, **look)
        shown = percent > 0
        x, y = _quarter_means(percent[shown], table.dice[shown])
        label = f"{source}: {shown.sum()} images, means of quarters"
        axes.plot(x, y, label=label, linewidth=2.5, **style)
    axes.set(
        title="Dice by lesion size",
        xlabel="lesion, % of the image",
        ylabel="Dice",
        xscale="log",
        ylim=(-0.05, 1.05),
    )
    axes.xaxis.set_major_formatter("{x:g}")
    handles, _ = axes.get_legend_handles_labels()
    for label, marker in markers.items() if lesions else ():
        look = {"color": GUIDE_COLOUR, "linestyle": "", "marker": marker}
        handles.append(Line2D([], [], label=label, **look))
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _by_source(
    rows: Sequence[ImageScore],
) -> Iterator[tuple[str, Columns, dict[str, Any]]]:
    """Gives each source's name, table and look of its lines."""
    looks = zip(cycle(SOURCE_COLOURS), cycle(SOURCE_LINES), strict=False)
    sources = sorted({row.source for row in rows})
    for source, (colour, line) in zip(sources, looks, strict=False):
        table = make_columns([row for row in rows if row.source == source])
        yield source, table, {"color": colour, "linestyle": line}


def _quarter_means(sizes: np.ndarray, dice: np.ndarray) -> tuple[list, list]:
    """Gives median size and mean Dice of each quarter of the lesions, by size."""
    quarters = [q for q in np.array_split(np.argsort(sizes), 4) if q.size]
    medians = [float(np.median(sizes[quarter])) for quarter in quarters]
    return medians, [float(dice[quarter].mean()) for quarter in quarters]
