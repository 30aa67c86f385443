"""Fine-tuning with the model optimization toolkit, on a tf_keras copy of the graph."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest

from checks import randomize_weights
from keras_efsnet import EFSNet
from keras_efsnet.phantoms import write_phantoms
from keras_efsnet.training.datasets.reading import read_dataset
from keras_efsnet.training.datasets.splits import read_split
from keras_efsnet.training.pipeline import load_cache
from keras_efsnet.training.seen import hash_images

if keras.backend.backend() != "tensorflow":
    pytest.skip("TFLite files are made on TensorFlow", allow_module_level=True)
pytest.importorskip("tensorflow_model_optimization")

from keras_efsnet.tflite import qat
from keras_efsnet.tflite.convert import convert, representative_images, to_frames
from keras_efsnet.tflite.deploy import deployment_graph
from keras_efsnet.tflite.export import FINE_TUNED
from keras_efsnet.tflite.flatbuffer import list_operators
from keras_efsnet.tflite.tf_keras_copy import copy_to_tf_keras

SIZE = 32


@pytest.fixture(scope="module")
def model():
    return randomize_weights(EFSNet((SIZE, SIZE, 1)))


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return read_dataset(write_phantoms(tmp_path_factory.mktemp("phantoms"), 6, 1))


@pytest.fixture(scope="module")
def representative(samples):
    return representative_images(samples, (SIZE, SIZE), 2, seed=0)


@pytest.mark.parametrize("style", ["lean", "dense"])
def test_the_copy_gives_the_same(style, model):
    graph = deployment_graph(model, style)
    image = np.random.default_rng(0).uniform(0, 255, (1, SIZE, SIZE, 1))
    # Not `predict`, see `equalize`: a graph's fused leaky ReLU has a wrong slope.
    found = copy_to_tf_keras(graph)(image.astype("float32"))
    expected = graph(image, training=False)
    assert found.keys() == expected.keys() == {"mask", "class"}
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=0, atol=1e-4)


def fine_tuned(model, samples, representative, kind):
    """The kernels of the graph before and after, those above the smallest size."""
    type_, step = FINE_TUNED[kind]
    graph = deployment_graph(model, "dense" if type_ == "int8" else "lean")
    before = kernels(graph)
    frames = to_frames(representative, (SIZE, SIZE))
    qat.fine_tune(graph, step, load_cache(samples, SIZE), frames, schedules(12))
    return before, kernels(graph)


def schedules(epochs):
    return {step: replace(s, epochs=epochs) for step, s in qat.SCHEDULES.items()}


def kernels(graph):
    weights = {
        layer.name: layer.get_weights()[0] for layer in graph.layers if layer.weights
    }
    return {k: w for k, w in weights.items() if w.size >= qat.SMALLEST_KERNEL}


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(FINE_TUNED))
def test_kernels_after_fine_tuning(kind, model, samples, representative):
    before, after = fine_tuned(model, samples, representative, kind)
    for name, kernel in after.items():
        assert not np.array_equal(kernel, before[name]), name
        assert not kernel[before[name] == 0].any(), name
        if kind == "clustered":
            assert len(np.unique(kernel)) <= qat.CLUSTERS + 1, name


@pytest.mark.slow
def test_a_fine_tuned_int8_file_runs_the_same_operators(model, samples, representative):
    type_, step = FINE_TUNED["int8-qat"]
    file = qat.convert_fine_tuned(
        model, type_, step, representative, samples, schedules(1)
    )
    assert list_operators(file) == list_operators(convert(model, type_, representative))


@pytest.mark.slow
def test_export_names_and_verifies_the_kind(tmp_path, samples, capfd):
    from keras_efsnet.cli import main
    from keras_efsnet.models.saving import save_model

    save_model(EFSNet((SIZE, SIZE, 1), width=0.5), tmp_path / "model.keras")
    folder = samples[0].image.parents[1]
    split = tmp_path / "folds.csv"
    assert main(["data", "split", str(folder), "--out", str(split)]) == 0
    nothing_seen = {"train": [], "validation": []}
    (tmp_path / "images.json").write_text(json.dumps(nothing_seen))
    inputs = ["--model", str(tmp_path / "model.keras"), "--data", str(folder)]
    options = ["--split", str(split), "--kind", "clustered", "--max-dice-loss", "1"]
    out = tmp_path / "files"
    main(["export", *inputs, *options, "--min-class-agreement", "0", "--out", str(out)])
    assert "cluster, epoch 4/4: loss " in capfd.readouterr().err
    assert {path.name for path in out.iterdir()} == {
        "card.json",
        "export.json",
        "model.keras",
        "model_clustered.tflite",
        "model_clustered.tflite.json",
    }
    assert json.loads((out / "export.json").read_text())["files"]["clustered"]["passed"]
    trained = read_split(read_dataset(folder), [split]).train
    seen = json.loads((out / "card.json").read_text())["images_seen"]
    assert seen == {"train": sorted(set(hash_images(trained))), "validation": []}
