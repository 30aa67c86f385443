"""Writes a run, an evaluation of phantoms with two sources, and their report.

Args: the folder.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np

from keras_efsnet.cli import main
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import write_phantoms
from keras_efsnet.training.learning_curves import PANELS

IMAGES = 16
SOURCES = ("clinic <b>&amp; daughters", "a hospital with a name that is long")

folder = Path(sys.argv[1])
data, run, evaluation = (folder / name for name in ("data", "run", "evaluation"))

write_phantoms(data, IMAGES, seed=0)
with (data / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
    table = csv.writer(file)
    table.writerow(("image", "masks", "label", "patient", "source"))
    for label in LABELS:
        for number in range(1, IMAGES + 1):
            name = f"{label}/{label} ({number})"
            mask = "" if label == "normal" else f"{name}_mask.png"
            patient = f"{label} {number // 2}"
            row = (f"{name}.png", mask, label, patient, SOURCES[number // 2 % 2])
            table.writerow(row)
words = ["evaluate", "--data", str(data / "manifest.csv"), "--split", "none"]
assert main([*words, "--out", str(evaluation)]) == 0

run.mkdir()
settings = {"settings": {"data": ["a/very/long/path" * 9], "epochs": 20}, "seed": 0}
(run / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
columns = [f"{part}{name}" for name in PANELS.values() for part in ("", "val_")]
values = np.random.default_rng(0).uniform(size=(20, len(columns))).round(3)
with (run / "log.csv").open("w", newline="", encoding="utf-8") as file:
    table = csv.writer(file)
    table.writerow(("epoch", *columns))
    table.writerows((epoch, *row) for epoch, row in enumerate(values))
files = [str(run), str(evaluation)]
assert main(["report", *files, "--out", str(folder / "report.html")]) == 0
