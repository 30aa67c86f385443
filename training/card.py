"""Writes the card of a preset: the runs behind its weights, and their metrics.

PRESET holds model.keras and its exported `.tflite` files:

    python -m keras_efsnet.training.card PRESET --runs RUN_1 RUN_2 RUN_3 \
        --metrics VALIDATION/metrics.json TEST/metrics.json

Without options it updates only the hashes, for example after another export.
"""

import argparse
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from keras_efsnet.files import write_text
from keras_efsnet.labels import LABELS
from keras_efsnet.models.presets import weight_digests

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


def write_card(preset: Path, runs: Sequence[Path], metrics: Sequence[Path]) -> Path:
    """Writes a preset's card.json.

    Args:
        preset: the preset's folder with its weights, named like the preset. Rules from
            `training.calibrate` in its card are kept.
        runs: the runs that made the weights, first to last.
        metrics: metrics.json files of `efsnet evaluate`, one per subset.

    Returns:
        The path of card.json.
    """
    *earlier, last = map(_describe, runs)
    card = {
        "name": preset.name,
        "licence": LICENCE,
        "intended_use": USE,
        "data": DATA,
        "labels": list(LABELS),
        **_calibration(preset),
        **last,
        "earlier_runs": earlier,
        "metrics": {report["subset"]: report for report in map(_read, metrics)},
        "metrics_date": date.today().isoformat(),
        "sha256": weight_digests(preset),
    }
    return _write(preset, card)


def _calibration(preset: Path) -> dict[str, Any]:
    """Gives the card's entries from `training.calibrate`."""
    card = _read(preset / "card.json") if (preset / "card.json").exists() else {}
    kept: dict[str, Any] = {
        key: card[key] for key in ("postprocess", "calibration", "looks") if key in card
    }
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
    settings["init"] = settings["init"] and "best.keras of the run before"
    return facts


def _read(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the card of a preset.")
    parser.add_argument("preset", type=Path)
    parser.add_argument("--runs", type=Path, nargs="+")
    parser.add_argument("--metrics", type=Path, nargs="+")
    given = parser.parse_args()
    if given.runs and given.metrics:
        write_card(given.preset, given.runs, given.metrics)
    elif given.runs or given.metrics:
        parser.error("--runs and --metrics go together; give both, or neither.")
    else:
        refresh_hashes(given.preset)


if __name__ == "__main__":
    main()
