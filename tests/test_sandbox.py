"""Files that would end the process, or take all of its memory, are refused."""

import hashlib
import json

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from keras_efsnet.models.presets import DEFAULT_MODEL, PRESETS
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.prediction.sandbox import check_file, description_path


def edited(kind, change):
    """A shipped file's content after `change` of its unpacked graph."""
    content = (PRESETS / DEFAULT_MODEL / f"model_{kind}.tflite").read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    change(model.subgraphs[0])
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def make_scale_huge(graph):
    """LiteRT aborts."""
    (output,) = graph.operators[0].outputs
    quantization = graph.tensors[output].quantization
    quantization.scale = quantization.scale * 1e30


def make_weights_huge(graph):
    """LiteRT cannot prepare the convolutions."""
    for tensor in graph.tensors:
        if tensor.quantization and np.size(tensor.quantization.scale) > 1:
            tensor.quantization.scale = tensor.quantization.scale * 1e30


def write_to_weights(graph):
    """LiteRT reads memory that is not there."""
    weights = graph.operators[10].inputs[1]
    for operator, tensors in ((10, "outputs"), (11, "inputs")):
        indices = list(getattr(graph.operators[operator], tensors))
        setattr(graph.operators[operator], tensors, [weights, *indices[1:]])


def make_image_huge(graph):
    """The image alone would take 32 GiB."""
    for tensor in graph.tensors:
        if tensor.shape is not None and list(tensor.shape) == [1, 256, 256, 1]:
            tensor.shape = np.int32([1, 2**25, 256, 1])


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("int8", make_scale_huge),
        ("int8", make_weights_huge),
        ("float32", write_to_weights),
        ("float32", make_image_huge),
    ],
)
def test_a_file_that_cannot_run_is_refused(tmp_path, kind, change):
    path = tmp_path / "wild.tflite"
    path.write_bytes(edited(kind, change))
    with pytest.raises(ValueError, match=r"wild\.tflite: not a \.tflite file that"):
        load_predictor(path)


def test_a_crash_in_the_trial_is_told_from_an_error(tmp_path):
    with pytest.raises(ValueError, match="its trial in another process crashed"):
        check_file(tmp_path / "wild.tflite", edited("int8", make_scale_huge))


def describe(path, digest):
    description_path(path).write_text(json.dumps({"sha256": digest}))


def test_a_described_file_needs_no_trial(lite_file, monkeypatch):
    describe(lite_file, hashlib.sha256(lite_file.read_bytes()).hexdigest())
    monkeypatch.setattr("subprocess.run", None)
    assert load_predictor(lite_file).size == (64, 64)


def test_a_file_other_than_the_described_one_is_refused(lite_file):
    describe(lite_file, hashlib.sha256(b"another").hexdigest())
    with pytest.raises(
        ValueError, match=r"tiny\.tflite: not the file that tiny\.tflite\.json desc"
    ):
        load_predictor(lite_file)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '"sha256"'])
def test_a_damaged_description_is_named(lite_file, text):
    description_path(lite_file).write_text(text)
    with pytest.raises(ValueError, match=r"tiny\.tflite\.json: no description of"):
        load_predictor(lite_file)


@pytest.mark.slow
def test_a_file_that_never_ends_is_refused(tmp_path):
    tf = pytest.importorskip("tensorflow")

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 1), tf.float32)])
    def halve_until_negative(image):
        is_left = lambda x: tf.reduce_min(x) >= 0  # noqa: E731
        return tf.while_loop(is_left, lambda x: [x * 0.5], [image])

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [halve_until_negative.get_concrete_function()], tf.Module()
    )
    with pytest.raises(ValueError, match="took too long or too much memory"):
        check_file(tmp_path / "endless.tflite", converter.convert())
