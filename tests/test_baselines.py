"""The networks that EFSNet is compared with: counts, contract, files."""

import importlib.util
import json
import re
import shutil

import keras
import numpy as np
import pytest

from checks import count, noise, randomize_weights
from keras_efsnet.cli import main
from keras_efsnet.models.saving import load_keras_model, save_model
from keras_efsnet.phantoms import write_phantoms
from keras_efsnet.prediction.keras_runtime import KerasPredictor
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.training.baselines import BUILDERS, unet
from keras_efsnet.training.networks import build_model
from keras_efsnet.training.settings import NETWORKS, TrainSettings
from keras_efsnet.training.train import train

SIZE = 32
WIDTH = 0.25

NETWORK_CASES = [
    "unet",
    pytest.param(
        "deeplab_v3_plus",
        marks=[
            pytest.mark.slow,  # keras-cv takes half a minute to import
            pytest.mark.skipif(
                importlib.util.find_spec("keras_cv") is None,
                reason='needs keras-cv: pip install "keras-efsnet[baselines]"',
            ),
        ],
    ),
]


@pytest.fixture(scope="module", params=NETWORK_CASES)
def network(request):
    """A tiny network, weights and norms far from their start."""
    keras.utils.set_random_seed(0)
    model = BUILDERS[request.param]((SIZE, SIZE, 1), WIDTH)
    return randomize_weights(model)


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("baseline") / f"{network.name}.keras"
    save_model(network, path)
    return path


def test_full_size_unet_is_the_published_one():
    # The 34.52 million of CMUNeXt's table, 34,527,041 exactly, with one grey channel
    # instead of three colours, and a class head of 1024 x 3 and 3 biases.
    found = count(unet((16, 16, 1)).trainable_weights)
    assert found == 34_527_041 - 2 * 64 * 3 * 3 + 1024 * 3 + 3


def test_parameters_at_quarter_width(network):
    expected = {"unet": 2_162_612, "deeplab_v3_plus": 1_126_084}
    assert count(network.trainable_weights) == expected[network.name]


@pytest.mark.parametrize("name", NETWORK_CASES[1:])
def test_deeplab_has_the_parameters_of_keras_cvs(name):
    import keras_cv

    backbone = keras_cv.models.ResNetV2Backbone(
        stackwise_filters=[64, 128, 256, 512],
        stackwise_blocks=[2, 2, 2, 2],
        stackwise_strides=[1, 2, 2, 2],
        block_type="basic_block",
        include_rescaling=True,
        input_shape=(64, 64, 1),
    )
    published = keras_cv.models.DeepLabV3Plus(backbone, 1)
    # Its count has the backbone's last norm, which DeepLabV3+ does not use.
    unused, mask_bias, class_head = 2 * 512, 1, 256 * 3 + 3
    expected = count(published.trainable_weights) - unused + mask_bias + class_head
    found = count(BUILDERS[name]((64, 64, 1)).trainable_weights)
    assert found == expected == 15_382_756


