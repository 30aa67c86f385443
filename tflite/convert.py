"""Converts models to `.tflite` files of four types with the same input and outputs.

Each file has one signature, `serving_default`, from `image` `(1, height, width, 1)` in
[0, 255] to `mask` `(1, height, width, 1)` and `class` `(1, classes)`, both float32
probabilities. `image` is float32, or uint8 with scale 1 and zero point 0 in int8 files.
In the file for NPUs, `image` is int8, the grey value minus 128, and the outputs are
int8.
"""

import json
import logging
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_efsnet import __version__
from keras_efsnet.images.grey import Size, resize_image
from keras_efsnet.images.reading import read_image
from keras_efsnet.labels import LABELS
from keras_efsnet.models.efsnet import EFSNet
from keras_efsnet.models.presets import KINDS, file_digest
from keras_efsnet.prediction.litert import MIDDLE_GREY
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.prediction.sandbox import description_path
from keras_efsnet.tflite.bias_correction import correct_class_bias
from keras_efsnet.tflite.deploy import Style, deployment_graph
from keras_efsnet.tflite.equalize import equalize
from keras_efsnet.tflite.flatbuffer import check_operators, tidy
from keras_efsnet.tflite.int8_graph import int8_graph
from keras_efsnet.tflite.npu_graph import npu_graph
from keras_efsnet.training.datasets.sample import Sample, order_labels

STYLES: Mapping[str, Style] = {
    "float32": "lean",
    "float16": "lean",
    "dynamic": "lean",
    "int8": "dense",
}
"""The fastest style of deployment graph for each kind, but see `graph_of`."""

FULL = "int8-full"
"""The kind for NPUs and microcontrollers: its outputs are int8 too."""

CONVERTED = (*KINDS, FULL)
QUANTIZED = ("int8", FULL)

BLACK, WHITE = 0, 255
PREDICTED_AT_ONCE = 8

_log = logging.getLogger(__name__)


def convert(
    model: keras.Model, kind: str, representative: np.ndarray | None = None
) -> bytes:
    """Converts a trained EFSNet to a `.tflite` file's content.

    Args:
        kind: one of `CONVERTED`.
        representative: calibration images for the kinds in `QUANTIZED`, uint8 `(n,
            height, width)` of the network's size, with a black and a white one; see
            `representative_images`.

    Raises:
        ValueError: the kind is unknown, its images are missing or wrong, the model for
            "int8-full" is not an EFSNet, or Keras does not run on TensorFlow.
    """
    _check_kind(kind)
    graph = graph_of(model, kind)
    if kind not in QUANTIZED:
        return convert_graph(graph, kind)
    frames = to_frames(representative, graph.input_shape[1:3])
    equalize(graph, _inputs(kind, frames))
    content = convert_graph(graph, kind, representative)
    return match_classes(content, model, frames)


def graph_of(model: keras.Model, kind: str) -> keras.Model:
    """Gives the inference graph that a kind of file is made of; see `convert`."""
    if kind == FULL:
        require_efsnet(model, kind)
        return npu_graph(model)
    if kind == "int8" and isinstance(model, EFSNet):
        return int8_graph(model)
    return deployment_graph(model, STYLES[kind])


def require_efsnet(model: keras.Model, kind: str) -> None:
    """Raises ValueError for another network, whose layers a kind does not support."""
    if not isinstance(model, EFSNet):
        raise ValueError(
            f"{kind} is for EFSNet, and this model is {model.name}; leave the kind out."
        )


def match_classes(content: bytes, model: keras.Model, frames: np.ndarray) -> bytes:
    """Corrects an int8 file's class logits to the mean of the model's on `frames`."""
    expected = model.predict(frames, batch_size=PREDICTED_AT_ONCE, verbose=0)
    return correct_class_bias(content, frames, expected["class"])


def convert_graph(
    graph: keras.Model, kind: str, representative: np.ndarray | None = None
) -> bytes:
    """Converts a graph for one image of a fixed size, as it is; see `convert`."""
    _check_kind(kind)
    function, module = _freeze(graph)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind in QUANTIZED:
        frames = _inputs(kind, to_frames(representative, graph.input_shape[1:3]))
        converter.representative_dataset = lambda: ({"image": f[None]} for f in frames)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8 if kind == FULL else tf.uint8
        converter.inference_output_type = tf.int8 if kind == FULL else tf.float32
    with warnings.catch_warnings():
        # The converter warns about its own old interface and interpreter.
        warnings.filterwarnings("ignore", module=r"tensorflow\.lite\.")
        content = tidy(converter.convert())
    check_operators(content)
    return content


def representative_images(
    samples: Sequence[Sample], size: Size, per_class: int, seed: int
) -> np.ndarray:
    """Draws training images to calibrate an int8 file.

    Args:
        samples: training samples; none of validation or test.
        size: the network's `(height, width)`.
        per_class: largest number of images of each class.

    Returns:
        uint8 `(n, height, width)`: a black and a white frame, so that the input covers
        all grey values, then the images by class.

    Raises:
        OSError, ValueError: an image cannot be read, or `per_class` is below 1.
    """
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1, got {per_class}.")
    rng = np.random.default_rng(seed)
    frames = [np.full(size, grey, np.uint8) for grey in (BLACK, WHITE)]
    classes: list[str | None] = [*LABELS]
    classes += [label for label in order_labels(samples) if label not in LABELS]
    for label in (*classes, None):
        members = [sample for sample in samples if sample.label == label]
        for i in rng.permutation(len(members))[:per_class]:
            frames.append(resize_image(read_image(members[i].image), size))
    return np.stack(frames)


