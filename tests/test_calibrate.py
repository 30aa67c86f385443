"""Calibration: what is folded in does what its numbers say."""

import numpy as np
import pytest

from checks import randomize_weights
from keras_efsnet import EFSNet
from keras_efsnet.phantom import write_phantoms
from keras_efsnet.prediction import Postprocess
from keras_efsnet.predictor import load_predictor
from keras_efsnet.training.busi import index_dataset
from keras_efsnet.training.calibrate import Calibration, calibrate, fold, write_preset


@pytest.fixture
def model():
    return randomize_weights(EFSNet((32, 32, 1), width=0.5))


def test_folding_moves_the_threshold_and_divides_the_logits(model):
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1)).astype("f4")
    before = model.predict_on_batch(images)
    threshold = float(np.median(before["mask"]))
    fold(model, Calibration(2.0, threshold, Postprocess(), (0.0, 0.0), (0.0, 0.0)))
    after = model.predict_on_batch(images)
    apart = abs(before["mask"] - threshold) > 1e-4
    assert apart.mean() > 0.5
    lesion = before["mask"] > threshold
    np.testing.assert_array_equal((after["mask"] > 0.5)[apart], lesion[apart])
    roots = np.sqrt(before["class"])
    expected = roots / roots.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(after["class"], expected, atol=1e-5)


def test_the_preset_does_what_was_fitted(model, tmp_path):
    file = tmp_path / "run.keras"
    model.save(file)
    samples = index_dataset(write_phantoms(tmp_path / "phantoms", 2, seed=0))
    found = calibrate(file, samples)
    assert found.dice[1] >= found.dice[0]
    write_preset(file, found, tmp_path / "preset")
    assert load_predictor(tmp_path / "preset" / "model.keras").rules == found.rules
    again = calibrate(tmp_path / "preset" / "model.keras", samples)
    assert again.ece[0] == pytest.approx(found.ece[1], abs=1e-3)
