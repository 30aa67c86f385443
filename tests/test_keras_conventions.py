"""The layers and the model do what Keras's own do, on every backend."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from checks import OTHER_BACKENDS, noise, passes_on
from keras_efsnet import EFSNet, layers
from keras_efsnet.models.activations import SharedPReLU
from keras_efsnet.models.convolutions import (
    BatchNorm,
    ChannelShuffle,
    ConvNorm,
    GroupedPointwiseConv2D,
    SeparableConv2D,
)
from keras_efsnet.models.losses import DiceBCE
from keras_efsnet.models.metrics import Dice
from keras_efsnet.training import pipeline

BACKEND = keras.backend.backend()

MAP = (2, 4, 4, 16)
LAYERS = [
    (SharedPReLU, {}, MAP),
    (ChannelShuffle, {"groups": 2}, MAP),
    (GroupedPointwiseConv2D, {"filters": 8, "groups": 2}, MAP),
    (SeparableConv2D, {"filters": 8}, MAP),
    (BatchNorm, {}, MAP),
    (ConvNorm, {"filters": 8, "kernel_size": 3, "strides": 2}, (2, 8, 8, 3)),
    (ConvNorm, {"filters": 8, "kernel_size": (3, 1), "activation": None}, MAP),
    (ConvNorm, {"filters": 8, "groups": 2, "activation": "relu"}, MAP),
    (ConvNorm, {"filters": 8, "separable": True}, MAP),
    (layers.InitialBlock, {"filters": 16}, (2, 8, 8, 1)),
    (layers.DownsamplingBlock, {"filters": 16}, (2, 8, 8, 4)),
    (layers.FactorizedBlock, {"filters": 16}, MAP),
    (layers.SDCBlock, {"filters": 16, "dilation_rate": 2}, MAP),
    (layers.CSDCBlock, {"filters": 16, "dilation_rates": (1, 2)}, MAP),
    (layers.UpsamplingModule, {"filters": 16}, (MAP, MAP)),
    (layers.ShuffleUnit, {"filters": 16, "groups": 2}, MAP),
    (layers.MaskHead, {}, MAP),
]

every_layer = pytest.mark.parametrize(
    ("kind", "config", "shape"), LAYERS, ids=lambda v: getattr(v, "__name__", None)
)


def of_shapes(function, shape):
    """Applies a function to a shape, or to each of several."""
    if isinstance(shape[0], tuple):
        return tuple(function(part) for part in shape)
    return function(shape)


def random_inputs(shape):
    return of_shapes(lambda part: noise(*part), shape)


def symbols(shape):
    return of_shapes(keras.KerasTensor, shape)


def free_size(shape):
    return of_shapes(lambda part: (None, None, None, part[-1]), shape)


def written(config):
    return json.loads(json.dumps(config))


@every_layer
def test_a_layer_is_rebuilt_from_its_config(kind, config, shape):
    layer = kind(**config)
    data = written(keras.saving.serialize_keras_object(layer))
    for copy in (
        kind.from_config(layer.get_config()),
        keras.saving.deserialize_keras_object(data),
    ):
        assert written(copy.get_config()) == written(layer.get_config())
        assert set(dir(copy)) == set(dir(layer))


@every_layer
def test_build_alone_makes_all_weights(kind, config, shape):
    built, called, symbolic = kind(**config), kind(**config), kind(**config)

    built.build(shape)
    called(random_inputs(shape))
    symbolic(symbols(shape))

    for layer in (built, called, symbolic):
        assert layer.built
        for group in ("trainable_weights", "non_trainable_variables"):
            found = [weight.shape for weight in getattr(layer, group)]
            assert found == [weight.shape for weight in getattr(called, group)]
    if BACKEND == "torch":
        assert len(built.torch_params) == len(built.variables)


@every_layer
def test_output_shapes_are_known_without_a_call(kind, config, shape):
    expected = tuple(kind(**config)(random_inputs(shape)).shape)

    assert tuple(kind(**config).compute_output_shape(shape)) == expected
    found = kind(**config).compute_output_spec(symbols(shape))
    assert (found.shape, found.dtype) == (expected, "float32")
    free = (None, None, None, expected[-1])
    assert kind(**config).compute_output_shape(free_size(shape)) == free
    assert kind(**config).compute_output_spec(symbols(free_size(shape))).shape == free


@every_layer
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_a_layer_trains_in_a_compiled_step(kind, config, shape):
    images = of_shapes(lambda part: keras.Input(part[1:]), shape)
    layer = kind(**config)
    model = keras.Model(images, layer(images))
    model.compile("sgd", lambda truth, found: ops.mean(found))
    inputs = random_inputs(shape)
    target = np.zeros(layer.compute_output_shape(shape), "float32")

    model.fit(inputs, target, batch_size=2, verbose=0)

    assert all(np.isfinite(weight.numpy()).all() for weight in layer.weights)


@every_layer
@pytest.mark.parametrize("dtype", ["mixed_float16", "bfloat16"])
def test_a_layer_follows_its_dtype(kind, config, shape, dtype):
    layer = kind(**config, dtype=dtype)

    outputs = layer(random_inputs(shape))

    expected = keras.DTypePolicy(dtype)
    found = keras.backend.standardize_dtype(outputs.dtype)
    assert found == layer.compute_output_spec(symbols(shape)).dtype
    assert found == expected.compute_dtype
    assert {w.dtype for w in layer.weights} <= {expected.variable_dtype}


@every_layer
def test_channels_first_in_keras_json_changes_nothing(kind, config, shape):
    inputs = random_inputs(shape)
    layer = kind(**config)
    expected = ops.convert_to_numpy(layer(inputs))
    keras.config.set_image_data_format("channels_first")
    try:
        other = kind(**config)
        other.build(shape)
        other.set_weights(layer.get_weights())
        found = ops.convert_to_numpy(other(inputs))
    finally:
        keras.config.set_image_data_format("channels_last")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@every_layer
def test_weights_have_the_same_paths_in_every_instance(kind, config, shape):
    paths = []
    for _ in range(2):
        layer = kind(**config, name="layer")
        layer.build(shape)
        paths.append([weight.path for weight in layer.weights])
    assert paths[0] == paths[1]
    assert len(set(paths[0])) == len(paths[0])


@pytest.mark.parametrize(
    "options",
    [
        {"scale": False},
        {"center": False},
        {"scale": False, "center": False},
        {"axis": 1},
        {"renorm": True},
    ],
    ids=str,
)
def test_batch_norm_takes_every_option_of_keras(options):
    inputs = 3 * noise(4, 5, 6, 3) + 2
    ours, theirs = BatchNorm(**options), keras.layers.BatchNormalization(**options)
    for training in (True, True, False):
        found, expected = (
            ops.convert_to_numpy(norm(inputs, training=training))
            for norm in (ours, theirs)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert len(ours.weights) == len(theirs.weights)


def test_batch_norm_takes_other_ranks_and_masks():
    rows, mask = 3 * noise(4, 6, 3) + 2, np.arange(6) < np.array([[2], [3], [4], [6]])
    for inputs, given in ((rows[:, 0], None), (rows, None), (rows, mask)):
        found, expected = (
            ops.convert_to_numpy(norm(inputs, training=True, mask=given))
            for norm in (BatchNorm(), keras.layers.BatchNormalization())
        )
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strides": 2, "groups": 2}, "strides must be 1 with groups=2, got 2; leave"),
        ({"kernel_size": 3, "groups": 2}, "kernel_size must be 1 with groups=2, got 3"),
        ({"dilation_rate": 2, "groups": 2}, "dilation_rate must be 1 with groups=2"),
        ({"separable": True, "groups": 2}, "separable must be False with groups=2"),
        ({"strides": 2, "separable": True}, "strides must be 1 with separable=True"),
        ({"kernel_size": 5, "separable": True}, "kernel_size must be 1 with separable"),
    ],
)
def test_options_that_a_convolution_lacks_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ConvNorm(8, **options)


def test_filters_that_the_groups_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="groups"):
        ConvNorm(3, strides=2, groups=2)


@pytest.mark.parametrize("channels", [1, 8])
@pytest.mark.parametrize(
    "kind",
    [layers.FactorizedBlock, layers.SDCBlock, layers.CSDCBlock, layers.ShuffleUnit],
)
def test_other_channels_than_filters_are_refused(kind, channels):
    message = f"filters=16 and {channels} channels; use filters={channels}"
    with pytest.raises(ValueError, match=message):
        kind(16)(noise(1, 4, 4, channels))


def test_the_initial_block_needs_more_filters_than_channels():
    with pytest.raises(ValueError, match="got filters=16 and 16 channels; use at"):
        layers.InitialBlock(16)(noise(1, 4, 4, 16))


SIZE = (16, 16, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, *SIZE)).astype("float32")
MASKS = (IMAGES > 128).astype("float32")
CLASSES = np.array([0, 1])


def compiled(size=SIZE, **options):
    model = EFSNet(size, width=0.25, **options)
    losses = {"mask": DiceBCE(), "class": "sparse_categorical_crossentropy"}
    model.compile("adam", losses, run_eagerly=True)
    return model


def numbers(model):
    return [weight.numpy() for weight in model.weights]


def assert_equal_weights(one, other):
    for old, new in zip(numbers(one), numbers(other), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_state_tree_moves_between_instances():
    one, other = compiled(dropout=0.0, class_dropout=0.0), compiled()

    other.set_state_tree(one.get_state_tree(value_format="numpy_array"))

    assert_equal_weights(one, other)


def test_the_model_ignores_channels_first_in_keras_json(tmp_path):
    model = EFSNet(SIZE, width=0.25)
    model.save(tmp_path / "m.keras")
    keras.config.set_image_data_format("channels_first")
    try:
        loaded = keras.saving.load_model(tmp_path / "m.keras")
        found = loaded(IMAGES)
    finally:
        keras.config.set_image_data_format("channels_last")
    for name, expected in model(IMAGES).items():
        np.testing.assert_allclose(
            *map(ops.convert_to_numpy, (found[name], expected)), atol=1e-5
        )


@pytest.mark.parametrize("way", ["call", "predict", "fit"])
def test_a_wrong_size_names_the_next_valid_one(way):
    model = compiled((None, None, 1))
    image = np.zeros((1, 20, 24, 1), "float32")
    targets = {"mask": image, "class": np.array([0])}
    with pytest.raises(ValueError, match="height must be a multiple of 8, got 20.* 24"):
        if way == "call":
            model(image)
        elif way == "predict":
            model.predict(image, verbose=0)
        else:
            model.fit(image, targets, verbose=0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_a_model_of_any_dtype_trains(dtype):
    if dtype == "float64" and BACKEND == "jax":
        pytest.skip("float64 is switched off in JAX")
    model = compiled(dtype=dtype)
    before = numbers(model)

    model.fit(IMAGES, {"mask": MASKS, "class": CLASSES}, verbose=0)

    after = numbers(model)
    assert {str(weight.dtype) for weight in model.weights} == {dtype}
    assert all(np.isfinite(new.astype("float32")).all() for new in after)
    assert any((old != new).any() for old, new in zip(before, after, strict=True))


@pytest.fixture(scope="module")
def model():
    return compiled()


class Batches(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def tf_data(batches):
    tf = pytest.importorskip("tensorflow")
    x, y = batches[0]
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(len(x))


def data_loader(batches):
    torch = pytest.importorskip("torch")
    return torch.utils.data.DataLoader(batches, batch_size=None)


DATA = {
    "arrays": lambda batches: batches[0],
    "generator": lambda batches: ((batch for batch in batches),),
    "PyDataset": lambda batches: (Batches(batches),),
    "tf.data": lambda batches: (tf_data(batches),),
    "DataLoader": lambda batches: (data_loader(batches),),
}


@pytest.mark.parametrize("kind", DATA)
def test_masks_of_0_and_255_are_refused_not_learnt(model, kind):
    before = numbers(model)
    batch = IMAGES, {"mask": (255 * MASKS).astype("uint8"), "class": CLASSES}

    with pytest.raises(ValueError, match="masks must be 0 and 1.*divide.* by 255"):
        model.fit(*DATA[kind]([batch]), shuffle=False, verbose=0)

    for old, new in zip(before, numbers(model), strict=True):
        np.testing.assert_array_equal(old, new)


class Count(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1


@pytest.mark.parametrize("kind", DATA)
def test_the_look_at_the_masks_takes_no_batch_away(model, kind):
    count = Count()
    batch = IMAGES, {"mask": MASKS.astype("uint8"), "class": CLASSES}
    batches = [batch, batch]
    expected = 1 if kind in ("arrays", "tf.data") else 2

    model.fit(
        *DATA[kind](batches),
        shuffle=False,
        verbose=0,
        steps_per_epoch=expected,
        callbacks=[count],
    )

    assert count.batches == expected


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.data is for TensorFlow")
def test_the_look_at_the_masks_reads_a_dataset_once(model):
    """Another reading would fill the shuffle buffers twice and change their order."""
    import tensorflow as tf

    starts = []

    def make():
        starts.append(len(starts))
        yield IMAGES, {"mask": MASKS, "class": CLASSES}

    spec = (
        tf.TensorSpec((None, *SIZE)),
        {
            "mask": tf.TensorSpec((None, *SIZE)),
            "class": tf.TensorSpec(None, tf.int32),
        },
    )
    data = tf.data.Dataset.from_generator(make, output_signature=spec)
    model.fit(data, shuffle=False, verbose=0, steps_per_epoch=1)

    assert starts == [0]


def test_the_pipeline_refuses_masks_of_0_and_255():
    ones = np.ones(2, np.float32)
    facts = (CLASSES, ones, ones, np.array(["a/tumour"] * 2))
    masks = MASKS[..., 0].astype("uint8")

    pipeline.ImageCache(IMAGES[..., 0].astype("uint8"), masks, *facts)
    with pytest.raises(ValueError, match="masks must be 0 and 1, got values up to 255"):
        pipeline.ImageCache(IMAGES[..., 0].astype("uint8"), 255 * masks, *facts)


@pytest.mark.parametrize("axes", [3, 4])
def test_weights_of_pixels_go_through_fit_with_the_metric(axes):
    image = keras.Input(SIZE)
    mask = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(image)
    model = keras.Model(image, mask)
    model.compile("sgd", DiceBCE(), weighted_metrics=[Dice()])
    weight = np.zeros((2, 16, 16, 1), "float32")
    weight[0, :, :8] = 1
    shaped = weight if axes == 4 else weight[..., 0]

    part = [array[:1, :, :8] for array in (MASKS, model.predict(IMAGES, verbose=0))]
    history = model.fit(IMAGES, MASKS, sample_weight=shaped, verbose=0).history

    metric = Dice()
    metric.update_state(*part)
    assert history["dice"] == pytest.approx([float(metric.result())], rel=1e-5)
    assert history["loss"] == pytest.approx([float(DiceBCE()(*part))], rel=1e-4)


FILES = {
    "tf_saved_model": "m",
    "onnx": "m.onnx",
    "openvino": "m.xml",
    "litert": "m.tflite",
    "torch": "m.pt2",
}
HOMES = {
    "tensorflow": ("tf_saved_model", "onnx", "openvino", "litert"),
    "jax": ("tf_saved_model",),
    "torch": ("torch",),
}


def has(backend, format_):
    return format_ in HOMES[backend]


@pytest.mark.parametrize("format_", [f for f in FILES if not has(BACKEND, f)])
def test_export_says_which_backend_has_a_format(format_, tmp_path):
    home = next(name for name in HOMES if has(name, format_))
    message = f"cannot be exported on the {BACKEND} .*KERAS_BACKEND={home}"
    with pytest.raises(ValueError, match=message):
        EFSNet(SIZE, width=0.25).export(tmp_path / FILES[format_], format_)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow exports any size")
def test_export_of_any_size_asks_for_a_fixed_one(tmp_path):
    model, format_ = EFSNet((None, None, 1), width=0.25), HOMES[BACKEND][0]
    with pytest.raises(ValueError, match=r"fixed size.*input_signature=\[keras.Input"):
        model.export(tmp_path / FILES[format_], format_)


def test_export_names_a_package_that_is_missing(tmp_path, monkeypatch):
    def missing(*args, **kwargs):
        raise ModuleNotFoundError("No module named 'openvino'")

    monkeypatch.setattr(keras.Model, "export", missing)
    model, format_ = EFSNet(SIZE, width=0.25), HOMES[BACKEND][-1]
    with pytest.raises(ValueError, match=f"{format_} needs a package.*'openvino'"):
        model.export(tmp_path / FILES[format_], format_)


def test_export_tells_keras_the_size_of_the_image(tmp_path, monkeypatch):
    """ONNX would ask for a call of the model first."""
    given = []
    monkeypatch.setattr(keras.Model, "export", lambda *args, **_: given.extend(args))
    EFSNet(SIZE, width=0.25).export(tmp_path / "m", HOMES[BACKEND][0])
    assert given[-1][0].shape == (None, *SIZE)


def saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    return lambda image: loaded.serve(image)


def onnx_file(path):
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return lambda image: dict(
        zip(names, session.run(None, {"image": image}), strict=True)
    )


def torch_file(path):
    import torch

    network = torch.export.load(path).module()
    return lambda image: network(torch.from_numpy(image))


READERS = {"tf_saved_model": saved_model, "onnx": onnx_file, "torch": torch_file}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("format_", [f for f in READERS if has(BACKEND, f)])
def test_an_exported_file_gives_the_same(format_, tmp_path):
    if format_ == "tf_saved_model":
        pytest.importorskip("tensorflow")
    if format_ == "onnx":
        pytest.importorskip("tf2onnx")
    model, path = EFSNet(SIZE, width=0.25), str(tmp_path / FILES[format_])
    model.export(path, format_, verbose=False)

    found = READERS[format_](path)(IMAGES[:1])

    for name, expected in model.predict_on_batch(IMAGES[:1]).items():
        np.testing.assert_allclose(
            ops.convert_to_numpy(found[name]), expected, atol=1e-5
        )


@pytest.mark.slow
@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_all_of_this_holds_on_another_backend(backend):
    assert passes_on(backend, __file__, "not another_backend") > 150
