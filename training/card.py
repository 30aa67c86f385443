"""The card of a preset: what its weights were made of and what they reached.

With a best.keras as PRESET/model.keras and its exported `.tflite` files beside it:

    python -m keras_efsnet.training.card PRESET --runs RUN_1 RUN_2 RUN_3 \
        --metrics VALIDATION/metrics.json TEST/metrics.json

After another export of the same model, `python -m keras_efsnet.training.card PRESET`
writes the hashes of its files anew.
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
        preset: the preset's folder with its weights; its name is the preset's. The
            rules that `training.calibrate` wrote to its card stay.
        runs: the runs that made the weights, first to last.
        metrics: metrics.json files of `efsnet evaluate`, one a subset.

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
    """What `training.calibrate` has written to the card, if it was run."""
    card = _read(preset / "card.json") if (preset / "card.json").exists() else {}
    kept: dict[str, Any] = {
        key: card[key] for key in ("postprocess", "calibration") if key in card
    }
    return {"postprocess": {}, **kept}


def refresh_hashes(preset: Path) -> Path:
    """Writes the hashes of a preset's files anew; the rest of its card stays.

    Returns:
        The path of card.json.
    """
    card = _read(preset / "card.json")
    return _write(preset, {**card, "sha256": weight_digests(preset)})


def _write(preset: Path, card: dict[str, Any]) -> Path:
    text = json.dumps(card, indent=2) + "\n"
    path = preset / "card.json"
    write_text(path, text, durable=True)
    return path


def _describe(run: Path) -> dict[str, Any]:
    """A run's settings.json, its files by name alone: folders differ by machine."""
    facts = _read(run / "settings.json")
    settings = facts["settings"]
    settings["data"] = Path(settings["data"]).name
    settings["split"] = [Path(file).name for file in settings["split"]]
    settings["init"] = settings["init"] and "best.keras of the run before"
    return facts


def _read(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def main() -> None:
    """Reads the command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Write the card of a preset.")
    parser.add_argument("preset", type=Path)
    parser.add_argument("--runs", type=Path, nargs="+")
    parser.add_argument("--metrics", type=Path, nargs="+")
    given = parser.parse_args()
    if given.runs and given.metrics:
        write_card(given.preset, given.runs, given.metrics)
    elif given.runs or given.metrics:
        parser.error("--runs and --metrics go together; without both, hashes alone.")
    else:
        refresh_hashes(given.preset)


if __name__ == "__main__":
    main()
