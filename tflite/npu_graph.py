"""Rewrites a trained EFSNet for NPUs that compute in int8, such as Arm's Ethos-U.

The graph has only operators that Arm's compiler, Vela, places on Ethos-U55, U65 and
U85, and was chosen by Vela's estimates of time and memory. Every rewrite is exact up to
rounding, except at the border of the image: the input is the grey value minus 128, so
that no operator has to rescale it, and the padding around it is the grey value 128,
where the model has 127.5.
"""

from functools import singledispatch
from typing import Any

import keras
import numpy as np

from keras_efsnet.models import layers
from keras_efsnet.tflite.deploy import Style, activate, conv, conv_norm, rewrite
from keras_efsnet.tflite.folding import (
    Weights,
    fold_block,
    fold_norm,
    fold_pointwise,
    mask_head_by_rows,
    stack_inputs,
    take_unshuffled,
    to_numpy,
)
from keras_efsnet.tflite.graph_copy import copy_graph
from keras_efsnet.tflite.int8_graph import RESCALE, rescaled_pool

STYLE: Style = "dense"
LARGEST_DILATION = 2


def npu_graph(model: keras.Model) -> keras.Model:
    """Builds the inference graph of a trained EFSNet for an NPU.

    Returns:
        A functional model as from `deploy.deployment_graph`, but its input is the grey
        value minus `MIDDLE_GREY`, [-128, 127].

    Raises:
        ValueError: Keras does not run on TensorFlow.
    """
    return copy_graph(model, _rewrite)


@singledispatch
def _rewrite(layer: Any, *args: Any, **kwargs: Any) -> Any:
    return rewrite(layer, *args, style=STYLE, **kwargs)


@_rewrite.register
def _(layer: keras.layers.Rescaling, x: Any) -> Any:
    return x  # the initial block does it


@_rewrite.register
def _(layer: layers.InitialBlock, x: Any) -> Any:
    weights = fold_pointwise(RESCALE, fold_block(layer.conv))
    features = conv(x, weights, f"{layer.name}_conv", strides=2)
    features = activate(features, layer.conv.act, f"{layer.name}_conv_act")
    pooled = rescaled_pool(x, layer.name)
    return keras.layers.Concatenate(name=layer.name)([features, pooled])


@_rewrite.register
def _(layer: layers.DownsamplingBlock, x: Any) -> Any:
    name = layer.name
    pooled = keras.layers.MaxPooling2D(2, name=f"{name}_pool")(x)
    for part in ("reduce", "filter"):
        x = conv_norm(x, getattr(layer, part), f"{name}_{part}", STYLE)
    # One convolution of both: Ethos-U55 needs more cycles to add than to multiply.
    both = keras.layers.Concatenate(name=f"{name}_concat")([pooled, x])
    weights = stack_inputs(fold_block(layer.project), fold_block(layer.expand))
    return activate(conv(both, weights, f"{name}_expand"), layer.act, name)


@_rewrite.register
def _(layer: layers.CSDCBlock, x: Any) -> Any:
    for i, block in enumerate(layer.blocks, start=1):
        name = f"{layer.name}_{i}"
        y = conv_norm(x, block.reduce, f"{name}_reduce", STYLE)
        weights = fold_block(block.dilate)
        kernel = take_unshuffled(weights.kernel, block.shuffle.order)
        weights = Weights(kernel, weights.bias)
        y = _dilated(y, weights, f"{name}_dilate", block.dilation_rate)
        y = conv_norm(y, block.expand, f"{name}_expand", STYLE)
        y = keras.layers.Add(name=f"{name}_add")([x, y])
        x = activate(y, block.act, name)
    return x


@_rewrite.register
def _(layer: layers.UpsamplingModule, inputs: Any) -> Any:
    features, skip = inputs
    name = layer.name
    x = conv_norm(features, layer.reduce, f"{name}_reduce", STYLE)
    double = keras.layers.UpSampling2D(
        2, interpolation="bilinear", name=f"{name}_features"
    )
    x = activate(double(x), layer.act, f"{name}_features_act")
    kernel = to_numpy(layer.reduce_skip.kernel)
    reduce = Weights(kernel, np.zeros(kernel.shape[-1]))
    skip = conv(skip, reduce, f"{name}_skip_reduce")
    kernel = np.swapaxes(to_numpy(layer.expand_skip.kernel), 2, 3)
    expand = fold_norm(kernel, layer.norm_skip)
    skip = _transposed(skip, expand, f"{name}_skip_expand")
    # Activations before the concatenation become part of a convolution.
    skip = activate(skip, layer.act, f"{name}_skip_act")
    return keras.layers.Concatenate(name=name)([x, skip])


@_rewrite.register
def _(layer: layers.ShuffleUnit, x: Any) -> Any:
    name = layer.name
    shuffle = layer.shuffle if layer.groups > 1 else None
    y = conv_norm(x, layer.reduce, f"{name}_reduce", STYLE)
    y = conv_norm(y, layer.filter, f"{name}_filter", STYLE, shuffle)
    y = conv_norm(y, layer.expand, f"{name}_expand", STYLE)
    x = keras.layers.Add(name=f"{name}_add")([x, y])
    return keras.layers.ReLU(name=name)(x)


@_rewrite.register
def _(layer: layers.MaskHead, x: Any) -> Any:
    """Computes even and odd rows apart; the columns of a row are neighbours already."""
    _, height, width, _ = x.shape
    rows = []
    for name, weights in zip(("even", "odd"), mask_head_by_rows(layer), strict=True):
        row = conv(x, weights, f"{layer.name}_{name}")
        rows.append(keras.layers.Reshape((height, 1, 2 * width))(row))
    both = keras.layers.Concatenate(axis=2)(rows)
    return keras.layers.Reshape((2 * height, 2 * width, 1), name=layer.name)(both)


def _dilated(x: Any, weights: Weights, name: str, rate: int) -> Any:
    """Places rows `rate` apart below each other, so that only columns are dilated.

    Ethos-U55 and U65 have no dilation above 2. Vela fills larger kernels with zeros.
    """
    _, height, width, channels = x.shape
    if rate <= LARGEST_DILATION or height % rate:
        return conv(x, weights, name, dilation_rate=rate)
    # Columns of zeros keep the ends of two rows apart.
    x = keras.layers.ZeroPadding2D(((0, 0), (0, rate)), name=f"{name}_pad")(x)
    padded = width + rate
    x = keras.layers.Reshape((height // rate, rate * padded, channels))(x)
    x = conv(x, weights, name, dilation_rate=(1, rate))
    x = keras.layers.Reshape((height, padded, x.shape[-1]))(x)
    return keras.layers.Cropping2D(((0, 0), (0, rate)), name=f"{name}_crop")(x)


def _transposed(x: Any, weights: Weights, name: str) -> Any:
    height, width, _, filters = weights.kernel.shape
    layer = keras.layers.Conv2DTranspose(filters, (height, width), strides=2, name=name)
    x = layer(x)
    layer.set_weights([np.swapaxes(weights.kernel, 2, 3), weights.bias])
    return x
