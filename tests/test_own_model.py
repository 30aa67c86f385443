"""A user's own model goes from a manifest to every command that takes a model.

One process trains and calibrates on PyTorch, which starts faster; this one exports and
uses the folders.
"""

import csv
import json
import os
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_efsnet import EFSNet, predict
from keras_efsnet.cli import main
from keras_efsnet.models.presets import file_digest
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.serve.server import Server, list_contents

SIZE = (48, 64)
EACH = 5
TWO = {"cyst": "benign", "solid mass": "malignant"}
FOUR = {
    "normal": "normal",
    "cyst": "benign",
    "fibroadenoma": "benign",
    "malignant": "malignant",
}
SETS = {
    # The classes and the kind of phantom of each; whether masks and labels are known.
    "two": (TWO, True, True),
    "four": (FOUR, True, True),
    "masks": (TWO, True, False),
    "classes": (TWO, False, True),
}
SETTINGS = {"epochs": 1, "image_size": 32, "batch_size": 4, "width": 0.25}
LOOSE = ("--max-dice-loss", "1", "--min-class-agreement", "0")

pytest.importorskip("tensorflow")
pytest.importorskip("torch")


def write_set(folder: Path, kinds: dict[str, str], masks: bool, labels: bool) -> None:
    """Writes phantoms with a manifest and folds."""
    folder.mkdir()
    rows, folds = [("image", "mask", "label")], [("stem", "label", "fold", "group")]
    for label, kind in kinds.items():
        for seed in range(EACH):
            phantom, stem = make_phantom(kind, seed, SIZE), f"{label} {seed}"
            Image.fromarray(phantom.image).save(folder / f"{stem}.png")
            file, known = "", label if labels else ""
            if masks and kind != "normal":
                file = f"{stem}_mask.png"
                mask = Image.fromarray(phantom.mask.astype(np.uint8) * 255)
                mask.save(folder / file)
            rows.append((f"{stem}.png", file, known))
            folds.append((stem, known, seed, stem))
    for name, table in (("manifest.csv", rows), ("folds.csv", folds)):
        with (folder / name).open("w", newline="") as out:
            csv.writer(out).writerows(table)


def run_on_torch(commands: list[list[str]]) -> str:
    """Runs commands one after the other in a process; gives what they print."""
    code = "import json, sys; from keras_efsnet.cli import main\n"
    code += "for c in json.load(sys.stdin): assert main(c) == 0, c"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        input=json.dumps(commands),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(
    scope="module",
    params=[
        name if name == "two" else pytest.param(name, marks=pytest.mark.slow)
        for name in SETS
    ],
)
def own(request, tmp_path_factory):
    """A set's name, and its folder with `run/` and, calibrated, `own/`."""
    name = request.param
    kinds, masks, labels = SETS[name]
    folder = tmp_path_factory.mktemp("sets") / name
    write_set(folder, kinds, masks, labels)
    settings = folder / "settings.json"
    settings.write_text(json.dumps({"settings": SETTINGS}))
    train = ["train", *options(folder), "--settings", str(settings)]
    train += ["--labels", ", ".join(kinds)] if labels else []
    train += ["--skip-scan-check", "--out", str(folder / "run")]
    model = ["--model", str(folder / "run" / "best.keras"), *options(folder)]
    calibrate = ["calibrate", *model, "--out", str(folder / "own")]
    (folder / "printed.txt").write_text(run_on_torch([train, calibrate]))
    return name, folder


def options(folder):
    return [
        *("--data", str(folder / "manifest.csv")),
        *("--split", str(folder / "folds.csv")),
    ]


@pytest.fixture(scope="module")
def exported(own):
    """The set's name, its folder and its exported model."""
    name, folder = own
    words = ["export", "--model", str(folder / "own"), *options(folder)]
    words += ["--out", str(folder / "files"), "--kind", "float32", *LOOSE]
    assert main(words) == 0
    return name, folder, folder / "files"


def meaning(name):
    """The labels and the tasks of a set's model."""
    kinds, masks, labels = SETS[name]
    tasks = ["mask"] * masks + ["class"] * labels
    return list(kinds) if labels else [], tasks


def test_the_run_and_the_card_say_what_was_trained(own):
    name, folder = own
    labels, tasks = meaning(name)
    printed = (folder / "printed.txt").read_text()
    for task in ("mask", "class"):
        told = f"no truth for the {task}, so the model will not predict it" in printed
        assert told == (task not in tasks)
    facts = json.loads((folder / "run" / "settings.json").read_text())
    card = json.loads((folder / "own" / "card.json").read_text())
    for content in (facts, card):
        assert (content["labels"], content["tasks"]) == (labels, tasks)
    model = EFSNet.from_preset(folder / "run" / "best.keras")
    assert (list(model.labels), list(model.tasks)) == (labels, tasks)
    calibration = card["calibration"]
    assert (calibration["temperature"] is None) == ("class" not in tasks)
    assert (calibration["mask_threshold"] is None) == ("mask" not in tasks)
    assert (calibration["malignancy"] is None) == ("malignant" not in labels)
    assert card["postprocess"]["refer"] is not None


