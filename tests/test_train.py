import csv
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

from keras_efsnet import EFSNet
from keras_efsnet.files import write_whole
from keras_efsnet.images.reading import read_image
from keras_efsnet.models.saving import save_model
from keras_efsnet.phantoms import write_phantoms
from keras_efsnet.training import pipeline
from keras_efsnet.training.datasets.reading import read_dataset
from keras_efsnet.training.datasets.sample import Sample
from keras_efsnet.training.networks import build_model, describe_network
from keras_efsnet.training.run_images import find_tasks, load_split
from keras_efsnet.training.settings import (
    EARLIER_RUN,
    TrainSettings,
    read_settings,
)
from keras_efsnet.training.state import TrainingState
from keras_efsnet.training.train import train

SETTINGS = TrainSettings(
    data="phantom",
    phantoms=4,
    epochs=3,
    image_size=16,
    batch_size=4,
    width=0.5,
    warmup_epochs=1,
    deep_supervision=0.5,
)


BACKENDS = [
    "torch",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("tensorflow", "jax")),
]


def start(backend, out, *options):
    """Starts `efsnet train` as a process of its own."""
    command = [sys.executable, "-m", "keras_efsnet", "train", "--out", str(out)]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    return subprocess.Popen(
        [*command, *options], env=environment, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    try:
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()  # one that takes too long is not left behind
    assert process.returncode == 0, errors


WHOLE_AND_RESUMED = """
import shutil, sys
from pathlib import Path
import keras
from keras_efsnet.cli import main
from keras_efsnet.training.settings import TrainSettings, read_settings
from keras_efsnet.training.train import train

settings, whole, resumed = map(Path, sys.argv[1:])
settings = TrainSettings.from_json(read_settings(settings))

class CopyAfterOneEpoch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            shutil.copytree(whole, resumed)

train(settings, whole, callbacks=[CopyAfterOneEpoch()])
assert main(["train", "--resume", "--out", str(resumed)]) == 0
"""


@pytest.fixture(scope="module", params=BACKENDS)
def finished(request, tmp_path_factory):
    """The folder of an uninterrupted run, named after its backend.

    Beside it is `resumed`, the same run gone on with from its first epoch.
    """
    folder = tmp_path_factory.mktemp("runs")
    settings, out = folder / "settings.json", folder / request.param
    settings.write_text(json.dumps({"settings": SETTINGS.to_json()}))
    done = subprocess.run(
        [sys.executable, "-c", WHOLE_AND_RESUMED, settings, out, folder / "resumed"],
        env={**os.environ, "KERAS_BACKEND": request.param},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return out


def arrays(run):
    with np.load(run / "state.npz") as state:
        return {name: state[name] for name in state if name != "facts"}


def log_rows(run):
    with (run / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_run_folder(finished):
    names = {path.name for path in finished.iterdir()}
    models = {"best.keras", "last.keras"}
    assert {"settings.json", "log.csv", "state.npz", *models} <= names
    assert not any(".part" in name for name in names)
    facts = json.loads((finished / "settings.json").read_text())
    assert TrainSettings.from_json(facts["settings"]) == SETTINGS
    assert len(facts["split_digest"]) == 64
    assert facts["versions"]["keras"] == keras.__version__
    assert [row["epoch"] for row in log_rows(finished)] == ["0", "1", "2"]


def test_best_model_holds_the_averaged_weights_of_the_best_epoch(finished):
    with np.load(finished / "state.npz") as state:
        facts = json.loads(state["facts"].tobytes())
    best = max(float(row["val_mask_dice"]) for row in log_rows(finished))
    assert facts["best"] == pytest.approx(best)
    assert EFSNet.from_preset(finished / "best.keras").width == SETTINGS.width


def assert_same_run(found, expected):
    arrays_found, arrays_expected = arrays(found), arrays(expected)
    assert arrays_found.keys() == arrays_expected.keys()
    for name, array in arrays_expected.items():
        np.testing.assert_array_equal(arrays_found[name], array, err_msg=name)
    assert log_rows(found) == log_rows(expected)
    for name in ("best.keras", "last.keras"):
        weights_found, weights_expected = (
            weights(found / name),
            weights(expected / name),
        )
        assert weights_found.keys() == weights_expected.keys() and weights_found
        for path, array in weights_expected.items():
            np.testing.assert_array_equal(weights_found[path], array, err_msg=path)


def weights(file):
    """The arrays of a .keras file by their path: faster than building its network."""
    arrays = {}

    def add(path, item):
        if isinstance(item, h5py.Dataset):
            arrays[path] = item[()]

    with (
        zipfile.ZipFile(file) as archive,
        archive.open("model.weights.h5") as content,
        h5py.File(content) as stored,
    ):
        stored.visititems(add)
    return arrays


def test_a_stopped_run_resumes_to_the_same_weights(finished):
    assert_same_run(finished.with_name("resumed"), finished)


@pytest.mark.slow
def test_killed_process_resumes_to_the_same_weights(finished, tmp_path):
    out = tmp_path / "run"
    settings = ("--settings", str(finished / "settings.json"))
    process = start(finished.name, out, *settings)
    deadline = time.monotonic() + 200
    while not (out / "state.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    with np.load(out / "state.npz") as state:
        assert json.loads(state["facts"].tobytes())["epochs_done"] < SETTINGS.epochs
    finish(start(finished.name, out, "--resume"))
    assert_same_run(out, finished)


def test_model_trained_in_mixed_precision_is_saved_as_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = EFSNet((16, 16, 1), width=0.5)
    finally:
        keras.config.set_dtype_policy("float32")
    save_model(model, tmp_path / "m.keras")
    saved = keras.saving.load_model(tmp_path / "m.keras")
    assert {layer.compute_dtype for layer in saved.layers} == {"float32"}
    for old, new in zip(model.get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_settings_repeat_a_run(finished):
    stored = read_settings(finished / "settings.json")
    assert TrainSettings.from_json(stored) == SETTINGS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 30}, "multiple of 8, got 30; the next valid one is 32"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"data": "somewhere", "split": ()}, "split is missing"),
        ({"phantoms": 1}, "phantoms must be at least 2"),
        ({"lerning_rate": 1}, "unknown setting lerning_rate"),
        ({"augmentation": {"flip": 1}}, "unknown setting flip"),
    ],
)
def test_wrong_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings.from_json({**SETTINGS.to_json(), **changes})


