"""Trains with one change of the recipe at a time and prints validation metrics.

    python benchmarks/experiments.py --data DIR --split FOLDS.csv --out RUNS [NAME ...]

`experiments.json` lists the runs. Each starts from weights in `starts`, trained on
phantoms, and changes the settings in `base`. `share` is the fraction of training scans
that a run uses. Finished runs in RUNS are not repeated; stopped runs are resumed. The
metrics are those of the best epoch's averaged weights on the validation fold.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_efsnet.training.datasets.splits import UNUSED

RECIPES = Path(__file__).with_name("experiments.json")

COLUMNS = {
    "tumour Dice": ("mask", "dice_tumour"),
    "Dice": ("mask", "dice"),
    "IoU batch 8": ("mask", "iou_batch8"),
    "false masks": ("mask", "normal_false_positive_rate"),
    "accuracy": ("class", "accuracy"),
    "AUROC": ("class", "auroc_macro"),
}


def efsnet(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "keras_efsnet", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=sys.stderr)


def train(run: Path, settings: Mapping[str, Any]) -> Path:
    """Starts or resumes a run with these settings; gives its best model."""
    run.mkdir(parents=True, exist_ok=True)
    log = run / "log.csv"
    epochs = max(len(log.read_text().splitlines()) - 1, 0) if log.exists() else 0
    if not epochs:
        given = run / "given.json"
        given.write_text(json.dumps({"settings": settings}, indent=2))
        efsnet("train", "--out", run, "--settings", given)
    elif epochs < settings["epochs"]:
        efsnet("train", "--out", run, "--resume")
    return run / "best.keras"


def thin(folds: Path, share: float, to: Path) -> Path:
    """Writes folds for test fold 0 that keep only a share of the training scans."""
    with folds.open(newline="") as file:
        rows = list(csv.DictReader(file))
    training = [row for row in rows if row["fold"] not in {"0", "1", str(UNUSED)}]
    scans = sorted({row["group"] for row in training})
    kept = np.random.default_rng(0).permutation(scans)[: round(share * len(scans))]
    for row in training:
        if row["group"] not in kept:
            row["fold"] = str(UNUSED)
    with to.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return to


def measure(run: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Gives the run's metrics on the validation fold."""
    results = run / "validation"
    if not (results / "metrics.json").exists():
        where = ["--data", options.data, "--split", options.split, "--out", results]
        model = ["--model", run / "best.keras", "--subset", "validation"]
        efsnet("evaluate", *where, *model)
    metrics: dict[str, Any] = json.loads((results / "metrics.json").read_text())
    return metrics


def print_header(first: str) -> None:
    print(f"| {first} |", " | ".join(COLUMNS), "|")
    print("|---" * (1 + len(COLUMNS)) + "|")


def print_row(name: str, metrics: Mapping[str, Any]) -> None:
    figures = [f"{metrics[part][key]:.3f}" for part, key in COLUMNS.values()]
    print(f"| {name} |", " | ".join(figures), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="runs; all if none is given")
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    recipes = json.loads(RECIPES.read_text())

    print_header("run")
    for name in options.names or recipes["experiments"]:
        run = options.out / name
        if not (run / "validation" / "metrics.json").exists():
            changes = dict(recipes["experiments"][name])
            kind = changes.pop("start", "start")
            if "init" not in changes:
                start = train(options.out / kind, recipes["starts"][kind])
                changes["init"] = str(start)
            split = options.split
            if "share" in changes:
                run.mkdir(parents=True, exist_ok=True)
                split = thin(split, changes.pop("share"), run / "folds.csv")
            where = {"data": options.data, "split": [str(split)]}
            train(run, {**recipes["base"], **where, **changes})
        print_row(name, measure(run, options))


if __name__ == "__main__":
    main()
