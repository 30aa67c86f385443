"""The folder of a preset, made of a finished run: weights and card.json.

    python -m keras_efsnet.training.card RUN --first FIRST_RUN --out PRESET \
        --metrics VALIDATION/metrics.json TEST/metrics.json
"""

import argparse
import hashlib
import json
import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from keras_efsnet.prediction import LABELS
from keras_efsnet.training.state import write_atomically

LICENCE = "Apache-2.0"
USE = (
    "Research on lesion detection in breast ultrasound images. Not a medical device, "
    "not for diagnosis."
)
DATA = (
    "W. Al-Dhabyani et al., Dataset of Breast Ultrasound Images (BUSI), Data in Brief "
    "28:104863, 2020; folds without shared scans from the groups of A. Pawlowska et "
    "al., Mendeley Data 10.17632/k8t3gnx9h6.1."
)


def make_preset(
    run: Path, first_run: Path | None, metrics: Sequence[Path], out: Path
) -> Path:
    """Copies a run's best model to a preset folder and writes its card.

    Args:
        run: the run whose best.keras is shipped.
        first_run: the run that its weights started from.
        metrics: metrics.json files of `efsnet evaluate`, one a subset.
        out: the preset's folder; its name is the preset's.

    Returns:
        The path of card.json.
    """
    out.mkdir(parents=True, exist_ok=True)
    model = out / "model.keras"
    write_atomically(model, lambda part: shutil.copyfile(run / "best.keras", part))
    card = {
        "name": out.name,
        "licence": LICENCE,
        "intended_use": USE,
        "data": DATA,
        "labels": list(LABELS),
        "postprocess": {},
        **_describe(run),
        "first_run": _describe(first_run) if first_run else None,
        "metrics": {report["subset"]: report for report in map(_read, metrics)},
        "metrics_date": date.today().isoformat(),
        "sha256": {model.name: hashlib.sha256(model.read_bytes()).hexdigest()},
    }
    text = json.dumps(card, indent=2) + "\n"
    path = out / "card.json"
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))
    return path


def _describe(run: Path) -> dict[str, Any]:
    """A run's settings.json, its files by name alone: folders differ by machine."""
    facts = _read(run / "settings.json")
    settings = facts["settings"]
    settings["data"] = Path(settings["data"]).name
    settings["split"] = [Path(file).name for file in settings["split"]]
    settings["init"] = settings["init"] and "best.keras of first_run"
    return facts


def _read(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def main() -> None:
    """Reads the command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Make a preset of a finished run.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--first", type=Path, help="the run it started from")
    parser.add_argument("--metrics", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    make_preset(arguments.run, arguments.first, arguments.metrics, arguments.out)


if __name__ == "__main__":
    main()
