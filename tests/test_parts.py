"""Frozen layers and dtype policies hold in every copy and file."""

import copy
import json
import pickle
import zipfile

import keras
import numpy as np
import pytest

from checks import count, noise
from keras_efsnet import EFSNet, layers
from keras_efsnet.models import backend_ops
from keras_efsnet.models.convolutions import BatchNorm, ConvNorm
from keras_efsnet.models.saving import save_model

SIZE = (32, 32, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, *SIZE)).astype("float32")
TARGETS = {"mask": (IMAGES > 128).astype("float32"), "class": np.array([0, 1])}


def through_file(model, tmp_path):
    model.save(tmp_path / "m.keras")
    return keras.saving.load_model(tmp_path / "m.keras")


def through_preset(model, tmp_path):
    model.save(tmp_path / "m.keras")
    return EFSNet.from_preset(tmp_path / "m.keras")


COPIES = {
    "file": through_file,
    "preset": through_preset,
    "deepcopy": lambda model, _: copy.deepcopy(model),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    "clone": lambda model, _: keras.models.clone_model(model),
    "cloned layers": lambda model, _: keras.models.clone_model(
        model, clone_function=lambda layer: type(layer).from_config(layer.get_config())
    ),
    "json": lambda model, _: keras.models.model_from_json(model.to_json()),
    "config": lambda model, _: EFSNet.from_config(model.get_config()),
}

LIKE_OTHERS = ("preset", "deepcopy", "cloned layers", "json")
"""Ways of the slow tests: each goes through a file or configs as another one does."""


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


every_copy = pytest.mark.parametrize(
    "way", [slow(way) if way in LIKE_OTHERS else way for way in COPIES]
)


def small_model(**arguments):
    return EFSNet(SIZE, width=0.25, dropout=0.0, class_dropout=0.0, **arguments)


@pytest.fixture(scope="module")
def one_model():
    return small_model()


@pytest.fixture
def model(one_model):
    """The model of the file's tests; nothing in it is frozen."""
    one_model.trainable = True
    return one_model


def compiled(model):
    loss = {"mask": "binary_crossentropy", "class": "sparse_categorical_crossentropy"}
    model.compile("adam", loss=loss, run_eagerly=True)
    return model


def states(model):
    """What is frozen, and the dtype policy, of each layer and part."""
    return [
        (layer.trainable, layer.dtype_policy.name)
        for layer in model._flatten_layers(include_self=False)
        if not isinstance(layer, keras.layers.InputLayer)
    ]


def freeze_all_but_the_class_head(model):
    for layer in model.layers:
        layer.trainable = layer.name.startswith("class_")


def freeze_norms_alone(model):
    model.get_layer("initial").conv.norm.trainable = False
    model.get_layer("csdc_2").blocks[3].dilate.norm.trainable = False


def freeze_all_but_one_part(model):
    for layer in model.layers:
        layer.trainable = False
    model.get_layer("up_1").trainable = True
    model.get_layer("up_1").reduce.trainable = False
    model.get_layer("up_1").reduce.act.trainable = True


def freeze_the_model(model):
    model.trainable = False


def thaw_one_layer_of_a_frozen_model(model):
    model.trainable = False
    model.get_layer("down_1").trainable = True


FREEZES = [
    slow(freeze_all_but_the_class_head),
    freeze_norms_alone,
    slow(freeze_the_model),
    thaw_one_layer_of_a_frozen_model,
]


@pytest.mark.parametrize("freeze", FREEZES)
def test_frozen_layers_stay_frozen_in_a_file(freeze, model, tmp_path):
    freeze(model)

    loaded = through_file(model, tmp_path)

    assert states(loaded) == states(model)
    assert count(loaded.trainable_weights) == count(model.trainable_weights)


@every_copy
def test_frozen_layers_stay_frozen_in_every_copy(way, model, tmp_path):
    freeze_all_but_one_part(model)

    same = COPIES[way](model, tmp_path)

    assert states(same) == states(model)
    assert count(same.trainable_weights) == count(model.trainable_weights)


def test_class_head_alone_has_258_trainable_weights_after_a_load(tmp_path):
    model = EFSNet(SIZE, num_classes=2)
    freeze_all_but_the_class_head(model)

    assert count(through_file(model, tmp_path).trainable_weights) == 258


