"""Rewrites a trained EFSNet as an equivalent graph that is fast for one image.

Every rewrite is exact up to rounding, also at the borders: batch norms are folded into
convolutions, PReLU becomes leaky ReLU, dropout is removed, shuffles permute the next
convolution's inputs, and transposed convolutions become convolution and depth-to-space.
The graph uses Keras's layers and `DepthToSpace`. `benchmarks/stages.py` measures it.
"""

from functools import partial, singledispatch
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from keras_efsnet.models import layers
from keras_efsnet.models.activations import SharedPReLU, register
from keras_efsnet.models.convolutions import (
    ChannelShuffle,
    ConvNorm,
    GroupedPointwiseConv2D,
    SeparableConv2D,
)
from keras_efsnet.tflite.folding import (
    Weights,
    dense_kernel,
    fold_block,
    fold_columns,
    fold_norm,
    mask_head_as_strided,
    take_unshuffled,
    to_numpy,
    transposed_as_pointwise,
)
from keras_efsnet.tflite.graph_copy import copy_graph, copy_layer

Style = Literal["lean", "dense"]
"""What a graph minimizes. "lean": multiplications, which limit float files; grouped and
depthwise convolutions stay. "dense": passes over the maps, which limit int8 files; all
convolutions are dense, and columns are folded into channels where channels are few.
`int8_graph` and `npu_graph` change parts of it for EFSNet."""

LANES = 16
"""Convolutions with fewer channels leave vector lanes empty: a register holds 16 floats
on AVX-512, and LiteRT's int8 kernels compute 16 outputs at once on most CPUs."""

IMAGE_COLUMNS = 4
"""Output columns that a "dense" graph's first convolution computes at once."""


