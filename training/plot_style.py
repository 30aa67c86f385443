"""The look that all plots share: sizes, colours, legends, alternative text.

Colours are for colour-blind readers (Okabe and Ito, 2008). Lines, hatches and marks
differ as well, so that a plot can be read when it is printed in grey. Figures are
narrow, so that their text can be read on a phone.
"""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_efsnet.labels import BENIGN, MALIGNANT, NORMAL

DPI = 150
WIDTH = 5.0
"""Of every plot, in inches."""
LONGEST_LINE = 54
"""In characters: what fits into the width."""
LOOK: dict[Any, Any] = {
    **{"font.size": 11, "axes.titlesize": 12, "legend.fontsize": 10},
    "text.parse_math": False,  # names of images and sources are no formulas
    **{"lines.linewidth": 1.8, "legend.frameon": False, "hatch.color": "white"},
}
ALTERNATIVE_TEXT = "Description"
"""The name of a PNG file's text for readers who do not see the plot."""

LABEL_COLOURS = {NORMAL: "#009E73", BENIGN: "#0072B2", MALIGNANT: "#D55E00"}
OTHER_COLOURS = ("#CC79A7", "#E69F00", "#56B4E9", "#000000")
SOURCE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", "-.", ":", (0, (7, 2)), (0, (5, 2, 1, 2, 1, 2)))
HATCHES = ("", "////", "....", "xxxx", "----", "++++")
MARKERS = ("o", "^", "s", "D", "v", "P")
GUIDE_COLOUR = "#777777"

in_our_look = rc_context(LOOK)
"""Decorates what draws or writes figures."""


def make_figure(height: float) -> Figure:
    """Makes a figure, height in inches, without a display or global state."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def class_looks(labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Gives the look of each class's lines."""
    others, lines = cycle(OTHER_COLOURS), cycle(LINES)
    return {
        label: {
            "color": LABEL_COLOURS.get(label) or next(others),
            "linestyle": next(lines),
        }
        for label in labels
    }


def source_looks(sources: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Gives the look of each source's lines and marks."""
    looks = zip(cycle(SOURCE_COLOURS), cycle(LINES), cycle(MARKERS), strict=False)
    return {
        source: {"color": colour, "linestyle": line, "marker": marker}
        for source, (colour, line, marker) in zip(sources, looks, strict=False)
    }


def wrap(text: str, width: int = LONGEST_LINE) -> str:
    """Breaks text into lines, at its own line breaks too."""
    return "\n".join(textwrap.fill(line, width) for line in text.split("\n"))


def add_legend(
    figure: Figure, axes: Axes, handles: Sequence[Artist] | None = None
) -> None:
    """Adds a legend below the axes, where it hides nothing."""
    known = axes.get_legend_handles_labels()[0] if handles is None else handles
    labels = [wrap(str(handle.get_label())) for handle in known]
    figure.legend(known, labels, loc="outside lower center")


def write_figures(figures: Mapping[str, Figure], folder: Path) -> None:
    """Writes figures as PNG files with alternative text."""
    for name, figure in figures.items():
        text = {ALTERNATIVE_TEXT: alternative_text(figure)}
        figure.savefig(folder / f"{name}.png", dpi=DPI, metadata=text)


def alternative_text(figure: Figure) -> str:
    """Gives the figure's label, or its titles and legend."""
    if label := str(figure.get_label()):
        return label
    texts = [axes.get_title() for axes in figure.axes]
    texts += [text.get_text() for part in figure.legends for text in part.get_texts()]
    return "; ".join(" ".join(text.split()) for text in texts if text) + "."