@pytest.mark.parametrize("name", NETWORK_CASES[1:])
def test_deeplab_says_what_keras_cvs_says(name, monkeypatch):
    import keras_cv

    made = []
    original = keras_cv.models.DeepLabV3Plus
    monkeypatch.setattr(
        keras_cv.models,
        "DeepLabV3Plus",
        lambda *args, **options: made.append(original(*args, **options)) or made[0],
    )
    model = BUILDERS[name]((64, 96, 1), WIDTH)
    published = randomize_weights(made[0])
    for name, layer in named_layers(published):
        if layer.weights and name != "post_bn":  # see above
            model.get_layer(name).set_weights(layer.get_weights())
    image = 255 * noise(2, 64, 96, 1).clip(0, 1)
    expected = keras.ops.sigmoid(published(image, training=False))
    found = model(image, training=False)["mask"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def named_layers(layer, prefix=""):
    """keras-cv's layers with their names in our network."""
    if isinstance(layer, keras.Model):
        parts = [(part, prefix) for part in layer.layers]
    elif hasattr(layer, "aspp_parallel_channels"):
        branches = enumerate(layer.aspp_parallel_channels)
        parts = [(branch, f"pyramid_{i}_") for i, branch in branches]
        parts.append((layer.projection, "pyramid_projection_"))
    else:
        return [(prefix + re.sub(r"_\d+$", "", layer.name), layer)]
    return [pair for part in parts for pair in named_layers(*part)]


def test_outputs_have_efsnets_names_shapes_and_ranges(network):
    outputs = network(255 * noise(2, SIZE, SIZE, 1).clip(0, 1), training=False)
    assert tuple(outputs["mask"].shape) == (2, SIZE, SIZE, 1)
    assert tuple(outputs["class"].shape) == (2, 3)
    mask, label = (keras.ops.convert_to_numpy(outputs[k]) for k in ("mask", "class"))
    assert 0 < mask.min() < mask.max() < 1
    np.testing.assert_allclose(label.sum(axis=1), 1, atol=1e-5)


def test_a_saved_file_loads_in_safe_mode_and_says_the_same(network, file):
    image = 255 * noise(1, SIZE, SIZE, 1).clip(0, 1)
    found, expected = KerasPredictor(file)(image), network(image, training=False)
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=0, atol=1e-5)


def test_a_model_trained_in_mixed_precision_is_saved_as_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = unet((16, 16, 1), 0.125)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("up_1_conv").compute_dtype == "bfloat16"
    save_model(model, tmp_path / "m.keras")
    saved = load_keras_model(tmp_path / "m.keras")
    assert {layer.compute_dtype for layer in saved.layers} == {"float32"}
    for old, new in zip(model.get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_run_starts_from_a_file_of_another_size(network, file):
    changes = {"model": network.name, "width": WIDTH, "init": str(file)}
    settings = TrainSettings("phantom", phantoms=2, image_size=2 * SIZE, **changes)
    started = build_model(settings)
    assert started.input_shape == (None, 2 * SIZE, 2 * SIZE, 1)
    for old, new in zip(network.get_weights(), started.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_file_of_another_width_is_no_start(network, file):
    changes = {"model": network.name, "width": WIDTH / 2, "init": str(file)}
    settings = TrainSettings("phantom", phantoms=2, image_size=SIZE, **changes)
    with pytest.raises(ValueError, match=r"\.keras: not the weights of .* with width"):
        build_model(settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "resnet"}, "model must be one of efsnet, unet, deeplab_v3_plus"),
        ({"model": "unet", "image_size": 24}, "multiple of 16, got 24; the next valid"),
        ({"model": "deeplab_v3_plus", "image_size": 48}, "multiple of 32, got 48"),
        ({"model": "unet", "deep_supervision": 0.5}, "deep_supervision reads EFSNet's"),
    ],
)
def test_wrong_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings("phantom", phantoms=2, **changes)


def test_every_network_can_be_built():
    assert list(NETWORKS) == ["efsnet", *BUILDERS]


def test_missing_keras_cv_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "keras_cv", None)
    with pytest.raises(ValueError, match=r"install it: .*keras-efsnet\[baselines\]"):
        BUILDERS["deeplab_v3_plus"]((SIZE, SIZE, 1), WIDTH, 0.3)


def arrays(run):
    with np.load(run / "state.npz") as state:
        return {name: state[name] for name in state if name != "facts"}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORK_CASES)
