"""Writes one HTML file with the results of training runs and evaluations.

The file contains the evaluation's pictures. It needs no other file, network or script.
"""

import base64
import csv
import io
import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from keras_efsnet import __version__
from keras_efsnet.files import write_whole
from keras_efsnet.labels import CLASS, MASK, TASKS
from keras_efsnet.style import read_style
from keras_efsnet.training.report_tables import (
    figures_table,
    html_table,
    sources_table,
    subgroups_table,
)

RUN_FILE, METRICS_FILE = "settings.json", "metrics.json"

CHARTS = {
    "roc": "ROC curves of each class against the rest.",
    "roc_malignant_benign": (
        "ROC curves of malignant against benign images by source, with the points of "
        "90 % specificity and 90 % sensitivity."
    ),
    "confusion": "How many images of each class got which class.",
    "reliability": (
        "How often the class is right at each stated probability, by source."
    ),
    "risk_coverage": "How the error falls when the least sure images are left out.",
    "dice_histogram": "How many images reach which Dice.",
    "dice_by_size": "Dice of each image over its lesion's size, by source.",
}
CASES = {"worst_cases": "Lowest Dice first.", "best_cases": "Highest Dice first."}
CASE_QUALITY = 85


# Each is one function of the network in training and in validation. The sum of the
# losses is not: the class weighs less in training, and a teacher only counts there.
PANELS = {
    "loss of the mask": "mask_loss",
    "Dice of the mask": "mask_dice",
    "accuracy of the class": "class_sparse_categorical_accuracy",
}
"""The learning curves: columns of log.csv by title."""

BEST = {
    MASK: ("Dice", "mask_dice"),
    CLASS: ("accuracy", "class_sparse_categorical_accuracy"),
}
"""Name and column of what the best epoch is chosen by; the mask's if it is trained."""


def write_report(sources: Sequence[Path], out: Path) -> int:
    """Writes the report of runs and evaluations and gives its size in bytes.

    Args:
        sources: folders of `efsnet train` and `efsnet evaluate`, or files in them.
        out: the HTML file; replaced if it exists.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: a source is not a run or evaluation, or a file is damaged.
    """
    body = "\n".join(section for path in sources for section in _describe(path))
    page = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
    text = page.substitute(
        title="Report: " + escape(", ".join(_name(path) for path in sources)),
        notice="For research use only, not for diagnosis.",
        version=__version__,
        style=read_style(),
        body=body,
    )
    content = text.encode(errors="backslashreplace")
    write_whole(out, lambda part: part.write_bytes(content))
    return len(content)


def _describe(path: Path) -> Iterator[str]:
    folder = _folder(path)
    has_run, has_metrics = (
        (folder / name).is_file() for name in (RUN_FILE, METRICS_FILE)
    )
    if not has_run and not has_metrics:
        raise ValueError(
            f"{path}: no {RUN_FILE} or {METRICS_FILE} here; give the folder that "
            "`efsnet train` or `efsnet evaluate` wrote."
        )
    if has_metrics:
        yield from _evaluation(folder)
    if has_run:
        yield from _run(folder)


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _name(path: Path) -> str:
    return _folder(path).resolve().name


def _evaluation(folder: Path) -> Iterator[str]:
    metrics = _read_json(folder / METRICS_FILE)
    try:
        facts = (
            f"{metrics['model']} on the {metrics['subset']} subset of "
            f"{metrics['split']['name']}, {metrics['n']} images, protocol "
            f"{metrics['protocol']}."
        )
        figures = figures_table(metrics)
        sources = sources_table(metrics)
        subgroups = subgroups_table(metrics.get("subgroups", {}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(folder / METRICS_FILE, error) from error
    yield _section("Figures", f"<p>{escape(facts)}</p>{figures}")
    if len(metrics.get("sources", {})) > 1:
        yield _section("Sources", sources)
    if metrics.get("subgroups"):
        yield _section("Subgroups", subgroups)
    charts = [
        _picture(file, caption, "chart")
        for name, caption in CHARTS.items()
        if (file := folder / f"{name}.png").is_file()
    ]
    if charts:
        yield _section("Charts", f'<div class="charts">{"".join(charts)}</div>')
    for name, caption in CASES.items():
        file = folder / f"{name}.png"
        if file.is_file():
            title = name.replace("_", " ").capitalize()
            yield _section(title, _picture(file, caption, "case"))


def _run(folder: Path) -> Iterator[str]:
    facts = _read_json(folder / RUN_FILE)
    log = folder / "log.csv"
    if log.is_file() and log.stat().st_size:
        tasks = facts.get("tasks", TASKS)
        curves = _read_log(log)
        title, name = BEST[MASK if MASK in tasks else CLASS]
        figure = curves[f"val_{name}"]
        best = figure.argmax()
        caption = (
            f"{len(curves['epoch'])} epochs; best validation {title} "
            f"{figure[best]:.3f} after epoch {curves['epoch'][best] + 1:.0f}."
        )
        image = io.BytesIO()
        _draw_curves(curves, tasks).savefig(image, format="png", dpi=150)
        picture = _figure(image.getvalue(), "png", caption, "chart")
        yield _section("Learning curves", picture)
    rows = [[escape(name), escape(str(value))] for name, value in _flatten(facts)]
    yield _section("Settings", html_table("facts", ["setting", "value"], rows))


def _draw_curves(log: dict[str, np.ndarray], tasks: Sequence[str] = TASKS) -> Figure:
    """Draws the curves of the outputs that are trained."""
    panels = {t: name for t, name in PANELS.items() if name.split("_")[0] in tasks}
    figure = Figure(figsize=(4 * len(panels), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    plots = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, name) in zip(plots, panels.items(), strict=True):
        axes.plot(log["epoch"] + 1, log[name], ".-", label="training, augmented")
        axes.plot(log["epoch"] + 1, log[f"val_{name}"], ".-", label="validation")
        axes.set(title=title, xlabel="epoch")
        axes.legend()
    return figure


def _read_log(path: Path) -> dict[str, np.ndarray]:
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    try:
        values = np.array(rows, np.float64)
        log = dict(zip(names, values.T, strict=True))
        drawn = [f"{part}{name}" for name in PANELS.values() for part in ("", "val_")]
        missing = [name for name in ("epoch", *drawn) if name not in log]
        if not len(rows) or missing:
            raise ValueError(f"no epoch, or no {', '.join(missing)}")
    except ValueError as error:
        raise _damaged(path, error) from error
    return log


def _read_json(path: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path, error) from error
    return facts


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path}: not as `efsnet` writes it ({type(error).__name__}: {error}); make "
        "it again."
    )


def _flatten(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _section(title: str, content: str) -> str:
    return f'<section class="panel"><h2>{title}</h2>{content}</section>'


def _picture(path: Path, caption: str, kind: str) -> str:
    """Embeds a PNG file; cases become JPEG, at a fifth of the size."""
    if kind == "chart":
        return _figure(path.read_bytes(), "png", caption, kind)
    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").save(buffer, "JPEG", quality=CASE_QUALITY)
    return _figure(buffer.getvalue(), "jpeg", caption, kind)


def _figure(content: bytes, format_: str, caption: str, kind: str) -> str:
    data = base64.b64encode(content).decode()
    return (
        f'<figure><img class="{kind}" alt="{escape(caption)}" '
        f'src="data:image/{format_};base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
