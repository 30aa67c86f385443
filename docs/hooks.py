"""Builds the API reference's source folder and the tables of the model card."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_efsnet.models.presets import DEFAULT_MODEL, PRESETS
from keras_efsnet.training.report_tables import FIGURES, IN_SUBGROUPS

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "build" / "api" / "keras_efsnet"


def on_startup(**_: Any) -> None:
    """Links the package's files in their installed layout, for mkdocstrings.

    It ignores paths that do not exist when it is configured, so this runs at startup.
    """
    shutil.rmtree(SOURCES, ignore_errors=True)
    rooms = {"keras_efsnet": ".", "training": "training", "tflite": "tflite"}
    for room, place in rooms.items():
        for file in (ROOT / room).rglob("*.py"):
            link = SOURCES / place / file.relative_to(ROOT / room)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replaces `{{ metrics }}` and the other placeholders with tables from the card."""
    card = json.loads((PRESETS / DEFAULT_MODEL / "card.json").read_text("utf-8"))
    tables = [("metrics", _metrics), ("subgroups", _subgroups)]
    tables += [("rules", _rules), ("training", _training)]
    for name, table in tables:
        if f"{{{{ {name} }}}}" in markdown:
            markdown = markdown.replace(f"{{{{ {name} }}}}", "\n".join(table(card)))
    return markdown


def _metrics(card: dict[str, Any]) -> Iterator[str]:
    """Gives a row for each metric and a column for each source of each subset."""
    parts = {
        f"{subset}, {source}": part
        for subset, report in card["metrics"].items()
        for source, part in report.get("sources", {"all": report}).items()
    }
    heads = [f"{name}, {part['n']} images" for name, part in parts.items()]
    yield _row("", *heads)
    yield _row(*["---"] * (1 + len(heads)))
    for name, label in FIGURES.items():
        cells = [_estimate(part, name) for part in parts.values()]
        if any(cells):
            yield _row(label, *cells)


def _subgroups(card: dict[str, Any]) -> Iterator[str]:
    labels = [FIGURES[name] for name in IN_SUBGROUPS]
    rows = [
        _row(subset, group, str(report["n"]), *_estimates(report))
        for subset, whole in card["metrics"].items()
        for group, report in whole.get("subgroups", {}).items()
    ]
    if not rows:
        yield "The card has no subgroups."
        return
    yield _row("subset", "subgroup", "images", *labels)
    yield _row(*["---"] * (3 + len(labels)))
    yield from rows


def _estimates(report: dict[str, Any]) -> list[str]:
    return [_estimate(report, name) for name in IN_SUBGROUPS]


def _estimate(report: dict[str, Any], name: str) -> str:
    figures = report["mask"] | report["class"] | report.get("refer", {})
    if figures.get(name) is None:
        return ""
    digits = 1 if name == "hd95_tumour" else 3  # HD95 is in pixels
    ends = " to ".join(f"{end:.{digits}f}" for end in figures[f"{name}_ci"] or ())
    return f"{figures[name]:.{digits}f}" + (f" ({ends})" if ends else "")


def _rules(card: dict[str, Any]) -> Iterator[str]:
    facts = {**card.get("calibration", {}), **card.get("postprocess", {})}
    if not facts:
        yield "These weights are not calibrated. The card has no rules."
        return
    yield _row("rule", "value")
    yield _row("---", "---")
    for name, value in facts.items():
        yield _row(name.replace("_", " "), json.dumps(value).replace("|", "\\|"))


def _training(card: dict[str, Any]) -> Iterator[str]:
    yield _row("run", "epochs", "size", "phantoms per class", "seed", "training images")
    yield _row(*["---"] * 6)
    for number, run in enumerate([*card["earlier_runs"], card], start=1):
        settings = run["settings"]
        names = ("epochs", "image_size", "phantoms", "seed")
        cells = (str(settings[name]) for name in names)
        yield _row(str(number), *cells, str(run["images"]["train"]))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
