"""Converts EFSNet without rewrites, as the baseline of the deployment graph.

It has native grouped, depthwise and transposed convolutions, and shuffles as reshape
and transpose. Only the variables are frozen and the shape is fixed.
"""

from collections.abc import Sequence
from functools import partial, singledispatch
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_efsnet.images.grey import Size
from keras_efsnet.labels import LABELS
from keras_efsnet.models import activations, convolutions, layers
from keras_efsnet.models.presets import find_model
from keras_efsnet.models.saving import load_keras_model
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.tflite.benchmark_process import Contender
from keras_efsnet.tflite.convert import convert_graph, write_described
from keras_efsnet.tflite.graph_copy import copy_graph, copy_layer

KINDS = ("float32", "int8")
CALIBRATION_PHANTOMS = 8
"""Phantoms of each class; value ranges do not change the speed."""


def write_plain_files(model: keras.Model, folder: Path) -> dict[str, Path]:
    """Converts an EFSNet without rewrites and writes the files to a folder.

    Returns:
        The files by name: "plain float32" and "plain int8".
    """
    files = {}
    for kind in KINDS:
        graph = plain_graph(model, leaky=kind == "int8")
        frames = calibration_frames(graph.input_shape[1:3])
        name = f"plain {kind}"
        files[name] = folder / f"plain_{kind}.tflite"
        # With a description, it starts like our files, without a trial.
        write_described(files[name], convert_graph(graph, kind, frames), kind, name)
    return files


def plain_contenders(
    model: str | Path, folder: Path, threads: Sequence[int]
) -> list[Contender]:
    """Converts a Keras model without rewrites and lists the files as contenders.

    Args:
        model: a preset or a `.keras` file.
        folder: where the files are written.
        threads: numbers of CPU threads; 1 if empty.
    """
    files = write_plain_files(load_keras_model(find_model(model).keras_file), folder)
    return [
        Contender(name, file, number)
        for name, file in files.items()
        for number in dict.fromkeys(threads) or [1]
    ]


def calibration_frames(size: Size) -> np.ndarray:
    """Makes a black frame, a white frame and phantoms, uint8 `(n, height, width)`."""
    phantoms = [
        make_phantom(label, seed, size).image
        for label in LABELS
        for seed in range(CALIBRATION_PHANTOMS)
    ]
    return np.stack([np.full(size, grey, np.uint8) for grey in (0, 255)] + phantoms)


def plain_graph(model: keras.Model, leaky: bool) -> keras.Model:
    """Replaces each layer of an EFSNet with Keras's own layers.

    Args:
        leaky: uses leaky ReLU for PReLU, which has no fast int8 kernel in LiteRT.
    """
    return copy_graph(model, partial(_copy, leaky=leaky))


@singledispatch
def _copy(layer: Any, *args: Any, leaky: bool, **kwargs: Any) -> Any:
    return copy_layer(layer, *args, **kwargs)


@_copy.register
def _(layer: layers.InitialBlock, x: Any, *, leaky: bool) -> Any:
    features = _conv_norm(x, layer.conv, leaky)
    pooled = keras.layers.MaxPooling2D(2)(x)
    return keras.layers.Concatenate(name=layer.name)([features, pooled])


@_copy.register
def _(layer: layers.DownsamplingBlock, x: Any, *, leaky: bool) -> Any:
    shortcut = _conv_norm(keras.layers.MaxPooling2D(2)(x), layer.project, leaky)
    for part in (layer.reduce, layer.filter, layer.expand):
        x = _conv_norm(x, part, leaky)
    return _activate(keras.layers.Add()([shortcut, x]), layer.act, leaky, layer.name)


@_copy.register
def _(layer: layers.FactorizedBlock, x: Any, *, leaky: bool) -> Any:
    y = x
    for part in (layer.reduce, layer.vertical, layer.horizontal, layer.expand):
        y = _conv_norm(y, part, leaky)
    return _activate(keras.layers.Add()([x, y]), layer.act, leaky, layer.name)


