"""Each step gets the subset that its documentation names, and no other."""

import json
import shutil
from pathlib import Path

import pytest

from keras_efsnet import EFSNet
from keras_efsnet.cli import main
from keras_efsnet.phantoms import write_phantoms
from keras_efsnet.tflite import convert as converting
from keras_efsnet.tflite import export as exporting
from keras_efsnet.training import calibrate as calibrating
from keras_efsnet.training import evaluate as evaluating
from keras_efsnet.training.datasets.reading import read_dataset
from keras_efsnet.training.seen import count_seen, hash_images, read_seen

CLASSES = ("normal", "benign", "malignant")
FOLDS = {"test": 0, "validation": 1, "train": 2}


class Reached(Exception):
    """The step that is looked at has its images."""


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Options of a model, a dataset and its split: one image of a class a subset."""
    folder = tmp_path_factory.mktemp("split")
    EFSNet((32, 32, 1), width=0.25).save(folder / "m.keras")
    data = write_phantoms(folder / "phantoms", 3, seed=0)
    rows = [f"{c} ({n + 1}),{c},{n}" for c in CLASSES for n in FOLDS.values()]
    (folder / "folds.csv").write_text("\n".join(["stem,label,fold", *rows]) + "\n")
    given = {"model": folder / "m.keras", "data": data, "split": folder / "folds.csv"}
    return [part for name, value in given.items() for part in (f"--{name}", str(value))]


def subset_of(samples):
    """The one subset that the samples are."""
    numbers = {int(sample.stem.split("(")[1].rstrip(")")) - 1 for sample in samples}
    assert len(samples) == len(CLASSES) * len(numbers)
    (number,) = numbers
    return next(name for name, fold in FOLDS.items() if fold == number)


def spy(monkeypatch, module, name, place, stop):
    """Records the subset that a function gets as its argument number `place`."""
    real, seen = getattr(module, name), []

    def watch(*arguments, **named):
        seen.append(subset_of(arguments[place]))
        if stop:
            raise Reached
        return real(*arguments, **named)

    monkeypatch.setattr(module, name, watch)
    return seen


def test_calibration_is_fitted_on_validation_images(
    options, tmp_path, monkeypatch, capsys
):
    fitted = spy(monkeypatch, calibrating, "run_network", 1, stop=False)
    looks = spy(monkeypatch, calibrating, "_by_source", 0, stop=False)
    assert main(["calibrate", *options, "--out", str(tmp_path / "preset")]) == 0
    assert fitted == ["validation"]
    assert looks == ["train", "validation"]
    text = capsys.readouterr().out
    for name in ("temperature", "Dice, all images", "P(malignant) that refers"):
        assert name in text


def calibrate(*words):
    """Runs the command up to its first look at the images."""
    with pytest.raises(Reached):
        main(["calibrate", *words])


@pytest.mark.parametrize(
    ("fold", "subsets"),
    [([], ["validation", "train"]), (["--fold", "1"], ["train", "test"])],
)
def test_calibration_takes_the_subsets_of_its_fold(
    options, tmp_path, monkeypatch, fold, subsets
):
    seen = []

    def watch(model, validation, training):
        seen.extend([subset_of(validation), subset_of(training)])
        raise Reached

    monkeypatch.setattr(calibrating, "calibrate", watch)
    calibrate(*options, "--out", str(tmp_path / "preset"), *fold)
    assert seen == subsets


def test_calibration_refuses_images_that_trained_the_model(
    options, tmp_path, monkeypatch, capsys
):
    model = Path(options[1])
    held_out = [s for s in read_dataset(options[3]) if "(2)" in s.stem]
    facts = {"train": hash_images(held_out), "validation": []}
    command = ["calibrate", *options, "--out", str(tmp_path / "preset")]
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(model, folder / "m.keras")
    (folder / "images.json").write_text(json.dumps(facts))
    command[command.index(str(model))] = str(folder / "m.keras")
    assert main(command) == 2
    assert "on 3 of the 3 validation images" in capsys.readouterr().err
    spy(monkeypatch, calibrating, "calibrate", 1, stop=True)
    calibrate(*command[1:], "--allow-seen")
    # Those that chose the epoch may be used.
    facts = {"train": [], "validation": facts["train"]}
    (folder / "images.json").write_text(json.dumps(facts))
    calibrate(*command[1:])


def trained_elsewhere(options, folder, number, **facts):
    """The options with a copy of the model that has seen the images of a number."""
    held_out = [s for s in read_dataset(options[3]) if f"({number})" in s.stem]
    shutil.copy(options[1], folder / "m.keras")
    seen = {name: hash_images(held_out) if of else [] for name, of in facts.items()}
    (folder / "images.json").write_text(json.dumps(seen))
    return ["--model", str(folder / "m.keras"), *options[2:]]


@pytest.mark.parametrize("command", ["calibrate", "export"])
def test_training_images_that_the_model_was_validated_on_are_refused(
    options, tmp_path, command, capsys
):
    options = trained_elsewhere(options, tmp_path, 3, train=False, validation=True)
    assert main([command, *options, "--out", str(tmp_path / "preset")]) == 2
    assert "on 3 of the 3 train images" in capsys.readouterr().err


def test_calibration_records_the_images_that_it_was_fitted_on(options, tmp_path):
    options = trained_elsewhere(options, tmp_path, 9, train=True, validation=True)
    preset = tmp_path / "preset"
    assert main(["calibrate", *options, "--out", str(preset)]) == 0
    images = read_dataset(options[3])
    for number, subset in enumerate(FOLDS, start=1):
        used = [image for image in images if f"({number})" in image.stem]
        seen = count_seen(read_seen(preset), used, "another")
        assert seen == (0 if subset == "test" else 3)


def test_int8_is_calibrated_on_training_images(options, tmp_path, monkeypatch):
    seen = spy(monkeypatch, exporting, "representative_images", 0, stop=True)
    with pytest.raises(Reached):
        main(["export", *options, "--out", str(tmp_path), "--kind", "int8"])
    assert seen == ["train"]


def test_files_are_compared_on_validation_images(
    options, tmp_path, monkeypatch, make_lite
):
    monkeypatch.setattr(converting, "convert", lambda *_: make_lite())
    seen = spy(monkeypatch, exporting, "verify", 2, stop=True)
    with pytest.raises(Reached):
        main(["export", *options, "--out", str(tmp_path), "--kind", "float32"])
    assert seen == ["validation"]


@pytest.mark.parametrize("subset", FOLDS)
def test_evaluate_takes_the_subset_that_it_is_given(
    options, tmp_path, monkeypatch, stub_network, subset
):
    seen = spy(monkeypatch, evaluating, "run_network", 1, stop=False)
    # It runs some of these images again.
    monkeypatch.setattr(evaluating, "_show_cases", lambda *_: {})
    out = tmp_path / subset
    assert main(["evaluate", *options, "--subset", subset, "--out", str(out)]) == 0
    assert seen == [subset]
    facts = json.loads(Path(out, "metrics.json").read_text())
    assert facts["subset"] == subset
