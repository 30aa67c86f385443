"""Converts models to ONNX through their float32 `.tflite` file.

So the ONNX file is the deployment graph too. From there, tf2onnx writes no transposes.
The rewrites here change the result by rounding at most: they are for the speed of ONNX
Runtime, whose convolutions are fast only if the maps between them keep its blocked
layout ("NCHWc"), and for runtimes that have fewer operators.
"""

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tf2onnx

from keras_efsnet import __version__
from keras_efsnet.files import write_whole
from keras_efsnet.labels import LABELS
from keras_efsnet.tflite.convert import convert

OPSET = 17
"""Read by ONNX Runtime since 1.13 and the runtimes of docs/reference/deployment.md."""


def write_onnx(model: keras.Model, path: Path, labels: Sequence[str] = LABELS) -> None:
    """Writes a trained model as ONNX, for one image of a fixed size.

    Args:
        path: the file, with input `image`, float32 `(1, height, width, 1)` in [0, 255],
            and outputs `mask` and `class`, as in `keras_efsnet.tflite.convert`.
        labels: the names of the classes, for the file's metadata.

    Raises:
        OSError: the file cannot be written.
        ValueError: Keras does not run on TensorFlow.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.tflite")
        file.write_bytes(convert(model, "float32"))
        with _quiet():
            converted, _ = tf2onnx.convert.from_tflite(str(file), opset=OPSET)
    converted = onnx.shape_inference.infer_shapes(converted)
    _rescale_plane(converted.graph)
    _shuffle_pixels(converted.graph)
    _keep_layout(converted.graph)
    del converted.graph.value_info[:]  # shapes of tensors that changed
    facts = {"version": __version__, "labels": json.dumps(labels)}
    onnx.helper.set_model_props(converted, facts)
    onnx.checker.check_model(converted, full_check=True)
    write_whole(path, lambda part: onnx.save(converted, part))


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides tf2onnx's progress and its warnings about old interfaces."""
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _rescale_plane(graph: Any) -> None:
    """Moves the rescaling of the image behind its reshape to `(1, 1, height, width)`.

    ONNX Runtime takes a millisecond to multiply a map whose last axis is 1.
    """
    multiply, add, reshape = graph.node[:3]
    if [multiply.op_type, add.op_type, reshape.op_type] != ["Mul", "Add", "Reshape"]:
        return
    image, plane = multiply.input[0], "image_plane"
    reshape.input[0], multiply.input[0] = image, plane
    add.output[0], reshape.output[0] = reshape.output[0], plane
    _replace_nodes(graph, [reshape, multiply, add, *graph.node[3:]])


def _shuffle_pixels(graph: Any) -> None:
    """Orders the channels of each depth-to-space as PyTorch's PixelShuffle does.

    ncnn has only this order. The convolution before it changes its outputs' order.
    """
    makers = {output: node for node in graph.node for output in node.output}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "DepthToSpace"]:
        conv = makers[node.input[0]]
        while conv.op_type != "Conv":
            conv = makers[conv.input[0]]
        blocks = node.attribute[0].i ** 2
        for name in conv.input[1:]:
            values = onnx.numpy_helper.to_array(weights[name])
            order = np.arange(len(values)).reshape(blocks, -1).T.ravel()
            moved = onnx.numpy_helper.from_array(values[order], name)
            weights[name].CopyFrom(moved)
        node.attribute.append(onnx.helper.make_attribute("mode", "CRD"))


def _keep_layout(graph: Any) -> None:
    """Puts an identity before each leaky ReLU that follows no convolution.

    ONNX Runtime computes a leaky ReLU in its blocked layout only as a part of a
    convolution. The identity, a depthwise 1x1 convolution, is cheaper than to change
    the layout twice.
    """
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in graph.value_info
    }
    makers = {output: node.op_type for node in graph.node for output in node.output}
    nodes: list[Any] = []
    weights: dict[str, np.ndarray] = {}
    for node in graph.node:
        before = node.input[0] if node.input else ""
        if node.op_type == "LeakyRelu" and makers[before] != "Conv":
            channels = shapes[before][1]
            weights[f"identity_{channels}"] = np.ones((channels, 1, 1, 1), np.float32)
            node.input[0] = f"{before}_same"
            nodes.append(
                onnx.helper.make_node(
                    "Conv",
                    [before, f"identity_{channels}"],
                    [node.input[0]],
                    group=channels,
                    kernel_shape=(1, 1),
                )
            )
        nodes.append(node)
    _replace_nodes(graph, nodes)
    graph.initializer.extend(
        onnx.numpy_helper.from_array(values, name) for name, values in weights.items()
    )


def _replace_nodes(graph: Any, nodes: Sequence[Any]) -> None:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
