"""Draws plots that compare sources, such as hospitals."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.metrics import auc, roc_curve

from keras_efsnet.labels import BENIGN, MALIGNANT, NORMAL
from keras_efsnet.training.intervals import FEWEST_GROUPS, wilson
from keras_efsnet.training.per_image import Columns, ImageScore, make_columns
from keras_efsnet.training.plot_style import (
    GUIDE_COLOUR,
    MARKERS,
    add_legend,
    make_figure,
    source_looks,
    wrap,
)
from keras_efsnet.training.scores import (
    ECE_BINS,
    S_DETECT,
    TARGET,
    confidence_bins,
    expected_calibration_error,
    malignant_share,
)

SHOWN_FIGURES = {
    ("mask", "dice_tumour"): "Dice, images with a lesion",
    ("mask", "missed"): "missed lesions",
    ("mask", "normal_false_positive_rate"): "normal images with a false mask",
    ("class", "accuracy"): "accuracy of the class",
    ("class", "auroc_malignant_benign"): "AUROC, malignant against benign",
    ("refer", "referred"): "referred to a person",
}
"""The figures that are drawn by source."""


def draw_figures(sources: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draws the main figures of each source with their intervals.

    Args:
        sources: from `breakdown.compute_by_source`.
    """
    shown = {
        (output, name): label
        for (output, name), label in SHOWN_FIGURES.items()
        if any(part[output][name] is not None for part in sources.values())
    }
    figure = make_figure(1.3 + len(shown) * (0.4 + 0.15 * len(sources)))
    axes = figure.add_subplot()
    words = []
    for number, (source, look) in enumerate(source_looks(list(sources)).items()):
        offset = 0.5 * (number / len(sources)) - 0.25
        label = f"{source}: {sources[source]['n']} images"
        axes.plot([], [], label=label, **look | {"linestyle": ""})
        for place, (output, name) in enumerate(shown):
            part = sources[source][output]
            if part[name] is None:
                continue
            low, high = part[f"{name}_ci"] or (part[name], part[name])
            line = look | {"marker": ""}
            axes.plot([low, high], [place + offset] * 2, **line)
            axes.plot(part[name], place + offset, **look)
            words.append(f"{source}, {shown[output, name]}: {part[name]:.2f}")
    axes.set(
        title="Main figures by source, 95 % intervals",
        xlim=(-0.02, 1.02),
        ylim=(len(shown) - 0.4, -0.6),
        yticks=range(len(shown)),
        yticklabels=[wrap(label, 18) for label in shown.values()],
    )
    axes.grid(axis="x", color=GUIDE_COLOUR, alpha=0.4)
    add_legend(figure, axes)
    figure.set_label(f"{axes.get_title()}: {'; '.join(words)}.")
    return figure


def draw_roc_by_source(
    rows: Sequence[ImageScore], title: str, unit: str = "images"
) -> Figure:
    """Draws each source's ROC curve of malignant against benign, normal left out.

    Two marks on each curve are the operating points of
    `sensitivity_at_90_specificity` and `specificity_at_90_sensitivity`. A cross with
    the intervals is S-Detect's.

    Args:
        unit: what a row is.
    """
    figure = make_figure(7.4)
    axes = figure.add_subplot()
    for source, table, look in _by_source(rows):
        lesion = table.of_class(BENIGN) | table.of_class(MALIGNANT)
        malignant = table.of_class(MALIGNANT)[lesion]
        if not malignant.any() or malignant.all():
            continue
        share = malignant_share(table)[lesion]
        _draw_roc(axes, malignant, share, f"{source}: {len(share)} {unit}", look)
    for marker, name in (("o", "specificity"), ("s", "sensitivity")):
        label = f"at a {name} of at least {100 * TARGET:.0f} %"
        axes.plot([], [], marker, color="white", markeredgecolor="black", label=label)
    _draw_s_detect(axes)
    axes.plot([0, 1], [0, 1], color=GUIDE_COLOUR, linestyle=":", label="chance")
    axes.set(
        title=title, xlabel="1 - specificity", ylabel="sensitivity", aspect="equal"
    )
    add_legend(figure, axes)
    return figure


def _draw_roc(
    axes: Axes, malignant: np.ndarray, share: np.ndarray, name: str, look: dict
) -> None:
    false_rate, true_rate, _ = roc_curve(malignant, share, drop_intermediate=False)
    specific = np.argmax(np.where(false_rate <= 1 - TARGET + 1e-9, true_rate, -1))
    sensitive = np.argmax(true_rate >= TARGET - 1e-9)
    label = (
        f"{name}, area {auc(false_rate, true_rate):.3f},\n"
        f"sensitivity {true_rate[specific]:.2f} (circle), "
        f"specificity {1 - false_rate[sensitive]:.2f} (square)"
    )
    axes.plot(false_rate, true_rate, label=label, **look | {"marker": ""})
    for point, marker in ((specific, "o"), (sensitive, "s")):
        place = false_rate[point], true_rate[point]
        axes.plot(*place, marker, color=look["color"], markeredgecolor="black", ms=8)


def _draw_s_detect(axes: Axes) -> None:
    sensitivity, *ends = S_DETECT["sensitivity"]
    specificity, *other_ends = S_DETECT["specificity"]
    x, y = 1 - specificity, sensitivity
    axes.plot([1 - end for end in other_ends], [y, y], color="black", linewidth=1)
    axes.plot([x, x], ends, color="black", linewidth=1)
    label = (
        "S-Detect, published, pooled from 11 studies:\n"
        f"sensitivity {sensitivity:.2f}, specificity {specificity:.2f}"
    )
    axes.plot(x, y, "*", color="black", ms=12, label=label)