def test_the_folder_is_a_preset(exported):
    name, folder, files = exported
    labels, tasks = meaning(name)
    names = {path.name for path in files.iterdir()}
    wanted = {"model.keras", "model_float32.tflite", "card.json", "export.json"}
    assert names == {*wanted, "model_float32.tflite.json"}
    card = json.loads((files / "card.json").read_text())
    own = json.loads((folder / "own" / "card.json").read_text())
    for key in own:
        assert card[key] == own[key]
    assert card["images_seen"]["train"]
    for file, digest in card["sha256"].items():
        assert file_digest((files / file).read_bytes()) == digest
    assert set(card["sha256"]) == {"model.keras", "model_float32.tflite"}
    described = json.loads((files / "model_float32.tflite.json").read_text())
    assert described["class"]["labels"] == labels
    assert described["tasks"] == tasks
    lite, keras_model = (
        load_predictor(files / file) for file in ("model_float32.tflite", "model.keras")
    )
    assert lite.rules == keras_model.rules
    assert list(EFSNet.from_preset(files).labels) == labels


def test_predict_and_stream_say_what_the_model_knows(exported, tmp_path, capsys):
    name, folder, files = exported
    labels, tasks = meaning(name)
    images = [str(path) for path in sorted(folder.glob("* 1.png"))]
    words = ["predict", *images, "--model", str(files), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "no refer rule" not in printed.out
    assert ("gives no class" in printed.out) == ("class" not in tasks)
    assert ("gives no mask" in printed.out) == ("mask" not in tasks)
    records = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(records) == len(images)
    for record in records:
        assert list(record["probabilities"]) == labels
        assert (record["class"] in labels) if labels else record["class"] is None
        assert ("mask_file" in record) == ("mask" in tasks)
        assert (record["lesion_area_px"] is None) == ("mask" not in tasks)
    (found,) = predict(images[0], files)
    assert found.label == records[0]["class"]
    frames = str(folder)
    out = str(tmp_path / "frames")
    stream = ["stream", frames, "--model", str(files), "--frames", "2", "--out", out]
    assert main(stream) == 0
    assert len(list((tmp_path / "frames").glob("frame_*.png"))) == 2


def test_evaluate_has_the_metrics_of_what_the_model_knows(exported, tmp_path):
    name, folder, files = exported
    labels, tasks = meaning(name)
    words = ["evaluate", "--model", str(files), *options(folder)]
    assert main([*words, "--subset", "test", "--out", str(tmp_path)]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["seen"] == 0
    assert (metrics["class"]["accuracy"] is None) == ("class" not in tasks)
    assert (metrics["mask"]["dice"] is None) == ("mask" not in tasks)
    confusion = metrics["class"]["confusion"]
    assert [len(row) for row in confusion] == [len(labels)] * len(labels)
    for figure in ("auroc_malignant_benign", "sensitivity_at_90_specificity"):
        assert metrics["class"][figure] is None
    known = "malignant" in labels
    assert (metrics["class"]["sensitivity_malignant"] is not None) == known
    assert (metrics["class"]["specificity_malignant"] is not None) == known
    assert (metrics["mask"]["normal_false_positive_rate"] is not None) == (
        "normal" in labels
    )
    with (tmp_path / "per_image.csv").open(newline="") as file:
        columns = next(csv.reader(file))
    assert [c for c in columns if c.startswith("p_")] == [f"p_{x}" for x in labels]
    assert (tmp_path / "confusion.png").exists() == ("class" in tasks)
    assert (tmp_path / "dice_histogram.png").exists() == ("mask" in tasks)
    report = [str(folder / "run"), str(tmp_path)]
    assert main(["report", *report, "--out", str(tmp_path / "report.html")]) == 0


def test_info_and_benchmark_take_the_folder(exported, capsys):
    _, _, files = exported
    assert main(["info", str(files)]) == 0
    assert "model_float32.tflite" in capsys.readouterr().out
    assert main(["benchmark", str(files)]) == 0


def test_the_server_offers_the_model_and_its_labels(exported):
    name, folder, files = exported
    labels, tasks = meaning(name)
    with Server(0, list_contents(str(files))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        with urllib.request.urlopen(f"{server.url}model/card.json") as answer:
            card = json.load(answer)
        with urllib.request.urlopen(f"{server.url}model/model.tflite") as answer:
            content = answer.read()
        server.shutdown()
    assert (card["labels"], card["tasks"]) == (labels, tasks)
    assert content == (files / "model_float32.tflite").read_bytes()


def test_another_models_folder_is_not_written_over(exported, capsys):
    name, folder, files = exported
    before = {path: path.read_bytes() for path in files.iterdir()}
    data = options(folder)
    run = folder / "run"
    words = ["export", *data, "--kind", "float32", *LOOSE, "--model"]
    assert main([*words, str(run / "last.keras"), "--out", str(files)]) == 2
    assert "holds model.keras of other weights" in capsys.readouterr().err
    assert main([*words, str(run / "best.keras"), "--out", str(run)]) == 2
    assert "for which its new card.json would count too" in capsys.readouterr().err
    words = ["calibrate", *data, "--model", str(run / "best.keras"), "--out"]
    for out in (files, folder / "own", run):
        assert main([*words, str(out)]) == 2
    assert before == {path: path.read_bytes() for path in files.iterdir()}
