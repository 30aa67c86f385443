"""Reads log.csv of a training run and draws its learning curves."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keras_efsnet.labels import BENIGN, CLASS, MALIGNANT, MASK, TASKS
from keras_efsnet.training.plot_style import (
    add_legend,
    class_looks,
    in_our_look,
    make_figure,
)

# Each is one function of the network in training and in validation. The sum of the
# losses is not: the class weighs less in training, and a teacher only counts there.
PANELS = {
    "Loss of the mask": "mask_loss",
    "Dice of the mask": "mask_dice",
    "Accuracy of the class": "class_sparse_categorical_accuracy",
}
"""The learning curves: columns of log.csv by title."""

BEST = {
    MASK: ("Dice", "mask_dice"),
    CLASS: ("accuracy", "class_sparse_categorical_accuracy"),
}
"""Name and column of what the best epoch is chosen by; the mask's if it is trained."""


def read_log(path: Path) -> dict[str, np.ndarray]:
    """Reads the columns of log.csv.

    Raises:
        OSError: the file cannot be read.
        ValueError: a column that is drawn is missing, or a value is no number.
    """
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    values = np.array(rows, np.float64)
    log = dict(zip(names, values.T, strict=True))
    drawn = [f"{part}{name}" for name in PANELS.values() for part in ("", "val_")]
    missing = [name for name in ("epoch", *drawn) if name not in log]
    if not rows or missing:
        raise ValueError(f"no epoch, or no {', '.join(missing)}")
    return log


def describe_best(log: Mapping[str, np.ndarray], tasks: Sequence[str] = TASKS) -> str:
    """Says in a sentence which epoch was the best."""
    title, name = BEST[MASK if MASK in tasks else CLASS]
    figure = log[f"val_{name}"]
    best = figure.argmax()
    return (
        f"{len(log['epoch'])} epochs; best validation {title} {figure[best]:.3f} after "
        f"epoch {log['epoch'][best] + 1:.0f}."
    )


@in_our_look
def draw_curves(
    log: Mapping[str, np.ndarray], tasks: Sequence[str] = TASKS
) -> dict[str, Figure]:
    """Draws the curves of the outputs that are trained, a figure for each title."""
    panels = {t: name for t, name in PANELS.items() if name.split("_")[0] in tasks}
    return {title: _draw_curve(log, title, name) for title, name in panels.items()}


def _draw_curve(log: Mapping[str, np.ndarray], title: str, name: str) -> Figure:
    figure = make_figure(4.2)
    axes = figure.add_subplot()
    parts = {"training, augmented": name, "validation": f"val_{name}"}
    looks = class_looks((BENIGN, MALIGNANT)).values()
    for (label, column), look in zip(parts.items(), looks, strict=True):
        last = f"{label}: {log[column][-1]:.3f} at the end"
        axes.plot(log["epoch"] + 1, log[column], marker=".", label=last, **look)
    axes.set(title=title, xlabel="epoch", xlim=(0.5, log["epoch"][-1] + 1.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    add_legend(figure, axes)
    return figure