def test_train_resume_evaluate_export_and_predict(name, tmp_path, capsys):
    pytest.importorskip("ai_edge_litert")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("TFLite files are made on TensorFlow")
    settings = TrainSettings(
        "phantom", phantoms=4, model=name, width=WIDTH, epochs=2, image_size=SIZE
    )
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    train(settings, whole, callbacks=[CopyAfterOneEpoch(whole, parted)])
    assert main(["train", "--resume", "--out", str(parted)]) == 0
    expected, found = arrays(whole), arrays(parted)
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array, err_msg=key)

    data = write_phantoms(tmp_path / "phantoms", 6, seed=1)
    folds = tmp_path / "folds.csv"
    assert main(["data", "split", str(data), "--out", str(folds)]) == 0
    inputs = ["--model", str(whole / "best.keras"), "--data", str(data)]
    inputs += ["--split", str(folds)]
    out = tmp_path / "report"
    subset = ["--subset", "validation"]
    assert main(["evaluate", *inputs, *subset, "--out", str(out)]) == 0
    assert json.loads((out / "metrics.json").read_text())["n"] > 0
    kinds = ["--kind", "float32", "--kind", "int8", "--max-dice-loss", "1"]
    kinds += ["--min-class-agreement", "0", "--out", str(tmp_path / "files")]
    assert main(["export", *inputs, *kinds]) == 0
    report = json.loads((tmp_path / "files" / "export.json").read_text())
    assert report["files"]["float32"]["mask_worst"] < 1e-4
    assert main(["export", *inputs, "--out", str(out), "--kind", "clustered"]) == 2
    assert (
        f"clustered is for EFSNet, and this model is {name}" in capsys.readouterr().err
    )
    image = next(data.glob("benign/*).png"))
    command = ["predict", str(image), "--out", str(tmp_path / "masks"), "--model"]
    assert main([*command, str(tmp_path / "files" / "model_int8.tflite")]) == 0
    assert main([*command, str(whole / "best.keras")]) == 0
    assert main(["info", str(whole / "best.keras")]) == 0


class CopyAfterOneEpoch(keras.callbacks.Callback):
    """Copies a run's folder as it is when the second epoch begins."""

    def __init__(self, run, copy):
        super().__init__()
        self.run, self.copy = run, copy

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            shutil.copytree(self.run, self.copy)


def macs(model):
    """Counted from the layers: each place of a map meets the whole kernel."""
    return sum(
        int(np.prod(layer.output.shape[1:-1])) * count([layer.kernel])
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)
    )


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TFLite files are made on it"
)
@pytest.mark.parametrize(
    "kind", ["float32", pytest.param("int8", marks=pytest.mark.slow)]
)
def test_the_lite_file_says_what_keras_says(kind, network, file, tmp_path):
    from keras_efsnet.tflite.convert import convert
    from keras_efsnet.tflite.flatbuffer import count_macs, list_operators

    frames = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE), np.uint8)
    frames[:2] = np.uint8([0, 255])[:, None, None]
    content = convert(load_keras_model(file), kind, frames)
    # Norms are in the convolutions before them; those of DeepLab's blocks come first.
    left = list_operators(content).count("MUL")
    assert left == (1 if network.name == "unet" else 8)
    assert count_macs(content) == macs(network)
    lite = tmp_path / "m.tflite"
    lite.write_bytes(content)
    image = frames[2:, ..., None].astype("float32")
    found, expected = load_predictor(lite)(image), KerasPredictor(file)(image)
    for key, values in expected.items():
        limit = 1e-4 if kind == "float32" else 0.1
        np.testing.assert_allclose(found[key], values, rtol=0, atol=limit)
        assert values.std() > limit / 10, key


def test_one_fit_step_changes_every_weight(network):
    model = keras.models.clone_model(network)
    model.set_weights(network.get_weights())
    loss = {"mask": "binary_crossentropy", "class": "sparse_categorical_crossentropy"}
    model.compile("adam", loss, run_eagerly=True)
    before = [weight.numpy().copy() for weight in model.trainable_weights]
    image = 255 * noise(2, SIZE, SIZE, 1).clip(0, 1)
    targets = {"mask": (image > 99).astype("float32"), "class": np.array([0, 2])}
    model.fit(image, targets, verbose=0)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert not np.array_equal(weight.numpy(), old), weight.path