def draw_reliability(rows: Sequence[ImageScore]) -> Figure:
    """Draws accuracy against confidence in the bins of the calibration error.

    Each source has a row: accuracy with 95 % intervals, and the number of images. A bin
    of fewer than ten groups is hollow and has no interval.
    """
    parts = list(_by_source(rows))
    figure = make_figure(1.3 + 2.4 * len(parts))
    panels = figure.subplots(
        len(parts), 2, sharex=True, squeeze=False, gridspec_kw={"width_ratios": (3, 2)}
    )
    for (left, right), (source, table, look) in zip(panels, parts, strict=True):
        _draw_bins(left, right, table, look)
        error = expected_calibration_error(table.probabilities, table.label)
        title = f"{source}: {len(table.label)} images,\ncalibration error {error:.3f}"
        left.set(title=wrap(title, 26), ylabel="accuracy", ylim=(-0.05, 1.05))
        right.set(title="images")
    for axes in panels[-1]:
        axes.set(xlabel="probability", xlim=(0, 1.03))
    few = f"accuracy of fewer than {FEWEST_GROUPS} patients or scans"
    mark: dict[str, Any] = {"color": "black", "marker": "o"}
    handles = [
        Line2D([], [], label="calibrated", color=GUIDE_COLOUR, linestyle=":"),
        Line2D([], [], label="accuracy, 95 % interval", **mark),
        Line2D([], [], label=few, fillstyle="none", linestyle="", **mark),
    ]
    add_legend(figure, panels[0, 0], handles)
    figure.suptitle("Is the class as often right as it says?")
    return figure


def _draw_bins(left: Axes, right: Axes, table: Columns, look: dict[str, Any]) -> None:
    confidence = table.probabilities.max(axis=1)
    hits = table.predicted == table.label
    bins = confidence_bins(confidence)
    left.plot([0, 1], [0, 1], color=GUIDE_COLOUR, linestyle=":")
    for number in np.unique(bins):
        chosen = bins == number
        place = confidence[chosen].mean(), hits[chosen].mean()
        enough = len(np.unique(table.group[chosen])) >= FEWEST_GROUPS
        if enough:
            ends = wilson(hits[chosen], table.group[chosen])
            left.plot([place[0]] * 2, ends, color=look["color"], linewidth=1.4)
        fill = "full" if enough else "none"
        mark = {"color": look["color"], "marker": look["marker"]}
        left.plot(*place, fillstyle=fill, ms=6, **mark)
    edges = np.linspace(0, 1, ECE_BINS + 1)
    images = np.bincount(bins, minlength=ECE_BINS)
    right.stairs(images, edges, fill=True, color=look["color"])


def draw_dice_by_size(rows: Sequence[ImageScore]) -> Figure:
    """Draws the Dice of each image with a lesion over the lesion's relative size.

    Marks of every other source are hollow.
    """
    figure = make_figure(5.4)
    axes = figure.add_subplot()
    lesions = [label for label in rows[0].labels if label != NORMAL]
    markers = dict(zip(lesions or [""], cycle(MARKERS), strict=False))
    handles, words = [], []
    fills = cycle(("full", "none"))
    for (source, table, look), fill in zip(_by_source(rows), fills, strict=False):
        percent = 100 * table.lesion_share
        look |= {"marker": "o", "fillstyle": fill}
        for label, marker in markers.items():
            chosen = table.of_class(label) & (percent > 0)
            mark = {"color": look["color"], "fillstyle": fill, "alpha": 0.45}
            axes.plot(percent[chosen], table.dice[chosen], marker, ms=4, **mark)
        shown = percent > 0
        x, y = _quarter_means(percent[shown], table.dice[shown])
        label = f"{source}: {shown.sum()} images, means of quarters by size"
        handles += axes.plot(x, y, label=label, **look | {"lw": 3, "ms": 9})
        means = ", ".join(
            f"{mean:.2f} at {size:.1f} %" for size, mean in zip(x, y, strict=True)
        )
        words.append(f"{label}: {means}")
    axes.set(
        title="Dice by lesion size",
        xlabel="lesion, % of the image",
        ylabel="Dice",
        xscale="log",
        ylim=(-0.05, 1.05),
    )
    axes.xaxis.set_major_formatter("{x:g}")
    for label, marker in markers.items() if lesions else ():
        mark = {"color": GUIDE_COLOUR, "linestyle": "", "marker": marker}
        handles.append(Line2D([], [], label=label, **mark))
    add_legend(figure, axes, handles)
    figure.set_label(f"{axes.get_title()}; {'; '.join(words)}.")
    return figure


def _by_source(
    rows: Sequence[ImageScore],
) -> Iterator[tuple[str, Columns, dict[str, Any]]]:
    """Gives each source's name, table and look."""
    looks = source_looks(sorted({row.source for row in rows}))
    for source, look in looks.items():
        yield source, make_columns([r for r in rows if r.source == source]), look


def _quarter_means(sizes: np.ndarray, dice: np.ndarray) -> tuple[list, list]:
    """Gives median size and mean Dice of each quarter of the lesions, by size."""
    quarters = [q for q in np.array_split(np.argsort(sizes), 4) if q.size]
    medians = [float(np.median(sizes[quarter])) for quarter in quarters]
    return medians, [float(dice[quarter].mean()) for quarter in quarters]