def export_files(
    model: keras.Model,
    kinds: Iterable[str],
    out: str | Path,
    *,
    representative: np.ndarray | None = None,
    name: str,
    rules: Postprocess | None = None,
) -> dict[str, Path]:
    """Writes `model_<kind>.tflite` and its description, `model_<kind>.tflite.json`.

    Files move to `out` when all are made: an interrupted export does not change `out`.

    Args:
        model: an EFSNet.
        kinds: one or more of `CONVERTED`.
        out: folder, made if it is missing.
        representative: as in `convert`.
        name: the model's name (its preset) for the descriptions.
        rules: the model's postprocess for the descriptions.

    Returns:
        The `.tflite` file of each kind.

    Raises:
        OSError: `out` cannot be written.
        ValueError: see `convert`.
    """
    kinds = list(dict.fromkeys(kinds))
    for kind in kinds:
        _check_kind(kind)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".export-") as part:
        for kind in kinds:
            content = convert(model, kind, representative)
            file = Path(part, f"model_{kind}.tflite")
            write_described(file, content, kind, name, rules)
            _log.info("%s: %.0f KiB", file.name, len(content) / 1024)
        for file in sorted(Path(part).iterdir()):
            file.replace(out / file.name)
    return {kind: out / f"model_{kind}.tflite" for kind in kinds}


def write_described(
    file: Path, content: bytes, kind: str, name: str, rules: Postprocess | None = None
) -> None:
    """Writes a `.tflite` file and its description."""
    file.write_bytes(content)
    text = json.dumps(describe(content, kind, name, rules), indent=2)
    description_path(file).write_text(text + "\n", encoding="utf-8")


def describe(
    content: bytes, kind: str, name: str, rules: Postprocess | None = None
) -> dict[str, Any]:
    """Describes a file for programs that use it, with its hash.

    A model without classes has no `labels`: its output `class` means nothing.
    """
    rules = rules or Postprocess()
    runner = Interpreter(model_content=content).get_signature_runner("serving_default")
    tensors = {**runner.get_input_details(), **runner.get_output_details()}
    shapes = {key: tensor["shape"].tolist() for key, tensor in tensors.items()}
    types = {key: np.dtype(tensor["dtype"]).name for key, tensor in tensors.items()}

    def rounding(key: str) -> dict[str, Any]:
        scale, zero_point = tensors[key]["quantization"]
        return {"scale": scale, "zero_point": zero_point} if scale else {}

    middle, minus = 0, ""
    if types["image"] == "int8":
        middle, minus = MIDDLE_GREY, f", minus {MIDDLE_GREY}"
    return {
        "name": name,
        "kind": kind,
        "version": __version__,
        "licence": "Apache-2.0",
        "sha256": file_digest(content),
        "signature": "serving_default",
        "image": {
            "type": types["image"],
            "shape": shapes["image"],
            "range": [BLACK - middle, WHITE - middle],
            "meaning": "grey values, black to white" + minus,
            **rounding("image"),
        },
        "mask": {
            "type": types["mask"],
            "shape": shapes["mask"],
            "range": [0, 1],
            "meaning": "probability of lesion; cut above 0.5",
            **rounding("mask"),
        },
        "class": {
            "type": types["class"],
            "shape": shapes["class"],
            "range": [0, 1],
            "meaning": "probability of each label",
            **rounding("class"),
            "labels": list(rules.labels),
        },
        "tasks": list(rules.tasks),
        "postprocess": rules.to_json(),
    }


def _check_kind(kind: str) -> None:
    if kind not in CONVERTED:
        raise ValueError(f"kind must be one of {', '.join(CONVERTED)}, got {kind}.")


def _freeze(graph: keras.Model) -> tuple[Any, tf.Module]:
    """Makes a concrete function with the graph's weights as constants."""
    shape = graph.input_shape
    values = [(variable, variable.numpy()) for variable in graph.variables]

    def serve(image: Any) -> Any:
        constants = [(variable, tf.constant(value)) for variable, value in values]
        with keras.StatelessScope(state_mapping=constants):
            return graph(image, training=False)

    signature = [tf.TensorSpec(shape, tf.float32, name="image")]
    module = tf.Module()
    module.serve = tf.function(serve, input_signature=signature)
    return module.serve.get_concrete_function(), module


def _inputs(kind: str, frames: np.ndarray) -> np.ndarray:
    """Gives representative images as a kind's graph takes them."""
    return frames - MIDDLE_GREY if kind == FULL else frames


def to_frames(frames: np.ndarray | None, size: Size) -> np.ndarray:
    """Checks representative images; gives them as float32 `(n, height, width, 1)`."""
    if frames is None or len(frames) == 0:
        raise ValueError("an int8 file needs representative images, got none.")
    if frames.dtype != np.uint8 or frames.shape[1:] != size:
        raise ValueError(
            f"representative images must be uint8 (n, {size[0]}, {size[1]}), got "
            f"{frames.dtype} {frames.shape}; use resize_image."
        )
    if frames.min() != BLACK or frames.max() != WHITE:
        raise ValueError(
            "representative images must include a black and a white frame, so that the "
            f"uint8 input covers 0 to 255; got [{frames.min()}, {frames.max()}]."
        )
    return frames[..., None].astype(np.float32)
