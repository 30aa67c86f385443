import subprocess
import sys

import keras
import numpy as np
import pytest

from checks import count, noise
from keras_efsnet import EFSNet
from keras_efsnet.models.losses import DiceBCE

# Trainable parameters of the published network, with our two heads.
PARAMETERS = {
    "initial": 166,
    "down_1": 5_699,
    "factorized": 15_244,
    "down_2": 30_339,
    "csdc": 109_584,
    "up_1": 12_418,
    "shuffle_4": 3_232,
    "up_2": 1_314,
    "shuffle_2": 456,
    "mask_logits": 145,
    "class_logits": 387,
}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return EFSNet(input_shape=(32, 40, 1))


def grey(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype("float32")


def mask_of(model, images):
    return keras.ops.convert_to_numpy(model(images)["mask"])


def test_parameters_of_each_block(model):
    found = dict.fromkeys(PARAMETERS, 0)
    for layer in model.layers:
        parameters = count(layer.trainable_weights)
        block = (
            layer.name if layer.name in PARAMETERS else layer.name.rpartition("_")[0]
        )
        if parameters:
            found[block] += parameters
    assert found == PARAMETERS
    assert count(model.trainable_weights) == 178_984


def test_outputs(model):
    outputs = model.predict(grey(2, 32, 40, 1), verbose=0)
    assert {name: out.shape for name, out in outputs.items()} == {
        "mask": (2, 32, 40, 1),
        "class": (2, 3),
    }
    assert all(out.dtype == np.float32 for out in outputs.values())
    assert outputs["mask"].min() >= 0 and outputs["mask"].max() <= 1
    np.testing.assert_allclose(outputs["class"].sum(axis=1), 1, rtol=1e-5)


def test_integer_images_give_the_same(model):
    images = grey(1, 32, 40, 1)
    floats = model.predict(images, verbose=0)
    integers = model.predict(images.astype("uint8"), verbose=0)
    np.testing.assert_array_equal(floats["mask"], integers["mask"])


def test_any_size_where_none_is_given():
    model = EFSNet(input_shape=(None, None, 1))
    assert model.predict(grey(1, 24, 48, 1), verbose=0)["mask"].shape == (1, 24, 48, 1)


def test_outputs_are_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        outputs = EFSNet((16, 16, 1))(grey(1, 16, 16, 1))
    finally:
        keras.config.set_dtype_policy("float32")
    assert {keras.backend.standardize_dtype(o.dtype) for o in outputs.values()} == {
        "float32"
    }


def test_width_scales_channels_to_multiples_of_8():
    model = EFSNet((16, 16, 1), width=0.6)
    channels = [
        model.get_layer(name).output.shape[-1]
        for name in ("initial", "down_1", "down_2")
    ]
    assert channels == [8, 40, 80]


def test_one_fit_step_changes_every_weight():
    model = EFSNet((32, 32, 1), dropout=0.0, class_dropout=0.0)
    model.compile(
        "adam",
        loss={"mask": DiceBCE(), "class": "sparse_categorical_crossentropy"},
        run_eagerly=True,
    )
    before = [weight.numpy() for weight in model.trainable_weights]
    targets = {"mask": grey(2, 32, 32, 1) > 128, "class": np.array([1, 2])}
    model.fit(grey(2, 32, 32, 1), targets, verbose=0)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.isfinite(weight.numpy()).all(), weight.path
        assert not np.array_equal(weight.numpy(), old), weight.path


@pytest.mark.parametrize("output", ["mask", "class"])
def test_zero_sample_weight_leaves_an_output_out(output):
    """Data with masks but no class, or class but no mask, trains the other head."""
    model = EFSNet((32, 32, 1))
    model.compile(
        "adam",
        loss={"mask": DiceBCE(), "class": "sparse_categorical_crossentropy"},
        run_eagerly=True,
    )
    head = model.get_layer(f"{output}_logits")
    other = model.get_layer("class_logits" if output == "mask" else "mask_logits")
    before = [head.get_weights()[0], other.get_weights()[0]]
    weights = {"mask": np.ones(2), "class": np.ones(2), output: np.zeros(2)}
    targets = {"mask": grey(2, 32, 32, 1) > 128, "class": np.array([1, 2])}
    model.fit(grey(2, 32, 32, 1), targets, sample_weight=weights, verbose=0)
    np.testing.assert_array_equal(head.get_weights()[0], before[0])
    assert not np.array_equal(other.get_weights()[0], before[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (250, 256, 1)}, "height must be a multiple of 8.*is 256"),
        ({"input_shape": (256, 0, 1)}, "width must be a multiple of 8.*is 8"),
        (
            {"input_shape": (256, 256, 3)},
            "one grey channel, got .256, 256, 3.; convert",
        ),
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"width": 0}, "width must be above 0, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        EFSNet(**arguments)


LOADS = [
    "import keras, keras_efsnet",
    "from keras_efsnet import EFSNet; import keras",
]


def test_loads_in_a_fresh_process_in_either_order_of_imports(model, tmp_path):
    file, images, expected = (tmp_path / n for n in ("m.keras", "x.npy", "y.npy"))
    model.save(file)
    np.save(images, grey(1, 32, 40, 1))
    np.save(expected, mask_of(model, grey(1, 32, 40, 1)))
    script = (
        "import sys, numpy as np\n"
        "exec(sys.argv[1])\n"
        "model = keras.saving.load_model(sys.argv[2], safe_mode=True)\n"
        "assert type(model).__name__ == 'EFSNet'\n"
        "mask = model(np.load(sys.argv[3]), training=False)['mask']\n"
        "mask = keras.ops.convert_to_numpy(mask)\n"
        "np.testing.assert_allclose(mask, np.load(sys.argv[4]), atol=1e-6)\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, imports, file, images, expected],
            stderr=subprocess.PIPE,
            text=True,
        )
        for imports in LOADS
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


def test_from_preset_reads_a_file(model, tmp_path):
    model.save(tmp_path / "m.keras")
    loaded = EFSNet.from_preset(tmp_path / "m.keras")
    images = grey(1, 32, 40, 1)
    np.testing.assert_allclose(
        mask_of(loaded, images), mask_of(model, images), atol=1e-6
    )


def test_from_preset_with_other_classes_has_a_fresh_class_head(model, tmp_path):
    model.save(tmp_path / "m.keras")
    loaded = EFSNet.from_preset(tmp_path / "m.keras", num_classes=5)
    images = grey(1, 32, 40, 1)
    assert tuple(loaded(images)["class"].shape) == (1, 5)
    np.testing.assert_allclose(
        mask_of(loaded, images), mask_of(model, images), atol=1e-6
    )


def test_from_preset_with_another_size_keeps_the_weights(model, tmp_path):
    model.save(tmp_path / "m.keras")
    loaded = EFSNet.from_preset(tmp_path / "m.keras", input_shape=(64, 64, 1))
    assert tuple(loaded(grey(1, 64, 64, 1))["mask"].shape) == (1, 64, 64, 1)
    for old, new in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_from_preset_refuses_other_models(tmp_path):
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    other.save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="saved from an EFSNet, got a Sequential"):
        EFSNet.from_preset(tmp_path / "other.keras")


def test_shift_of_the_image_shifts_the_mask():
    """Away from the borders the network knows no position."""
    model = EFSNet((None, None, 1))
    image = noise(1, 512, 512, 1) * 50 + 128
    whole = mask_of(model, image)
    part = mask_of(model, image[:, 8:, 8:])
    centre = slice(252, 260)
    np.testing.assert_allclose(
        whole[0, 256 + 4 : 268, 260:268], part[0, centre, centre], atol=1e-3
    )