@pytest.mark.parametrize("way", ["file", slow("deepcopy"), slow("pickle")])
def test_optimizer_of_a_frozen_model_goes_on(way, tmp_path):
    model = small_model()
    freeze_all_but_the_class_head(model)
    compiled(model).fit(IMAGES, TARGETS, epochs=2, verbose=0)

    same = COPIES[way](model, tmp_path)

    assert int(same.optimizer.iterations.numpy()) == 2
    for old, new in zip(
        model.optimizer.variables, same.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(old.numpy(), new.numpy())
    frozen = model.get_layer("csdc_1").get_weights()
    same.fit(IMAGES, TARGETS, verbose=0)
    for old, new in zip(frozen, same.get_layer("csdc_1").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


BLOCKS = {
    "InitialBlock": (lambda **more: layers.InitialBlock(16, **more), 1),
    "DownsamplingBlock": (lambda **more: layers.DownsamplingBlock(16, **more), 8),
    "FactorizedBlock": (lambda **more: layers.FactorizedBlock(16, **more), 16),
    "SDCBlock": (lambda **more: layers.SDCBlock(16, **more), 16),
    "CSDCBlock": (lambda **more: layers.CSDCBlock(16, (1, 2), **more), 16),
    "ShuffleUnit": (lambda **more: layers.ShuffleUnit(16, **more), 16),
    "ConvNorm": (lambda **more: ConvNorm(16, **more), 4),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_made_frozen_keeps_every_weight_in_training(name):
    make, channels = BLOCKS[name]
    block = make(trainable=False)
    inputs = noise(2, 8, 8, channels) + 3
    block(inputs)
    before = [weight.numpy().copy() for weight in block.weights]

    block(inputs, training=True)

    assert not any(weight.trainable for weight in block.weights)
    for weight, old in zip(block.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old, err_msg=weight.path)


def test_a_model_made_frozen_keeps_every_weight_in_training():
    model = small_model(trainable=False)
    before = model.get_weights()

    model(IMAGES, training=True)

    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_keeps_frozen_and_float32_parts(name):
    make, channels = BLOCKS[name]
    block = make(dtype="mixed_bfloat16")
    block.build((None, 8, 8, channels))
    norm = next(
        layer for layer in block._flatten_layers() if isinstance(layer, BatchNorm)
    )
    norm.trainable, norm.dtype_policy = False, "float32"

    same = type(block).from_config(block.get_config())
    assert same.get_config() == block.get_config()
    same.build((None, 8, 8, channels))

    assert states(same) == states(block)
    assert same.get_config() == block.get_config()


def test_blocks_of_a_plain_model_keep_frozen_parts(tmp_path):
    inputs = keras.Input((8, 8, 1))
    block = layers.InitialBlock(16)
    model = keras.Model(inputs, block(inputs))
    block.conv.norm.trainable = False

    same = through_file(model, tmp_path)

    assert states(same) == states(model)
    assert count(same.trainable_weights) == 9 * 15 + 1


def test_an_efsnet_inside_a_model_stays_frozen(model, tmp_path):
    freeze_norms_alone(model)
    inputs = keras.Input(SIZE)
    outer = keras.Model(inputs, model(inputs)["class"])

    assert states(through_file(outer, tmp_path)) == states(outer)


def test_changed_arguments_of_a_config_are_followed():
    model = small_model()
    freeze_all_but_the_class_head(model)

    other = EFSNet.from_config({**model.get_config(), "num_classes": 5, "width": 0.5})

    assert other.num_classes == 5
    assert tuple(other.get_layer("class_logits").kernel.shape) == (64, 5)
    assert count(other.trainable_weights) == 64 * 5 + 5


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_an_unchanged_model_has_no_changed_parts(dtype, tmp_path):
    model = small_model(dtype=dtype)
    loaded = through_file(model, tmp_path)

    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        saved = json.loads(archive.read("config.json"))["config"]
    assert saved["parts"] == model.get_config()["parts"] == {}
    assert loaded.get_config() == model.get_config()


def test_a_changed_rate_is_kept(tmp_path):
    model = small_model()
    model.get_layer("class_dropout").rate = 0.25

    assert through_file(model, tmp_path).get_layer("class_dropout").rate == 0.25


def test_a_new_class_head_is_not_frozen(model, tmp_path):
    model.get_layer("initial").trainable = False
    model.get_layer("class_logits").trainable = False
    model.save(tmp_path / "m.keras")

    new = EFSNet.from_preset(tmp_path / "m.keras", num_classes=5)

    assert new.get_layer("class_logits").trainable
    assert not new.get_layer("initial").trainable


# Keras warns of every layer that has no int8 form.
quantizes = pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")

# The slow ones train in test_keras_conventions, or in every test of a fit.
POLICIES = [
    *("mixed_float16", "float64"),
    *map(slow, ("float32", "mixed_bfloat16", "float16", "bfloat16")),
]


@pytest.mark.parametrize("given", [str, keras.DTypePolicy])
def test_dtype_is_an_argument(given):
    model = small_model(dtype=given("mixed_bfloat16"))

    assert model.dtype_policy.name == "mixed_bfloat16"
    assert model.get_layer("csdc_1").blocks[0].dilate.conv.compute_dtype == "bfloat16"
    outputs = model(IMAGES)
    assert {keras.backend.standardize_dtype(o.dtype) for o in outputs.values()} == {
        "float32"
    }
    assert keras.config.dtype_policy().name == "float32"


@every_copy
def test_dtype_and_a_float32_layer_are_kept(way, tmp_path):
    model = small_model(dtype="mixed_bfloat16")
    model.get_layer("mask_logits").dtype_policy = "float32"
    model.get_layer("down_2").filter.norm.dtype_policy = "float32"

    same = COPIES[way](model, tmp_path)

    assert states(same) == states(model)
    # Keras's clones are plain models, without a policy of their own.
    if isinstance(same, EFSNet):
        assert same.dtype_policy.name == "mixed_bfloat16"
    if way in ("file", "preset", "deepcopy", "pickle"):
        for name, expected in model(IMAGES).items():
            np.testing.assert_array_equal(
                keras.ops.convert_to_numpy(same(IMAGES)[name]),
                keras.ops.convert_to_numpy(expected),
            )


def test_a_saved_dtype_is_stronger_than_the_global_policy(model, tmp_path):
    model.save(tmp_path / "m.keras")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        loaded = keras.saving.load_model(tmp_path / "m.keras")
        preset = EFSNet.from_preset(tmp_path / "m.keras")
        given = EFSNet.from_preset(tmp_path / "m.keras", dtype="float32")
    finally:
        keras.config.set_dtype_policy("float32")

    assert loaded.dtype_policy.name == given.dtype_policy.name == "float32"
    assert loaded.get_layer("csdc_1").compute_dtype == "float32"
    assert preset.get_layer("csdc_1").compute_dtype == "bfloat16"


@pytest.mark.parametrize("dtype", POLICIES)
def test_every_float_policy_trains_and_loads(dtype, tmp_path):
    if dtype == "float64" and not backend_ops.has_float64():
        with pytest.raises(ValueError, match="got float64 on JAX.*jax_enable_x64"):
            small_model(dtype=dtype)
        return
    model = compiled(small_model(dtype=dtype))
    assert np.isfinite(model.fit(IMAGES, TARGETS, verbose=0).history["loss"][0])

    same = through_file(model, tmp_path)

    assert {weight.dtype for weight in same.weights if "seed" not in weight.path} == {
        model.dtype_policy.variable_dtype
    }
    for name, expected in model(IMAGES).items():
        expected = keras.ops.convert_to_numpy(expected)
        found = keras.ops.convert_to_numpy(same(IMAGES)[name])
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int8_from_float32"])
def test_other_policies_are_refused(dtype):
    with pytest.raises(ValueError, match=f"such as float32 or .*got {dtype}.*quantize"):
        small_model(dtype=dtype)


def test_unknown_arguments_are_refused():
    with pytest.raises(TypeError, match="groups"):
        small_model(groups=4)


@quantizes
@pytest.mark.parametrize(
    ("mode", "way"),
    [
        *(("int8", "file"), ("int4", "file")),
        pytest.param("float8", "file", marks=pytest.mark.slow),
        *(
            pytest.param("int8", way, marks=pytest.mark.slow)
            for way in ("preset", "deepcopy", "pickle")
        ),
    ],
)
def test_a_quantized_model_loads(mode, way, tmp_path):
    model = small_model()
    model.quantize(mode)

    same = COPIES[way](model, tmp_path)

    assert same.get_layer("class_logits").quantization_mode == mode
    for name, expected in model(IMAGES).items():
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(same(IMAGES)[name]),
            keras.ops.convert_to_numpy(expected),
            atol=1e-6,
        )


@quantizes
def test_a_quantized_head_gives_way_to_a_new_one(tmp_path):
    model = small_model()
    model.quantize("int8")
    model.save(tmp_path / "m.keras")

    new = EFSNet.from_preset(tmp_path / "m.keras", num_classes=5)

    assert new.get_layer("class_logits").quantization_mode is None


def test_checkpoints_are_float32_and_keep_what_is_frozen(tmp_path):
    model = small_model(dtype="mixed_bfloat16")
    model.get_layer("down_1").filter.norm.dtype_policy = "bfloat16"
    model.get_layer("up_2").reduce.trainable = False
    save_model(model, tmp_path / "m.keras")

    loaded = keras.saving.load_model(tmp_path / "m.keras")

    assert {policy for _, policy in states(loaded)} == {"float32"}
    frozen = [not weight.trainable for weight in model.weights]
    assert [not weight.trainable for weight in loaded.weights] == frozen
