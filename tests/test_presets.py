"""What is shipped: weights, cards, and that they say what the card says."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keras_efsnet import training
from keras_efsnet.labels import LABELS
from keras_efsnet.models.presets import KINDS, PRESETS, preset_names
from keras_efsnet.phantoms import write_phantoms
from keras_efsnet.prediction.demo import run_demo
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.tflite.verify import DEFAULT_LIMITS, verify
from keras_efsnet.training.datasets.reading import read_dataset
from keras_efsnet.training.datasets.splits import read_split
from keras_efsnet.training.evaluate import evaluate, run_network
from keras_efsnet.training.settings import TrainSettings, read_settings

SPLIT = Path(training.__file__).parent / "splits" / "busi_grouped_folds.csv"


@pytest.fixture(params=preset_names())
def preset(request):
    return PRESETS / request.param


@pytest.fixture
def card(preset):
    return json.loads((preset / "card.json").read_text())


@pytest.fixture(scope="module")
def split():
    folder = os.environ.get("BUSI_DIR")
    if not folder:
        pytest.skip("BUSI_DIR is not set: the dataset is not part of the package")
    return read_split(read_dataset(folder), [SPLIT])


def test_there_is_a_preset():
    assert "efsnet_base_busi" in preset_names()


def test_hashes_in_the_card_are_those_of_the_files(preset, card):
    files = {"model.keras", *(f"model_{kind}.tflite" for kind in KINDS)}
    assert card["sha256"].keys() == files
    for name, digest in card["sha256"].items():
        assert hashlib.sha256((preset / name).read_bytes()).hexdigest() == digest


def test_card_repeats_the_run(preset):
    settings = TrainSettings.from_json(read_settings(preset / "card.json"))
    assert settings.image_size == 256
    assert not any("/" in file for file in (settings.data, *settings.split))


def test_files_of_all_kinds_agree(preset):
    from keras_efsnet.phantoms import make_phantom

    image = make_phantom("benign", seed=3, size=(256, 256)).image
    frame = image[None, :, :, None].astype("float32")
    reference = load_predictor(preset / "model.keras")(frame)
    for kind in KINDS:
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


def assert_verified(preset, samples, limits=DEFAULT_LIMITS):
    """Every shipped file keeps what the Keras model says, within the limits."""
    reference = load_predictor(preset / "model.keras")
    files = {kind: load_predictor(preset.name, kind=kind) for kind in KINDS}
    results = verify(reference, files, samples, limits=limits)
    assert {kind: result.failures for kind, result in results.items()} == {
        kind: () for kind in KINDS
    }
    exact = results["float32"]
    assert max(exact.mask_worst, exact.class_worst) < 1e-4
    return results


@pytest.mark.slow
def test_files_pass_verification_on_phantoms(preset, tmp_path):
    samples = read_dataset(write_phantoms(tmp_path / "phantoms", 32, seed=2026))
    # Phantoms are not what the preset was made for: of a third it calls its class
    # unsure, and rounding may decide there. Of the rest no class may change.
    results = assert_verified(
        preset, samples, replace(DEFAULT_LIMITS, class_agreement=0.9)
    )
    assert results["int8"].reference["mask"]["dice_tumour"] > 0.5
    reference = load_predictor(preset / "model.keras")
    least = reference.rules.refer.minimum_class_probability
    outputs = run_network(reference, samples)
    sure = [o.sample for o in outputs if o.probabilities.max() >= least]
    assert len(sure) > len(samples) / 2
    assert_verified(preset, sure, replace(DEFAULT_LIMITS, class_agreement=1.0))


@pytest.mark.busi
@pytest.mark.slow
def test_files_pass_verification_on_validation_images(preset, split):
    assert_verified(preset, split.validation)


def test_demo_phantoms_are_segmented_and_classified(tmp_path):
    results = run_demo(tmp_path, load_predictor("efsnet_base_busi"))
    assert [result.label for result in results] == list(LABELS)
    assert [result.prediction.label for result in results] == list(LABELS)
    assert all(result.dice > 0.7 for result in results)


@pytest.mark.busi
def test_evaluation_gives_the_figures_of_the_card(preset, card, split, tmp_path):
    assert split.digest == card["split_digest"]
    metrics = evaluate(
        load_predictor(preset.name),
        split.validation,
        split_digest=split.digest,
        split_name=SPLIT.name,
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
