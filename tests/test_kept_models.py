"""`keras_efsnet.predict` keeps its models loaded, and notices files that change."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import keras_efsnet
from keras_efsnet import load_predictor, predict_batch
from keras_efsnet.models.presets import DEFAULT_MODEL
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction import loading

THREADS = 8


@pytest.fixture
def loads(monkeypatch):
    """The models that were loaded."""
    loading._keep_loaded.cache_clear()
    models, load = [], loading.load_predictor

    def load_predictor(model):
        models.append(model)
        return load(model)

    monkeypatch.setattr(loading, "load_predictor", load_predictor)
    yield models
    loading._keep_loaded.cache_clear()


def write_card(folder, minimum_lesion_fraction):
    rules = {"minimum_lesion_fraction": minimum_lesion_fraction}
    (folder / "card.json").write_text(json.dumps({"postprocess": rules}))


def test_a_model_is_loaded_once(loads, lite_file, scan):
    for model in (lite_file, str(lite_file), lite_file):
        assert keras_efsnet.predict(scan, model)[0].lesion_area_px > 0
    assert loads == [str(lite_file)]


def test_a_changed_card_is_noticed(loads, lite_file, scan):
    write_card(lite_file.parent, 0.01)
    assert keras_efsnet.predict(scan, lite_file)[0].lesion_area_px > 0
    write_card(lite_file.parent, 0.9)
    assert keras_efsnet.predict(scan, lite_file)[0].lesion_area_px == 0
    (lite_file.parent / "card.json").unlink()
    assert keras_efsnet.predict(scan, lite_file)[0].lesion_area_px > 0
    assert len(loads) == 3


def test_another_file_of_the_same_name_size_and_time_is_noticed(loads, lite_file, scan):
    keras_efsnet.predict(scan, lite_file)
    other, state = lite_file.with_name("other.tflite"), lite_file.stat()
    shutil.copy(lite_file, other)
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    other.replace(lite_file)
    keras_efsnet.predict(scan, lite_file)
    assert len(loads) == 2


def test_a_relative_name_is_that_of_the_working_folder(
    loads, lite_file, make_lite, scan, tmp_path, monkeypatch
):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(lite_file, other / lite_file.name)
    write_card(other, 0.9)
    areas = []
    for folder in (tmp_path, other, tmp_path):
        monkeypatch.chdir(folder)
        areas.append(keras_efsnet.predict(scan, lite_file.name)[0].lesion_area_px)
    assert areas[0] == areas[2] > areas[1] == 0
    assert len(loads) == 2


def test_a_damaged_model_is_refused_each_time(loads, tmp_path, scan):
    path = tmp_path / "bad.tflite"
    path.write_bytes(b"no model")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"bad\.tflite"):
            keras_efsnet.predict(scan, path)


def test_few_models_stay(loads, lite_file, scan):
    for number in range(loading.KEPT_MODELS + 3):
        copy = lite_file.with_name(f"{number}.tflite")
        shutil.copy(lite_file, copy)
        keras_efsnet.predict(scan, copy)
    assert loading._keep_loaded.cache_info().currsize == loading.KEPT_MODELS


def test_threads_share_it_and_each_gets_its_own_answers(loads):
    images = [
        make_phantom(label, seed, (64 + 8 * seed, 80)).image
        for label in ("benign", "malignant")
        for seed in range(THREADS // 2)
    ]
    network = load_predictor()
    right = [predict_batch(network, image, 1)[0] for image in images]

    def check(number):
        found = keras_efsnet.predict([images[number], images[number - 1]])
        for prediction, expected in zip(
            found, (right[number], right[number - 1]), strict=True
        ):
            np.testing.assert_array_equal(prediction.mask, expected.mask)
            assert prediction.probabilities == expected.probabilities

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(check, list(range(THREADS)) * 3))
    assert loads == [DEFAULT_MODEL]
