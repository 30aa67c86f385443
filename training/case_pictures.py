"""Draws evaluated images with the outlines of truth and prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from keras_efsnet.labels import MASK
from keras_efsnet.training.per_image import ImageScore, predicted_class

TRUTH_COLOUR, PREDICTION_COLOUR = "#56B4E9", "#FFD600"


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


def draw_cases(cases: Sequence[Case]) -> Figure:
    """Draws images with the outlines of truth and prediction, four in a row."""
    columns = min(len(cases), 4)
    lines = -(-len(cases) // columns)
    figure = make_figure(3.0 * columns, 3.0 * lines + 0.4)
    panels = figure.subplots(lines, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, case in zip(panels.flat, cases, strict=False):
        _draw_case(axes, case)
    handles = [
        Line2D([], [], color=TRUTH_COLOUR, label="truth"),
        Line2D([], [], color=PREDICTION_COLOUR, linestyle="--", label="prediction"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _draw_case(axes: Axes, case: Case) -> None:
    axes.imshow(case.image, cmap="gray", vmin=0, vmax=255)
    _draw_outline(axes, case.truth, TRUTH_COLOUR, "solid")
    _draw_outline(axes, case.prediction, PREDICTION_COLOUR, "dashed")
    title = case.score.stem
    if MASK in case.score.tasks:
        title += f": Dice {case.dice:.2f}"
    if predicted := predicted_class(case.score):
        title += f"\nclass predicted: {predicted}"
    axes.set_title(title, fontsize=9)


def _draw_outline(axes: Axes, mask: np.ndarray, colour: str, style: str) -> None:
    if not mask.any():  # Matplotlib would warn.
        return
    # Padded, so that the outline of a lesion at the image's edge is closed.
    rows, columns = (np.arange(-1, length + 1) for length in mask.shape)
    look: dict[str, Any] = {"colors": [colour], "linestyles": [style]}
    axes.contour(columns, rows, np.pad(mask, 1), levels=[0.5], linewidths=1.2, **look)
    axes.set(xlim=(-0.5, mask.shape[1] - 0.5), ylim=(mask.shape[0] - 0.5, -0.5))


def make_figure(width: float, height: float) -> Figure:
    """Makes a figure, sizes in inches, without a display or global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
