"""What is shipped: weights, cards, and that they say what the card says."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from keras_efsnet import training
from keras_efsnet.labels import LABELS
from keras_efsnet.models.presets import DEFAULT_MODEL, KINDS, PRESETS, preset_names
from keras_efsnet.prediction.demo import run_demo
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.tflite.interchange import ExportedModel
from keras_efsnet.tflite.verify import DEFAULT_LIMITS, verify
from keras_efsnet.training.datasets.reading import read_datasets
from keras_efsnet.training.datasets.splits import read_split
from keras_efsnet.training.evaluate import evaluate
from keras_efsnet.training.settings import (
    EARLIER_RUN,
    TrainSettings,
    read_settings,
)

SPLITS = Path(training.__file__).parent / "splits"
FOLDERS = {"busi": "BUSI_DIR", "busbra": "BUSBRA_DIR"}


@pytest.fixture(params=preset_names())
def preset(request):
    return PRESETS / request.param


@pytest.fixture
def kinds(preset):
    """The default preset is whole; `efsnet export` makes the other files of others."""
    return KINDS if preset.name == DEFAULT_MODEL else ("int8",)


@pytest.fixture
def card(preset):
    return json.loads((preset / "card.json").read_text())


@pytest.fixture
def split(card):
    names = [FOLDERS[source] for source in card["datasets"]]
    for name in names:
        if name not in os.environ:
            pytest.skip(f"{name} is not set: the dataset is not part of the package")
    samples = read_datasets([os.environ[name] for name in names])
    return read_split(samples, [SPLITS / name for name in card["settings"]["split"]])


def test_there_is_a_preset():
    assert {"efsnet_base_breast", "efsnet_base_busi"} <= set(preset_names())
    assert DEFAULT_MODEL == "efsnet_base_breast"


def test_hashes_in_the_card_are_those_of_the_files(preset, card, kinds):
    files = {"model.keras", *(f"model_{kind}.tflite" for kind in kinds)}
    if preset.name == DEFAULT_MODEL:
        files.add("model.onnx")
    assert card["sha256"].keys() == files
    for name, digest in card["sha256"].items():
        assert hashlib.sha256((preset / name).read_bytes()).hexdigest() == digest


def test_card_repeats_the_run(preset):
    stored = read_settings(preset / "card.json")
    given = dict.fromkeys(
        (name for name, value in stored.items() if value == EARLIER_RUN), "given"
    )
    settings = TrainSettings.from_json({**stored, **given})
    assert settings.image_size == 256
    assert not any("/" in file for file in (settings.data, *settings.split))


def test_files_of_all_kinds_agree(preset, kinds):
    from keras_efsnet.phantoms import make_phantom

    image = make_phantom("benign", seed=3, size=(256, 256)).image
    frame = image[None, :, :, None].astype("float32")
    reference = load_predictor(preset / "model.keras")(frame)
    for kind in kinds:
        found = load_predictor(preset.name, kind=kind)(frame)
        if kind != "int8":  # whose border pixels may turn
            for name in ("mask", "class"):
                limit = 1e-4 if kind == "float32" else 0.5
                np.testing.assert_allclose(found[name], reference[name], 0, limit)
        assert np.argmax(found["class"]) == np.argmax(reference["class"]), kind
        cuts = [outputs["mask"] > 0.5 for outputs in (reference, found)]
        shared = (
            2 * np.sum(cuts[0] & cuts[1]) / max(np.sum(cuts[0]) + np.sum(cuts[1]), 1)
        )
        assert shared > 0.95, kind


@pytest.mark.busi
@pytest.mark.slow
def test_files_pass_verification_on_validation_images(preset, kinds, split):
    """Every shipped file says what Keras says, of images that the model is for."""
    reference = load_predictor(preset / "model.keras")
    files = {kind: load_predictor(preset.name, kind=kind) for kind in kinds}
    if preset.name == DEFAULT_MODEL:
        files["onnx"] = ExportedModel(preset / "model.onnx")
    results = verify(reference, files, split.validation, limits=DEFAULT_LIMITS)
    failures = {kind: result.failures for kind, result in results.items()}
    assert failures == dict.fromkeys(files, ())
    for kind in files.keys() & {"float32", "onnx"}:
        assert max(results[kind].mask_worst, results[kind].class_worst) < 1e-4


def test_demo_phantoms_are_segmented_and_classified(tmp_path):
    results = run_demo(tmp_path, load_predictor(DEFAULT_MODEL), DEFAULT_MODEL)
    assert [result.label for result in results] == list(LABELS)
    assert [result.prediction.label for result in results] == list(LABELS)
    assert all(result.dice > 0.7 for result in results)


@pytest.mark.busi
@pytest.mark.parametrize(
    "preset",
    [
        name if name == DEFAULT_MODEL else pytest.param(name, marks=pytest.mark.slow)
        for name in preset_names()
    ],
    indirect=True,
)
def test_evaluation_gives_the_figures_of_the_card(preset, card, split, tmp_path):
    assert split.digest == card["split_digest"]
    metrics = evaluate(
        load_predictor(preset.name),
        split.validation,
        split_digest=split.digest,
        split_name=card["settings"]["split"][0],
        subset="validation",
        model_name=preset.name,
        protocol=split.protocol,
        out=tmp_path,
    )
    expected = card["metrics"]["validation"]
    for output in ("mask", "class"):
        for name, value in expected[output].items():
            if isinstance(value, float):
                assert metrics[output][name] == pytest.approx(value, abs=2e-3), name
