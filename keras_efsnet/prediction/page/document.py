"""Writes the results page.

The page is one file without outside parts. It shows the pictures of its folder by their
relative addresses, so it opens from disk and moves with the folder.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template

from keras_efsnet import __version__
from keras_efsnet.files import write_text
from keras_efsnet.prediction.page.entries import make_entry
from keras_efsnet.prediction.referral import ADVICE
from keras_efsnet.prediction.writing import Record
from keras_efsnet.style import read_style

PAGE_NAME = "index.html"

MARKER = '<meta name="generator" content="keras-efsnet">'
"""Near the start of each page: a page without it is someone else's."""

_PLACE_OF_MARKER = 1000

SCRIPTS = [
    f"{name}.js" for name in ("parts", "records", "card", "list", "view", "start")
]
"""In the order in which one uses the other."""

_FOLDER = Path(__file__).parent


def check_place(out: Path, way_out: str = "") -> None:
    """Checks that no other page would be overwritten.

    Args:
        out: the output folder; need not exist.
        way_out: what else than another folder the error names, such as "--no-page".

    Raises:
        ValueError: its index.html is not a results page.
        OSError: that file cannot be read.
    """
    file = out / PAGE_NAME
    if (file.exists() or file.is_symlink()) and not _is_ours(file):
        raise ValueError(
            f"{file}: not a results page, and would be overwritten; choose another "
            f"output folder{way_out and f', or {way_out}'}."
        )


def remove_page(out: Path) -> None:
    """Removes the page of an earlier run, and no other."""
    if _is_ours(out / PAGE_NAME):
        (out / PAGE_NAME).unlink()


def write_page(
    out: Path, records: Sequence[Record], model: str, refers: bool, earlier: int = 0
) -> None:
    """Writes index.html, whole or not at all.

    Args:
        out: the folder of predictions.json.
        records: its entries.
        model: the model's name or file.
        refers: whether the model has a referral rule.
        earlier: how many of the records, the last ones, are an earlier run's.

    Raises:
        OSError: the file cannot be written.
    """
    style = read_style() + _read("page.css")
    script = "\n".join(map(_read, SCRIPTS))
    entries = [make_entry(record, out) for record in records]
    text = Template(_read("page.html")).substitute(
        marker=MARKER,
        policy=_policy(style, script),
        title=f"Results: {_count(len(records), 'image')}",
        summary=escape(_summarize(records, earlier)),
        model=escape(model),
        version=__version__,
        date=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        style=style,
        script=script,
        data=_embed({"refers": refers, "advice": ADVICE, "entries": entries}),
    )
    write_text(out / PAGE_NAME, text)


def _is_ours(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as content:
        return MARKER.encode() in content.read(_PLACE_OF_MARKER)


def _policy(style: str, script: str) -> str:
    """Only this page's own style and script, and pictures from where the page is."""
    rules = {
        "default-src": "'none'",
        "style-src": _source(style),
        "script-src": _source(script),
        "img-src": "'self' file:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


def _summarize(records: Sequence[Record], earlier: int) -> str:
    return ", ".join(_facts(records, earlier)) + "."


def _facts(records: Sequence[Record], earlier: int) -> Iterator[str]:
    names = dict.fromkeys(
        name for record in records for name in record.get("probabilities", {})
    )
    counts = Counter(record.get("class") for record in records)
    if names:
        yield from (f"{counts[name]} {name}" for name in reversed(names))
    else:
        yield f"{sum(bool(record.get('boxes')) for record in records)} with a lesion"
    if referred := sum(bool(record.get("refer")) for record in records):
        yield f"{referred} referred to a person"
    if failed := sum("error" in record for record in records):
        yield f"{failed} failed"
    if earlier:
        yield f"{earlier} from an earlier run, perhaps of another model"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _embed(facts: object) -> str:
    """JSON that holds no tag, for a script element."""
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
