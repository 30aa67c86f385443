"""Writes one HTML file with the results of training runs and evaluations.

The file contains the evaluation's pictures. It needs no other file, network or script.
"""

import base64
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from html import escape
from operator import itemgetter
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from keras_efsnet import __version__
from keras_efsnet.files import write_whole
from keras_efsnet.labels import TASKS
from keras_efsnet.style import read_style
from keras_efsnet.training.learning_curves import describe_best, draw_curves, read_log
from keras_efsnet.training.plot_style import ALTERNATIVE_TEXT, DPI, alternative_text
from keras_efsnet.training.plots import CASES, CHARTS
from keras_efsnet.training.report_tables import (
    figures_table,
    html_table,
    sources_table,
    subgroups_table,
)
from keras_efsnet.training.report_words import describe_evaluation, describe_findings

RUN_FILE, METRICS_FILE = "settings.json", "metrics.json"

CASE_QUALITY = 85

FIRST, THEN, LAST = range(3)
"""What was found opens the report, and settings close it."""


def write_report(sources: Sequence[Path], out: Path) -> int:
    """Writes the report of runs and evaluations and gives its size in bytes.

    Args:
        sources: folders of `efsnet train` and `efsnet evaluate`, or files in them.
        out: the HTML file; replaced if it exists.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: a source is not a run or evaluation, or a file is damaged.
    """
    parts = [part for path in sources for part in _describe(path, len(sources) > 1)]
    body = "\n".join(html for _, html in sorted(parts, key=itemgetter(0)))
    page = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
    text = page.substitute(
        title="Report: " + escape(", ".join(_name(path) for path in sources)),
        notice="For research use only, not for diagnosis.",
        version=__version__,
        date=date.today().isoformat(),
        style=read_style(),
        body=body,
    )
    content = text.encode(errors="backslashreplace")
    write_whole(out, lambda part: part.write_bytes(content))
    return len(content)


def _describe(path: Path, several: bool) -> Iterator[tuple[int, str]]:
    """Gives the sections of a source with their place in the report."""
    folder = _folder(path)
    has_run, has_metrics = (
        (folder / name).is_file() for name in (RUN_FILE, METRICS_FILE)
    )
    if not has_run and not has_metrics:
        raise ValueError(
            f"{path}: no {RUN_FILE} or {METRICS_FILE} here; give the folder that "
            "`efsnet train` or `efsnet evaluate` wrote."
        )
    of = f": {escape(_name(path))}" if several else ""
    if has_metrics:
        for place, title, content in _evaluation(folder):
            yield place, _section(title + of, content)
    if has_run:
        for place, title, content in _run(folder):
            yield place, _section(title + of, content)


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _name(path: Path) -> str:
    return _folder(path).resolve().name


def _evaluation(folder: Path) -> Iterator[tuple[int, str, str]]:
    metrics = _read_json(folder / METRICS_FILE)
    try:
        found = _list(describe_evaluation(metrics), describe_findings(metrics))
        figures = figures_table(metrics)
        sources = sources_table(metrics)
        joined = metrics.get("patients")
        patients = joined and figures_table(joined)
        subgroups = subgroups_table(metrics.get("subgroups", {}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(folder / METRICS_FILE, error) from error
    yield FIRST, "What was found", found
    for title, captions, kind in (
        ("Charts", CHARTS, "chart"),
        ("Cases", CASES, "case"),
    ):
        pictures = [
            _picture(file, caption, kind)
            for name, caption in captions.items()
            if (file := folder / f"{name}.png").is_file()
        ]
        if pictures:
            yield THEN, title, _pictures(pictures)
    yield THEN, "Figures", figures
    if len(metrics.get("sources", {})) > 1:
        yield THEN, "Sources", sources
    if patients:
        words = "One answer for each patient or scan: that of the worst view."
        yield THEN, "Patients", f"<p>{words}</p>{patients}"
    if metrics.get("subgroups"):
        yield THEN, "Subgroups", subgroups


def _run(folder: Path) -> Iterator[tuple[int, str, str]]:
    facts = _read_json(folder / RUN_FILE)
    log = folder / "log.csv"
    if log.is_file() and log.stat().st_size:
        tasks = facts.get("tasks", TASKS)
        try:
            curves = read_log(log)
        except ValueError as error:
            raise _damaged(log, error) from error
        yield FIRST, "Training", f"<p>{describe_best(curves, tasks)}</p>"
        pictures = []
        for title, figure in draw_curves(curves, tasks).items():
            image = io.BytesIO()
            figure.savefig(image, format="png", dpi=DPI)
            alt = alternative_text(figure)
            pictures.append(_figure(image.getvalue(), "png", f"{title}.", alt, "chart"))
        yield THEN, "Learning curves", _pictures(pictures)
    rows = [[escape(name), escape(str(value))] for name, value in _flatten(facts)]
    yield LAST, "Settings", html_table("facts", "Settings", ["setting", "value"], rows)


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


def _list(opening: str, sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<p>{escape(opening)}</p><ul>{items}</ul>"


def _pictures(pictures: Sequence[str]) -> str:
    return f'<div class="charts">{"".join(pictures)}</div>'


def _picture(path: Path, caption: str, kind: str) -> str:
    """Embeds a PNG file; cases become JPEG, at a fifth of the size."""
    with Image.open(path) as image:
        alt = image.info.get(ALTERNATIVE_TEXT, caption)
        if kind == "chart":
            return _figure(path.read_bytes(), "png", caption, alt, kind)
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "JPEG", quality=CASE_QUALITY)
    return _figure(buffer.getvalue(), "jpeg", caption, alt, kind)


def _figure(content: bytes, format_: str, caption: str, alt: str, kind: str) -> str:
    data = base64.b64encode(content).decode()
    return (
        f'<figure><img class="{kind}" alt="{escape(alt)}" '
        f'src="data:image/{format_};base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
