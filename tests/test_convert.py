"""The four files: one contract, built-in operators, numbers close to the model's."""

import hashlib
import json

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from checks import randomize_weights
from keras_efsnet import EFSNet
from keras_efsnet.images.grey import resize_image
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom, write_phantoms
from keras_efsnet.prediction.litert import LiteModel
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.prediction.sandbox import description_path
from keras_efsnet.tflite import convert as convert_module
from keras_efsnet.tflite.bias_correction import correct_class_bias
from keras_efsnet.tflite.convert import (
    CONVERTED,
    convert,
    export_files,
    representative_images,
)
from keras_efsnet.tflite.flatbuffer import (
    add_to_class_bias,
    check_operators,
    count_macs,
    list_operators,
)
from keras_efsnet.training.datasets.reading import read_dataset

if keras.backend.backend() != "tensorflow":
    pytest.skip("TFLite files are made on TensorFlow", allow_module_level=True)

SIZE = (48, 64)
RULES = Postprocess(minimum_lesion_fraction=0.01)
TOLERANCE = {
    "float32": 1e-4,
    "float16": 5e-3,
    "dynamic": 0.05,
    "int8": 0.15,
    "int8-full": 0.15,
}


@pytest.fixture(scope="module")
def model():
    return randomize_weights(EFSNet((*SIZE, 1)))


@pytest.fixture(scope="module")
def images():
    """uint8 (6, 48, 64): two phantoms of each class."""
    phantoms = [make_phantom(LABELS[i % 3], seed=i) for i in range(6)]
    return np.stack([resize_image(phantom.image, SIZE) for phantom in phantoms])


@pytest.fixture(scope="module")
def representative(images):
    frames = np.zeros((2, *SIZE), np.uint8)
    frames[1] = 255
    return np.concatenate([frames, images])


@pytest.fixture(scope="module")
def files(model, representative, tmp_path_factory):
    out = tmp_path_factory.mktemp("files")
    return export_files(
        model,
        [*CONVERTED, "int8"],
        out / "made",
        representative=representative,
        name="tiny",
        rules=RULES,
    )


def test_an_export_writes_each_file_and_its_description_only(files):
    written = {path.name for path in files["int8"].parent.iterdir()}
    names = [f"model_{kind}.tflite" for kind in CONVERTED]
    assert written == {*names, *(f"{name}.json" for name in names)}


@pytest.mark.parametrize("kind", CONVERTED)
def test_outputs_are_those_of_the_model(kind, files, model, images):
    expected = model.predict_on_batch(images[..., None].astype("float32"))
    found = LiteModel(files[kind])(images[..., None])
    for key in ("mask", "class"):
        assert found[key].dtype == np.float32
        error = np.abs(found[key] - expected[key])
        assert error.max() < TOLERANCE[kind], key
        assert error.mean() < TOLERANCE[kind] / 10, key
    assert (found["class"].argmax(-1) == expected["class"].argmax(-1)).all()


@pytest.mark.parametrize("kind", CONVERTED)
def test_the_description_tells_what_the_file_takes_and_gives(kind, files):
    facts = json.loads(description_path(files[kind]).read_text(encoding="utf-8"))
    content = files[kind].read_bytes()
    assert facts["sha256"] == hashlib.sha256(content).hexdigest()
    assert (facts["name"], facts["kind"]) == ("tiny", kind)
    assert facts["image"]["shape"] == facts["mask"]["shape"] == [1, *SIZE, 1]
    assert facts["class"]["shape"] == [1, 3]
    assert facts["class"]["labels"] == list(LABELS)
    assert facts["postprocess"] == RULES.to_json()
    assert facts["tasks"] == ["mask", "class"]
    if kind == "int8":
        assert facts["image"]["type"] == "uint8"
        assert facts["image"]["scale"] == pytest.approx(1, abs=1e-3)
        assert facts["image"]["zero_point"] == 0
    elif kind == "int8-full":
        assert facts["image"]["type"] == "int8"
        assert facts["image"]["range"] == [-128, 127]
        assert facts["image"]["scale"] == pytest.approx(1, abs=1e-3)
        for name in ("mask", "class"):
            assert facts[name]["type"] == "int8"
            assert facts[name]["scale"] == 1 / 256
            assert facts[name]["zero_point"] == -128
    else:
        assert facts["image"]["type"] == "float32"
        assert "scale" not in facts["image"]