@_copy.register
def _(layer: layers.CSDCBlock, x: Any, *, leaky: bool) -> Any:
    for i, block in enumerate(layer.blocks, start=1):
        y = _shuffle(_conv_norm(x, block.reduce, leaky), block.groups)
        y = _conv_norm(_conv_norm(y, block.dilate, leaky), block.expand, leaky)
        y = keras.layers.Add()([x, y])
        x = _activate(y, block.act, leaky, f"{layer.name}_{i}")
    return x


@_copy.register
def _(layer: layers.ShuffleUnit, x: Any, *, leaky: bool) -> Any:
    y = _conv_norm(x, layer.reduce, leaky)
    if layer.groups > 1:
        y = _shuffle(y, layer.groups)
    y = _conv_norm(_conv_norm(y, layer.filter, leaky), layer.expand, leaky)
    return keras.layers.ReLU(name=layer.name)(keras.layers.Add()([x, y]))


@_copy.register
def _(layer: layers.UpsamplingModule, inputs: Any, *, leaky: bool) -> Any:
    x = _conv_norm(inputs[0], layer.reduce, leaky)
    x = keras.layers.UpSampling2D(2, interpolation="bilinear")(x)
    skip = inputs[1]
    for part in (layer.reduce_skip, layer.expand_skip):
        skip = _copy_part(part, skip)
    x = keras.layers.Concatenate()([x, _norm(skip, layer.norm_skip)])
    return _activate(x, layer.act, leaky, layer.name)


@_copy.register
def _(layer: layers.MaskHead, x: Any, *, leaky: bool) -> Any:
    conv = keras.layers.Conv2DTranspose(layer.filters, 3, strides=2, padding="valid")
    x = _with_weights(conv, x, layer.get_weights())
    return keras.layers.Cropping2D(((1, 0), (1, 0)), name=layer.name)(x)


def _conv_norm(x: Any, block: convolutions.ConvNorm, leaky: bool) -> Any:
    conv, weights = block.conv, block.conv.get_weights()
    if isinstance(conv, convolutions.SeparableConv2D):
        depthwise = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)
        x = _with_weights(depthwise, x, weights[:1])
        pointwise = keras.layers.Conv2D(conv.filters, 1, use_bias=False)
        x = _with_weights(pointwise, x, weights[1:])
    elif isinstance(conv, convolutions.GroupedPointwiseConv2D):
        grouped = keras.layers.Conv2D(
            conv.filters, 1, groups=conv.groups, use_bias=False
        )
        x = _with_weights(grouped, x, weights)
    else:
        x = _copy_part(conv, x)
    return _activate(_norm(x, block.norm), block.act, leaky)


def _norm(x: Any, norm: convolutions.BatchNorm) -> Any:
    copy = keras.layers.BatchNormalization(epsilon=norm.epsilon)
    return _with_weights(copy, x, norm.get_weights())


def _activate(
    x: Any, activation: keras.layers.Layer, leaky: bool, name: str | None = None
) -> Any:
    if not isinstance(activation, activations.SharedPReLU):
        return keras.layers.Activation(activation.activation, name=name)(x)
    slope = float(activation.slope)
    if leaky:
        return keras.layers.LeakyReLU(negative_slope=slope, name=name)(x)
    prelu = keras.layers.PReLU(
        keras.initializers.Constant(slope), shared_axes=[1, 2], name=name
    )
    return prelu(x)


def _shuffle(x: Any, groups: int) -> Any:
    _, height, width, channels = x.shape
    split = (height, width, groups, channels // groups)
    x = keras.layers.Permute((1, 2, 4, 3))(keras.layers.Reshape(split)(x))
    return keras.layers.Reshape((height, width, channels))(x)


def _copy_part(part: keras.layers.Layer, x: Any) -> Any:
    """Copies a block's part, whose name is that of the same part of other blocks."""
    config = {k: v for k, v in part.get_config().items() if k != "name"}
    return _with_weights(type(part).from_config(config), x, part.get_weights())


def _with_weights(layer: keras.layers.Layer, x: Any, weights: list[Any]) -> Any:
    outputs = layer(x)
    layer.set_weights(weights)
    return outputs
