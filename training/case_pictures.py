"""Picks and draws evaluated images with the outlines of truth and prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from keras_efsnet.labels import NORMAL
from keras_efsnet.training.per_image import ImageScore, make_columns, predicted_class
from keras_efsnet.training.plot_style import add_legend, make_figure, wrap
from keras_efsnet.training.scores import MISSED_IOU

TRUTH_COLOUR, PREDICTION_COLOUR = "#56B4E9", "#FFD600"
SHOWN_CASES = 8
COLUMNS = 2


@dataclass(frozen=True, eq=False)
class Case:
    """An evaluated image with its masks, at the size they were compared at.

    Attributes:
        image: uint8 `(height, width)`.
        truth, prediction: masks, bool `(height, width)`.
    """

    score: ImageScore
    dice: float
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


def pick_cases(rows: Sequence[ImageScore]) -> dict[str, list[int]]:
    """Picks the images that are shown, at most eight of each kind.

    A lesion is found if its IoU is at least 0.1. The best, median and worst cases are
    found lesions: those of the highest Dice, nearest to the median Dice, and of the
    lowest. Missed lesions and false masks on normal images come largest first.

    Returns:
        Places in the table by the name of the kind, without empty kinds.
    """
    table = make_columns(rows)
    lesion = table.truth > 0
    found = lesion & (table.iou >= MISSED_IOU)
    median = np.median(table.dice[found]) if found.any() else 0
    orders = {
        "best_cases": (found, -table.dice),
        "median_cases": (found, np.abs(table.dice - median)),
        "worst_cases": (found, table.dice),
        "missed_cases": (lesion & ~found, -table.lesion_share),
        "false_masks": (
            table.of_class(NORMAL) & (table.prediction > 0),
            -table.prediction,
        ),
    }
    picked = {}
    for name, (chosen, order) in orders.items():
        places = np.flatnonzero(chosen)
        sorted_places = places[np.argsort(order[places], kind="stable")]
        picked[name] = sorted_places[:SHOWN_CASES].tolist()
    return {name: places for name, places in picked.items() if places}


def draw_cases(cases: Sequence[Case]) -> Figure:
    """Draws images with the outlines of truth and prediction, two in a row."""
    lines = -(-len(cases) // COLUMNS)
    figure = make_figure(2.9 * lines + 0.4)
    panels = figure.subplots(lines, COLUMNS, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, case in zip(panels.flat, cases, strict=False):
        _draw_case(axes, case)
    # On white paper, bright lines need an edge.
    edge: dict[str, Any] = {
        "path_effects": [patheffects.withStroke(linewidth=4, foreground="black")]
    }
    handles = [
        Line2D([], [], color=TRUTH_COLOUR, label="truth", **edge),
        Line2D([], [], color=PREDICTION_COLOUR, ls="--", label="prediction", **edge),
    ]
    add_legend(figure, panels[0, 0], handles)
    return figure


def _draw_case(axes: Axes, case: Case) -> None:
    axes.imshow(case.image, cmap="gray", vmin=0, vmax=255)
    axes.set_anchor("N")  # centred, the title of a wide image would be cut
    _draw_outline(axes, case.truth, TRUTH_COLOUR, "solid")
    _draw_outline(axes, case.prediction, PREDICTION_COLOUR, "dashed")
    title = f"{case.score.stem}\nDice {case.dice:.2f}"
    if predicted := predicted_class(case.score):
        title += f"\n{case.score.label}, called {predicted}"
    axes.set_title(wrap(title, 28), fontsize="medium")


def _draw_outline(axes: Axes, mask: np.ndarray, colour: str, style: str) -> None:
    if not mask.any():  # Matplotlib would warn.
        return
    # Padded, so that the outline of a lesion at the image's edge is closed.
    rows, columns = (np.arange(-1, length + 1) for length in mask.shape)
    look: dict[str, Any] = {"colors": [colour], "linestyles": [style]}
    axes.contour(columns, rows, np.pad(mask, 1), levels=[0.5], linewidths=1.4, **look)
    axes.set(xlim=(-0.5, mask.shape[1] - 0.5), ylim=(mask.shape[0] - 0.5, -0.5))