@register
class DepthToSpace(keras.layers.Layer):
    """Rearranges channels into blocks of pixels.

    Args:
        block_size: height and width of a block.

    Input shape: `(batch, height, width, block_size ** 2 * channels)`, ordered (row,
        column, channel).
    Output shape: `(batch, block_size * height, block_size * width, channels)`.
    """

    def __init__(self, block_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block_size = block_size

    def call(self, inputs):
        return tf.nn.depth_to_space(inputs, self.block_size)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        block = self.block_size
        return (batch, block * height, block * width, channels // block**2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block_size": self.block_size}


def deployment_graph(model: keras.Model, style: Style = "lean") -> keras.Model:
    """Builds the inference graph of a trained model.

    Args:
        model: an EFSNet or another functional model, whose layers are then copied.
        style: "lean" for float files, "dense" for int8 files of other networks (for
            those of an EFSNet see `int8_graph`).

    Returns:
        A functional model with the same input and outputs, for a batch of one image of
        the model's size, or 256 x 256 if the model has no fixed size.

    Raises:
        ValueError: Keras does not run on TensorFlow.
    """
    return copy_graph(model, partial(rewrite, style=style))


@singledispatch
def rewrite(layer: Any, *args: Any, style: Style, **kwargs: Any) -> Any:
    """Calls what replaces a layer; other layers are copied."""
    return copy_layer(layer, *args, **kwargs)


@rewrite.register
def _(layer: keras.layers.Dropout, x: Any, *, style: Style) -> Any:
    return x


@rewrite.register
def _(layer: layers.InitialBlock, x: Any, *, style: Style) -> Any:
    pooled = keras.layers.MaxPooling2D(2, name=f"{layer.name}_pool")(x)
    name = f"{layer.name}_conv"
    if style == "lean":
        features = conv_norm(x, layer.conv, name, style)
    else:
        features = folded_strided(x, fold_block(layer.conv), layer.conv.act, name)
    return keras.layers.Concatenate(name=layer.name)([features, pooled])


@rewrite.register
def _(layer: layers.DownsamplingBlock, x: Any, *, style: Style) -> Any:
    name = layer.name
    shortcut = keras.layers.MaxPooling2D(2, name=f"{name}_pool")(x)
    shortcut = conv_norm(shortcut, layer.project, f"{name}_project", style)
    for part in ("reduce", "filter", "expand"):
        x = conv_norm(x, getattr(layer, part), f"{name}_{part}", style)
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return activate(x, layer.act, name)


@rewrite.register
def _(layer: layers.FactorizedBlock, x: Any, *, style: Style) -> Any:
    y = x
    for part in ("reduce", "vertical", "horizontal", "expand"):
        y = conv_norm(y, getattr(layer, part), f"{layer.name}_{part}", style)
    y = keras.layers.Add(name=f"{layer.name}_add")([x, y])
    return activate(y, layer.act, layer.name)


@rewrite.register
def _(layer: layers.CSDCBlock, x: Any, *, style: Style) -> Any:
    for i, block in enumerate(layer.blocks, start=1):
        name = f"{layer.name}_{i}"
        y = conv_norm(x, block.reduce, f"{name}_reduce", style)
        y = conv_norm(y, block.dilate, f"{name}_dilate", style, block.shuffle)
        y = conv_norm(y, block.expand, f"{name}_expand", style)
        y = keras.layers.Add(name=f"{name}_add")([x, y])
        x = activate(y, block.act, name)
    return x


@rewrite.register
def _(layer: layers.UpsamplingModule, inputs: Any, *, style: Style) -> Any:
    x, skip = inputs
    name = layer.name
    x = conv_norm(x, layer.reduce, f"{name}_reduce", style)
    x = keras.layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_features")(
        x
    )
    kernel = to_numpy(layer.reduce_skip.kernel)
    reduce = Weights(kernel, np.zeros(kernel.shape[-1]))
    skip = conv(skip, reduce, f"{name}_skip_reduce")
    kernel = np.swapaxes(to_numpy(layer.expand_skip.kernel), 2, 3)
    expand = transposed_as_pointwise(fold_norm(kernel, layer.norm_skip))
    skip = conv(skip, expand, f"{name}_skip_expand")
    skip = DepthToSpace(2, name=f"{name}_skip")(skip)
    x = keras.layers.Concatenate(name=f"{name}_concat")([x, skip])
    return activate(x, layer.act, name)


@rewrite.register
def _(layer: layers.ShuffleUnit, x: Any, *, style: Style) -> Any:
    shape = x.shape[1:]
    columns = 1
    if style == "dense":
        columns = _columns_to_fold(shape[1], layer.reduce.filters)
        x = _fold(x, columns)
    name = layer.name
    shuffle = layer.shuffle if layer.groups > 1 else None
    y = conv_norm(x, layer.reduce, f"{name}_reduce", style, columns=columns)
    y = conv_norm(y, layer.filter, f"{name}_filter", style, shuffle, columns)
    y = conv_norm(y, layer.expand, f"{name}_expand", style, columns=columns)
    x = keras.layers.Add(name=f"{name}_add")([x, y])
    x = keras.layers.ReLU(name=name)(x)
    return x if columns == 1 else keras.layers.Reshape(shape)(x)


@rewrite.register
def _(layer: layers.MaskHead, x: Any, *, style: Style) -> Any:
    weights = mask_head_as_strided(layer)
    x = conv(x, weights, f"{layer.name}_blocks", strides=2)
    return DepthToSpace(4, name=layer.name)(x)


def conv_norm(
    x: Any,
    block: ConvNorm,
    name: str,
    style: Style,
    shuffle: ChannelShuffle | None = None,
    columns: int = 1,
) -> Any:
    """Folds an optional shuffle, a convolution, its norm and columns into one layer."""
    layer, groups = block.conv, 1
    kernel = dense_kernel(layer)
    if style == "lean" and isinstance(layer, SeparableConv2D):
        x = _depthwise(x, layer, f"{name}_depthwise", shuffle)
        kernel = to_numpy(layer.pointwise_kernel)
    elif style == "lean" and _has_wide_groups(layer):
        kernel, groups = to_numpy(layer.kernel), layer.groups
    if shuffle:
        kernel = take_unshuffled(kernel, shuffle.order)
    weights = fold_columns(fold_norm(kernel, block.norm), columns)
    options = {"strides": block.strides, "dilation_rate": block.dilation_rate}
    x = conv(x, weights, name, groups=groups, **options)
    return activate(x, block.act, f"{name}_act")


def _has_wide_groups(conv: keras.layers.Layer) -> bool:
    if not isinstance(conv, GroupedPointwiseConv2D):
        return False
    inputs, outputs = conv.kernel.shape[2], conv.filters // conv.groups
    return min(inputs, outputs) >= LANES


def _depthwise(
    x: Any, conv: SeparableConv2D, name: str, shuffle: ChannelShuffle | None
) -> Any:
    kernel = to_numpy(conv.depthwise_kernel)
    if shuffle:
        kernel = take_unshuffled(kernel, shuffle.order)
    layer = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=name)
    x = layer(x)
    layer.set_weights([kernel])
    return x


def folded_strided(
    x: Any, weights: Weights, activation: keras.layers.Layer, name: str
) -> Any:
    """Convolution of stride 2 and activation on several columns at once."""
    _, height, width, _ = x.shape
    folded = fold_columns(weights, IMAGE_COLUMNS, stride=2)
    x = conv(_fold(x, 2 * IMAGE_COLUMNS), folded, name, strides=(2, 1))
    x = activate(x, activation, f"{name}_act")
    return keras.layers.Reshape((height // 2, width // 2, weights.bias.size))(x)


def _columns_to_fold(width: int, channels: int) -> int:
    columns = 1
    while columns * channels < LANES and width % (2 * columns) == 0:
        columns *= 2
    return columns


def _fold(x: Any, columns: int) -> Any:
    if columns == 1:
        return x
    _, height, width, channels = x.shape
    return keras.layers.Reshape((height, width // columns, columns * channels))(x)


def conv(x: Any, weights: Weights, name: str, **options: Any) -> Any:
    height, width, _, filters = weights.kernel.shape
    layer = keras.layers.Conv2D(
        filters, (height, width), padding="same", name=name, **options
    )
    x = layer(x)
    layer.set_weights([weights.kernel, weights.bias])
    return x


def activate(x: Any, activation: keras.layers.Layer, name: str) -> Any:
    if isinstance(activation, SharedPReLU):
        slope = float(to_numpy(activation.slope))
        return keras.layers.LeakyReLU(negative_slope=slope, name=name)(x)
    if activation.activation is keras.activations.relu:
        return keras.layers.ReLU(name=name)(x)
    return x