@pytest.mark.parametrize("kind", CONVERTED)
def test_operators_are_built_in_and_fast(kind, files):
    operators = list_operators(files[kind].read_bytes())
    common = {
        *("ADD", "CONCATENATION", "CONV_2D", "FULLY_CONNECTED", "LEAKY_RELU"),
        *("LOGISTIC", "MAX_POOL_2D", "MEAN", "RESIZE_BILINEAR", "SOFTMAX"),
    }
    for_cpus = {"DEPTH_TO_SPACE", "MUL"}
    # An int8 file moves the image by an addition, which keeps all greys.
    own = {
        "float32": {"DEPTHWISE_CONV_2D"} | for_cpus,
        "float16": {"DEPTHWISE_CONV_2D", "DEQUANTIZE"} | for_cpus,
        "dynamic": {"DEPTHWISE_CONV_2D"} | for_cpus,
        "int8": {"RESHAPE", "QUANTIZE", "DEQUANTIZE", "DEPTH_TO_SPACE"},
        "int8-full": {"RESHAPE", "TRANSPOSE_CONV"},
    }
    assert set(operators) == common | own[kind]


def test_int8_is_small_and_its_probabilities_are_not_rounded(files, images):
    content = files["int8"].read_bytes()
    assert len(content) < 360 * 1024
    operators = list_operators(content)
    for name in ("LOGISTIC", "SOFTMAX"):
        assert "DEQUANTIZE" in operators[: operators.index(name)]
    mask = LiteModel(files["int8"])(images[..., None])["mask"]
    steps = mask[(mask > 0.3) & (mask < 0.7)] * 256
    assert np.abs(steps - np.rint(steps)).max() > 0.1


def test_the_mean_error_of_the_int8_class_logits_is_removed(
    files, model, representative, tmp_path
):
    def logits(probabilities):
        logs = np.log(probabilities)
        return logs - logs.mean(-1, keepdims=True)

    def mean_error(content, path):
        path.write_bytes(content)
        found = np.concatenate([LiteModel(path)(frame)["class"] for frame in frames])
        return (logits(found) - logits(expected)).mean(0)

    frames = representative[:, None, :, :, None]
    expected = model.predict(representative[..., None].astype("float32"))["class"]
    path = tmp_path / "model_int8.tflite"
    wrong = np.array([0.04, 0.02, -0.06])
    biased = add_to_class_bias(files["int8"].read_bytes(), wrong)
    np.testing.assert_allclose(mean_error(biased, path), wrong, atol=0.015)
    corrected = correct_class_bias(biased, frames[:, 0], expected)
    np.testing.assert_allclose(mean_error(corrected, path), 0, atol=0.01)
    made = mean_error(files["int8"].read_bytes(), path)
    np.testing.assert_allclose(made, 0, atol=0.01)


def test_weights_are_aligned_and_tensors_named_after_layers(files):
    content = files["int8"].read_bytes()
    start = np.frombuffer(content, np.uint8).ctypes.data
    model = schema.Model.GetRootAs(content, 0)
    buffers = [model.Buffers(i) for i in range(model.BuffersLength())]
    arrays = [b.DataAsNumpy() for b in buffers if b.DataLength()]
    assert len(arrays) > 50
    assert {(array.ctypes.data - start) % 16 for array in arrays} == {0}
    graph = model.Subgraphs(0)
    names = {graph.Tensors(i).Name().decode() for i in range(graph.TensorsLength())}
    assert {"image", "mask", "class"} < names
    assert any(name.startswith("csdc_1_1_dilate") for name in names)


