"""Writes the card of a preset: the runs behind its weights, and their metrics.

PRESET holds model.keras and its exported `.tflite` files:

    python -m keras_efsnet.training.card PRESET --runs RUN_1 RUN_2 \
        --metrics validation=VALIDATION/metrics.json test=TEST/metrics.json \
        --recipe COMMANDS.sh

Without options it updates only the hashes, for example after another export.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from keras_efsnet.files import write_text
from keras_efsnet.labels import LABELS
from keras_efsnet.models.presets import ModelFiles, preset_names, weight_digests
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.training.seen import Seen
from keras_efsnet.training.settings import EARLIER_RUN

KERAS_NAME = "model.keras"
LICENCE = "Apache-2.0"
USE = (
    "Research on lesion detection in breast ultrasound images. Not a medical device, "
    "not for diagnosis."
)
DATASETS = {
    "busi": {
        "name": "BUSI (Cairo), GE LOGIQ E9",
        "source": "W. Al-Dhabyani et al., Data in Brief 28:104863, 2020; folds without "
        "shared scans from the groups of A. Pawlowska et al., Mendeley Data "
        "10.17632/k8t3gnx9h6.1",
        "licence": "none stated with the images; cite the article",
    },
    "busbra": {
        "name": "BUS-BRA (Rio de Janeiro), four scanners",
        "source": "W. Gomez-Flores et al., Medical Physics 51:3110, 2024; the authors' "
        "folds",
        "licence": "free use, modification and distribution; cite the article",
    },
}
"""What cards say of the datasets that weights were trained on."""

_CALIBRATED = ("labels", "tasks", "postprocess", "calibration", "looks", "images_seen")
"""A card's entries from `training.calibrate`."""


def write_card(
    preset: Path,
    runs: Sequence[Path],
    metrics: Mapping[str, Path],
    recipe: Sequence[str],
) -> Path:
    """Writes a preset's card.json.

    Args:
        preset: the preset's folder with its weights, named like the preset. Rules from
            `efsnet calibrate` in its card are kept.
        runs: the runs that made the weights, first to last.
        metrics: metrics.json files of `efsnet evaluate` by the name of their images,
            such as "validation".
        recipe: the commands from the datasets to the weights.

    Returns:
        The path of card.json.
    """
    *earlier, last = map(_describe, runs)
    reports = {name: _read(file) for name, file in metrics.items()}
    trained_on = reports.get("validation", {}).get("sources", ())
    card = {
        "name": preset.name,
        "licence": LICENCE,
        "intended_use": USE,
        "datasets": {name: DATASETS[name] for name in trained_on if name in DATASETS},
        "labels": list(LABELS),
        **_calibration(preset),
        **last,
        "earlier_runs": earlier,
        "recipe": list(recipe),
        "metrics": reports,
        "metrics_date": date.today().isoformat(),
        "sha256": weight_digests(preset),
    }
    return _write(preset, card)


def write_own_card(
    preset: Path,
    model: ModelFiles,
    name: str,
    rules: Postprocess,
    seen: Seen | None,
) -> Path:
    """Writes the card of a folder that holds a model and its exported files.

    It says what the model's own card says, what the classes are, which images trained
    the model, and the hashes of the files.

    Args:
        preset: the folder with `model.keras` and the files.
        model: the model's own file and card.
        name: the preset's name, if the card has none.
        rules: the model's labels, tasks and rules.
        seen: the images that the files have seen; None if that is unknown.

    Returns:
        The path of card.json.
    """
    card = {
        "name": name,
        **model.card,
        **({"images_seen": seen} if seen else {}),
        "labels": list(rules.labels),
        "tasks": list(rules.tasks),
        "postprocess": rules.to_json(),
        "sha256": weight_digests(preset),
    }
    return _write(preset, card)


def _calibration(preset: Path) -> dict[str, Any]:
    """Gives the card's entries from `training.calibrate`."""
    card = _read(preset / "card.json") if (preset / "card.json").exists() else {}
    kept: dict[str, Any] = {key: card[key] for key in _CALIBRATED if key in card}
    return {"postprocess": {}, **kept}


def refresh_hashes(preset: Path) -> Path:
    """Updates the hashes in a preset's card.json and gives its path."""
    card = _read(preset / "card.json")
    return _write(preset, {**card, "sha256": weight_digests(preset)})


def _write(preset: Path, card: dict[str, Any]) -> Path:
    path = preset / "card.json"
    write_text(path, json.dumps(card, indent=2) + "\n", durable=True)
    return path


def _describe(run: Path) -> dict[str, Any]:
    """Reads a run's settings.json and drops the folders of its files."""
    facts = _read(run / "settings.json")
    settings = facts["settings"]
    data = settings["data"]
    folders = [data] if isinstance(data, str) else data
    settings["data"] = [Path(folder).name for folder in folders]
    settings["split"] = [Path(file).name for file in settings["split"]]
    for name in ("init", "teacher"):
        if settings.get(name) not in (None, *preset_names()):
            settings[name] = EARLIER_RUN
    return facts


def _read(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the card of a preset.")
    parser.add_argument("preset", type=Path)
    parser.add_argument("--runs", type=Path, nargs="+")
    parser.add_argument("--metrics", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--recipe", type=Path, help="a file with a command a line")
    given = parser.parse_args()
    options = (given.runs, given.metrics, given.recipe)
    if all(options):
        pairs = (text.partition("=") for text in given.metrics)
        metrics = {name: Path(file) for name, _, file in pairs}
        recipe = given.recipe.read_text(encoding="utf-8").splitlines()
        write_card(given.preset, given.runs, metrics, recipe)
    elif any(options):
        parser.error("--runs, --metrics and --recipe go together; give all, or none.")
    else:
        refresh_hashes(given.preset)


if __name__ == "__main__":
    main()
