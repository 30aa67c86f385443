"""The deployment graph: equal to the model, made of layers that run fast."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from checks import noise, randomize_weights
from keras_efsnet import EFSNet
from keras_efsnet.labels import LABELS
from keras_efsnet.models.presets import preset_names
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.litert import MIDDLE_GREY
from keras_efsnet.tflite.convert import convert
from keras_efsnet.tflite.deploy import deployment_graph
from keras_efsnet.tflite.equalize import equalize
from keras_efsnet.tflite.folding import Weights, fold_columns
from keras_efsnet.tflite.int8_graph import int8_graph
from keras_efsnet.tflite.npu_graph import npu_graph
from keras_efsnet.tflite.plain_graph import plain_graph

if keras.backend.backend() != "tensorflow":
    pytest.skip("TFLite files are made on TensorFlow", allow_module_level=True)

STYLES = ("lean", "dense")


@pytest.fixture(scope="module")
def model():
    return randomize_weights(EFSNet((48, 64, 1)))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (2, 48, 64, 1)).astype("float32")


@pytest.fixture(scope="module")
def graphs(model):
    return {style: deployment_graph(model, style) for style in STYLES}


def outputs_one_by_one(graph, images):
    # Not `predict`, see `equalize`: a graph's fused leaky ReLU has a wrong slope.
    rows = [graph(image[None], training=False) for image in images]
    return {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}


def assert_equal(graph, model, images, tolerance=1e-4, offset=0):
    expected = model.predict_on_batch(images)
    found = outputs_one_by_one(graph, images + offset)
    assert found.keys() == expected.keys() == {"mask", "class"}
    assert expected["mask"].std() > 0.02
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], rtol=0, atol=tolerance)


@pytest.mark.parametrize("style", STYLES)
def test_equals_the_model(style, graphs, model, images):
    assert_equal(graphs[style], model, images)


# 1/8 of 64 rows takes every dilation apart, 1/8 of 48 only some.
@pytest.mark.parametrize("shape", [(64, 48, 1), (48, 64, 1)])
def test_the_graph_for_npus_equals_the_model(shape):
    model = randomize_weights(EFSNet(shape))
    images = np.random.default_rng(1).integers(0, 256, (2, *shape)).astype("float32")
    graph = npu_graph(model)
    kinds = {type(layer).__name__ for layer in graph.layers}
    assert not kinds & {"DepthToSpace", "DepthwiseConv2D", "Rescaling"}
    # The padding around the image has another grey.
    assert_equal(graph, model, images, tolerance=2e-3, offset=-MIDDLE_GREY)
    equalize(graph, images - MIDDLE_GREY)
    assert_equal(graph, model, images, tolerance=2e-3, offset=-MIDDLE_GREY)


def test_the_graph_for_int8_equals_the_model(model, images):
    graph = int8_graph(model)
    # The padding around the image has another grey.
    assert_equal(graph, model, images, tolerance=2e-3)
    equalize(graph, images)
    assert_equal(graph, model, images, tolerance=2e-3)


def test_an_int8_file_keeps_every_grey(model):
    frames = np.stack([np.full((48, 64), grey, np.uint8) for grey in (0, 255)])
    interpreter = Interpreter(
        model_content=convert(model, "int8", frames),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    greys = np.resize(np.arange(256, dtype=np.uint8), (1, 48, 64, 1))
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], greys)
    interpreter.invoke()
    images = [
        tensor
        for tensor in interpreter.get_tensor_details()
        if tensor["shape"].tolist() == [1, 48, 64, 1] and "rescaling" in tensor["name"]
    ]
    assert images
    for tensor in images:
        found = interpreter.get_tensor(tensor["index"])
        assert len(np.unique(found)) == 256, tensor["name"]


# 8 to 24 channels at half size: other numbers of columns are folded; 6 are 3 x 2.
@pytest.mark.parametrize(("width", "shape"), [(0.5, (16, 24, 1)), (1.5, (24, 16, 1))])
def test_equals_models_of_other_widths(width, shape):
    model = randomize_weights(EFSNet(shape, width=width), seed=3)
    images = np.random.default_rng(2).integers(0, 256, (2, *shape)).astype("float32")
    assert_equal(deployment_graph(model, "dense"), model, images)


@pytest.mark.parametrize("style", STYLES)
def test_is_made_of_layers_that_run_fast(style, graphs):
    graph = graphs[style]
    allowed = {
        *("InputLayer", "Rescaling", "Conv2D", "MaxPooling2D", "LeakyReLU", "ReLU"),
        *("Add", "Concatenate", "UpSampling2D", "DepthToSpace", "Activation"),
        *("GlobalAveragePooling2D", "Dense"),
        *(("DepthwiseConv2D",) if style == "lean" else ("Reshape",)),
    }
    assert {type(layer).__name__ for layer in graph.layers} == allowed
    groups = {getattr(layer, "groups", 1) for layer in graph.layers}
    assert groups == ({1, 2} if style == "lean" else {1})


def test_a_model_of_any_size_becomes_one_of_256():
    graph = deployment_graph(EFSNet((None, None, 1), width=0.5))
    assert graph.input_shape == (1, 256, 256, 1)
    assert graph.output["mask"].shape == (1, 256, 256, 1)


def test_other_layers_are_copied():
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(2, 3)(image))
    x = keras.layers.Dropout(0.5)(x)
    weighted = x * keras.ops.sigmoid(x)
    mask = keras.layers.Conv2DTranspose(1, 3, name="mask")(weighted)
    label = keras.layers.GlobalMaxPooling2D(name="class")(x)
    model = keras.Model(image, {"mask": mask, "class": label})
    assert_equal(deployment_graph(model), model, noise(2, 8, 8, 1))


def test_other_backends_are_refused(model, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="KERAS_BACKEND=tensorflow"):
        deployment_graph(model)


@pytest.mark.parametrize(
    ("kernel", "stride"), [((3, 3), 1), ((1, 1), 1), ((3, 1), 1), ((3, 3), 2)]
)
def test_folded_columns_are_the_same_convolution(kernel, stride):
    x, weights = noise(1, 8, 16, 3), Weights(noise(*kernel, 3, 2), noise(2))
    expected = keras.ops.conv(x, weights.kernel, stride, "same") + weights.bias
    folded = fold_columns(weights, columns=4, stride=stride)
    y = keras.ops.conv(
        x.reshape(1, 8, 16 // (4 * stride), -1),
        folded.kernel.astype("float32"),
        (stride, 1),
        "same",
    )
    y = keras.ops.reshape(y + folded.bias.astype("float32"), expected.shape)
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_equalizing_changes_ranges_and_not_the_outputs(model, images):
    expected = model.get_weights()
    graph = deployment_graph(model, "dense")
    equalize(graph, images)
    for weight, old in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(weight, old)
    assert_equal(graph, model, images)
    # Each has its channels to itself; those of residual sums share theirs with others.
    for name in ("factorized_1_vertical", "csdc_1_1_dilate", "shuffle_2_1_reduce"):
        inner = keras.Model(graph.input, graph.get_layer(name).output)
        outputs = np.concatenate([inner(image[None]) for image in images])
        largest = np.abs(outputs).max(axis=(0, 1, 2))
        assert largest.max() == pytest.approx(1, abs=1e-3), name
        assert largest.min() > 0.15, name


@pytest.mark.parametrize("leaky", [True, False])
def test_the_plain_graph_equals_the_model(leaky, model, images):
    assert_equal(plain_graph(model, leaky), model, images)


@pytest.fixture(scope="module", params=preset_names())
def shipped(request):
    """A preset's model, and images of its size."""
    model = EFSNet.from_preset(request.param)
    size = model.input_shape[1:3]
    frames = [make_phantom(label, 5, size).image for label in LABELS[1:]]
    return model, np.stack(frames)[..., None].astype("float32")


@pytest.mark.parametrize("style", STYLES)
def test_equals_the_shipped_model(shipped, style):
    model, images = shipped
    assert_equal(deployment_graph(model, style), model, images)