@pytest.mark.parametrize("kind", CONVERTED)
def test_each_tensor_has_a_name_of_its_own(kind, files):
    graph = schema.Model.GetRootAs(files[kind].read_bytes(), 0).Subgraphs(0)
    names = [graph.Tensors(i).Name() for i in range(graph.TensorsLength())]
    assert len(set(names)) == len(names)


def test_an_interrupted_export_leaves_the_folder_as_it_was(
    files, model, tmp_path, monkeypatch
):
    def fail_at_float16(model, kind, representative):
        if kind == "float16":
            raise KeyboardInterrupt
        return files[kind].read_bytes()

    older = tmp_path / "model_float32.tflite"
    older.write_bytes(b"older")
    monkeypatch.setattr(convert_module, "convert", fail_at_float16)
    with pytest.raises(KeyboardInterrupt):
        export_files(model, ["float32", "float16"], tmp_path, name="tiny")
    assert [path.name for path in tmp_path.iterdir()] == [older.name]
    assert older.read_bytes() == b"older"


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (None, "got none"),
        (np.zeros((2, 48, 64), np.float32), "must be uint8"),
        (np.zeros((2, 64, 64), np.uint8), r"\(n, 48, 64\)"),
        (np.zeros((2, 48, 64), np.uint8), "black and a white"),
    ],
)
def test_unfit_representative_images_are_refused(frames, reason, model):
    with pytest.raises(ValueError, match=reason):
        convert(model, "int8", frames)


def test_unknown_kinds_are_refused_before_any_work(model, tmp_path):
    with pytest.raises(ValueError, match="dynamic, int8, int8-full, got int4"):
        export_files(model, ["float32", "int4"], tmp_path / "out", name="tiny")
    assert not (tmp_path / "out").exists()


def test_slow_operators_are_refused():
    import tensorflow as tf

    image = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(2, 3, padding="same", dilation_rate=2)(image)
    model = keras.Model(image, keras.layers.Reshape((16, 32))(x))
    function = tf.function(model).get_concrete_function(
        tf.TensorSpec((None, 16, 16, 1))
    )
    module = tf.Module()
    module.model = model
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    with pytest.raises(ValueError, match="must not need .*SHAPE"):
        check_operators(converter.convert())


def test_representative_images_are_stratified_and_seeded(tmp_path):
    counts = {"normal": 1, "benign": 3, "malignant": 2}
    samples = read_dataset(write_phantoms(tmp_path, counts, seed=0))
    frames = representative_images(samples, (32, 40), per_class=2, seed=1)
    assert frames.shape == (2 + 1 + 2 + 2, 32, 40)
    assert frames.dtype == np.uint8
    assert (frames[0] == 0).all()
    assert (frames[1] == 255).all()
    again = representative_images(samples, (32, 40), per_class=2, seed=1)
    np.testing.assert_array_equal(frames, again)
    other = representative_images(samples, (32, 40), per_class=2, seed=2)
    assert (frames[3:] != other[3:]).any()
    one = representative_images(samples, (32, 40), per_class=1, seed=1)
    np.testing.assert_array_equal(one, frames[[0, 1, 2, 3, 5]])
    with pytest.raises(ValueError, match="at least 1, got 0"):
        representative_images(samples, (32, 40), per_class=0, seed=1)


def test_multiply_accumulates_of_a_large_network():
    import tensorflow as tf

    image = keras.Input((1024, 1024, 32), batch_size=1)
    layer = keras.layers.Conv2D(128, 3, padding="same", use_bias=False)
    network = keras.Model(image, layer(image))
    function = tf.function(network).get_concrete_function(
        tf.TensorSpec(image.shape, "float32")
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], network)
    assert count_macs(converter.convert()) == 1024**2 * 3 * 3 * 32 * 128