def test_a_run_is_not_overwritten(finished):
    with pytest.raises(ValueError, match="holds a run already; go on with --resume"):
        train(SETTINGS, finished)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(ValueError, match="no run to resume"):
        train(SETTINGS, tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_resume_with_other_settings_is_refused(finished):
    with pytest.raises(ValueError, match="the run has other settings"):
        train(replace(SETTINGS, learning_rate=1.0), finished, resume=True)


@pytest.mark.parametrize("content", ["{", "[]", '{"epochs": 1}'])
def test_file_without_settings(tmp_path, content):
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(ValueError, match=r"s\.json: must be a JSON file with"):
        read_settings(tmp_path / "s.json")


def test_class_weight_rises_to_its_full_value():
    settings = TrainSettings(
        data="d",
        split=("s.csv",),
        epochs=10,
        class_loss_weight=0.5,
        class_loss_start=0.4,
    )
    weights = [settings.class_loss_weight_at(epoch) for epoch in range(10)]
    assert weights[:4] == pytest.approx([0.125, 0.25, 0.375, 0.5])
    assert weights[4:] == [0.5] * 6


def test_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")

    def fail(part):
        part.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(file, fail)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


class Stopped(Exception):
    """A run that was stopped before its first epoch."""


@pytest.fixture
def stop_early(monkeypatch):
    def stop(*arguments):
        raise Stopped

    monkeypatch.setattr(pipeline, "load_cache", stop)


def write_folds(samples, path, shift=0):
    lines = ["stem,label,fold"]
    lines += [f"{s.stem},{s.label},{(i + shift) % 5}" for i, s in enumerate(samples)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with four phantoms of each class."""
    return write_phantoms(tmp_path_factory.mktemp("phantoms") / "data", 4, seed=0)


@pytest.fixture
def on_folds(data, tmp_path):
    """Settings of a run on a dataset of its own with a folds file."""
    data = shutil.copytree(data, tmp_path / "data")
    folds = write_folds(read_dataset(data), tmp_path / "folds.csv")
    return replace(SETTINGS, data=str(data), split=(str(folds),), phantoms=0)


def test_a_changed_split_is_not_resumed(on_folds, tmp_path, stop_early):
    out = tmp_path / "run"
    with pytest.raises(Stopped):
        train(on_folds, out)
    with pytest.raises(Stopped):
        train(on_folds, out, resume=True)
    write_folds(read_dataset(on_folds.data[0]), tmp_path / "folds.csv", shift=1)
    with pytest.raises(ValueError, match=r"settings\.json: the run has another split"):
        train(on_folds, out, resume=True)


def test_changed_images_masks_and_classes_are_another_state(on_folds):
    samples = [s for s in read_dataset(on_folds.data[0]) if s.label == "benign"]
    caches = [pipeline.load_cache(samples, 16)]
    Image.fromarray(255 - read_image(samples[0].image)).save(samples[0].image)
    caches.append(pipeline.load_cache(samples, 16))
    height, width = read_image(samples[1].image).shape
    Image.new("1", (width, height)).save(samples[1].masks[0])
    caches.append(pipeline.load_cache(samples, 16))
    samples[2] = replace(samples[2], label="malignant")
    caches.append(pipeline.load_cache(samples, 16))
    assert len({cache.digest() for cache in caches}) == 4
    assert pipeline.load_cache(samples, 16).digest() == caches[-1].digest()


def test_a_state_of_other_data_is_not_restored(tmp_path):
    image = keras.Input((1,))
    model = keras.Model(image, keras.layers.Dense(1)(image))
    model.compile("sgd")
    path = tmp_path / "state.npz"
    TrainingState(model, path, "a").save(1, 0.5)
    assert TrainingState(model, path, "a").restore() == (1, 0.5)
    with pytest.raises(ValueError, match=r"state\.npz: the run's images, masks or cl"):
        TrainingState(model, path, "b").restore()


@pytest.mark.slow
def test_a_run_on_changed_images_is_not_resumed(on_folds, tmp_path):
    out = tmp_path / "run"
    settings = replace(on_folds, epochs=1)
    train(settings, out, check_leaks=False)
    train(settings, out, resume=True)
    image = read_dataset(settings.data[0])[2].image
    Image.fromarray(255 - read_image(image)).save(image)
    with pytest.raises(ValueError, match=r"state\.npz: the run's images, masks or cl"):
        train(settings, out, resume=True)


def test_the_global_dtype_policy_stays(on_folds, tmp_path, stop_early):
    with pytest.raises(Stopped):
        train(replace(on_folds, dtype_policy="mixed_bfloat16"), tmp_path / "run")
    assert keras.config.dtype_policy().name == "float32"


@pytest.fixture(scope="module")
def start_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("start") / "start.keras"
    EFSNet((16, 16, 1), width=0.5, dropout=0.0).save(path)
    return str(path)


def test_a_run_notes_the_networks_own_settings(
    on_folds, tmp_path, stop_early, start_file
):
    settings = replace(on_folds, init=start_file, width=None)
    with pytest.raises(Stopped):
        train(settings, tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert facts["network"] == {"width": 0.5, "dropout": 0.0, "class_dropout": 0.3}


@pytest.mark.parametrize(
    ("name", "value"), [("width", 1.0), ("dropout", 0.1), ("class_dropout", 0.5)]
)
def test_settings_that_are_not_those_of_the_start_are_refused(
    on_folds, tmp_path, stop_early, start_file, name, value
):
    settings = replace(on_folds, init=start_file, **{name: value})
    with pytest.raises(ValueError, match=f"^{name} is {value:g} in the settings, and"):
        train(settings, tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize("name", ["init", "teacher"])
def test_what_a_card_does_not_hold_must_be_given(name):
    stored = {**SETTINGS.to_json(), name: EARLIER_RUN}
    with pytest.raises(ValueError, match=f"{name} is a file of an earlier run"):
        TrainSettings.from_json(stored)
    assert TrainSettings.from_json({**stored, name: "a.keras"})


@pytest.mark.parametrize(
    ("digest", "message"),
    [
        ("0", r"t\.pt: the teacher was trained on another split"),
        (None, "image_size must be a multiple of the teacher's, 128, got 16; use 128"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(
    on_folds, tmp_path, monkeypatch, digest, message
):
    class Other:
        size = 128
        split_digest = digest or load_split(on_folds, tmp_path).digest

        def __init__(self, file):
            pass

    monkeypatch.setattr("keras_efsnet.training.teacher.Teacher", Other)
    with pytest.raises(ValueError, match=message):
        train(replace(on_folds, teacher="t.pt"), tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


def test_a_run_of_another_network_notes_its_settings():
    settings = TrainSettings(data="d", split=("s.csv",), model="unet", width=0.25)
    found = describe_network(keras.Model(), settings)
    assert found == {"width": 0.25, "class_dropout": 0.3}


def test_a_start_that_saw_held_out_images_is_told(
    on_folds, tmp_path, stop_early, caplog
):
    first = tmp_path / "first"
    with pytest.raises(Stopped):
        train(on_folds, first)
    seen = json.loads((first / "images.json").read_text())
    assert [len(seen[name]) for name in ("train", "validation")] == [6, 3]
    EFSNet((16, 16, 1), width=0.5).save(first / "best.keras")
    same = replace(on_folds, init=str(first / "best.keras"))
    with pytest.raises(Stopped):
        train(same, tmp_path / "same")
    assert "was trained on" not in caplog.text
    with pytest.raises(Stopped):
        train(replace(same, fold=2), tmp_path / "other")
    assert "was trained on 4 of the validation and test images" in caplog.text
    both = json.loads((tmp_path / "other" / "images.json").read_text())
    assert set(seen["train"]) < set(both["train"])


def sample(label, *masks):
    return Sample("a", label, Path("a.png"), tuple(map(Path, masks)))


@pytest.mark.parametrize(
    ("samples", "tasks"),
    [
        ([sample("benign", "m.png"), sample("malignant")], ("mask", "class")),
        ([sample(None, "m.png"), sample(None)], ("mask",)),
        # One class alone would be the answer to every image.
        ([sample("normal"), sample(None, "m.png")], ("mask",)),
        ([sample("cyst"), sample("solid"), sample(None)], ("class",)),
    ],
)
def test_what_is_known_is_trained(on_folds, samples, tasks):
    assert find_tasks(samples, on_folds) == tasks
    assert find_tasks(samples, replace(on_folds, phantoms=2)) == ("mask", "class")


def test_images_without_any_truth_are_refused(on_folds):
    with pytest.raises(
        ValueError, match="no training image has a mask, and fewer than"
    ):
        find_tasks([sample("benign"), sample(None)], on_folds)
    named = replace(on_folds, labels=("cyst", "solid"))
    with pytest.raises(ValueError, match="labels are cyst, solid, but the training im"):
        find_tasks([sample(None, "m.png")], named)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"labels": ("cyst", "solid")},
            "its label is 'normal', but the model's are cyst",
        ),
        ({"labels": ("cyst", "cyst")}, "'cyst' and 'cyst' are one name"),
        ({"labels": ("a", "b"), "model": "unet"}, "labels are saved with EFSNet alone"),
        (
            {"labels": ("normal", "benign", "malignant", "cyst"), "teacher": "t.pt"},
            "t.pt",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused(on_folds, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train(replace(on_folds, deep_supervision=0, **changes), tmp_path / "run")
    assert not (tmp_path / "run" / "settings.json").exists()


def test_the_start_gives_its_labels(on_folds, tmp_path):
    file = tmp_path / "start.keras"
    EFSNet((16, 16, 1), width=0.5, labels=("cyst", "solid")).save(file)
    settings = replace(on_folds, init=str(file), width=None)
    assert build_model(settings).labels == ("cyst", "solid")
    assert build_model(replace(settings, labels=("a", "b"))).labels == ("a", "b")
    with pytest.raises(ValueError, match="a truth for the mask alone, which only EFSN"):
        build_model(replace(on_folds, model="unet", deep_supervision=0), ("mask",))


@pytest.mark.slow
def test_a_start_whose_labels_do_not_fit_gets_other_ones(
    on_folds, tmp_path, start_file
):
    settings = replace(on_folds, init=start_file, width=None)
    assert build_model(settings, ("mask",)).labels == ()
    file = tmp_path / "start.keras"
    EFSNet((16, 16, 1), width=0.5, num_classes=5).save(file)
    found = build_model(replace(settings, init=str(file)))
    assert found.labels == ("normal", "benign", "malignant")


def test_labels_are_settings():
    settings = replace(SETTINGS, labels=("cyst", "solid"))
    stored = json.loads(json.dumps(settings.to_json()))
    assert TrainSettings.from_json(stored) == settings
    assert TrainSettings.from_json({"data": "phantom", "phantoms": 2}).labels == ()
