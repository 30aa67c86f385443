"""The decoder's blocks and the mask's head as Keras layers, in the paper's order.

Feature maps are channels-last. The blocks' parts are in `convolutions`.

Reference: Hu and Wang, "Efficient Fast Semantic Segmentation Using Continuous
Shuffle Dilated Convolutions", IEEE Access 8, 2020; its ShuffleNet units (Zhang et al.
2018).
"""

from typing import Any

import keras
from keras import ops

from keras_efsnet.models import backend_ops
from keras_efsnet.models.activations import SharedPReLU, register
from keras_efsnet.models.backend_ops import CHANNELS_LAST
from keras_efsnet.models.blocks import (
    REDUCTION,
    build_chain,
    require_channels,
    spatial_dropout,
    with_arguments,
)
from keras_efsnet.models.convolutions import BatchNorm, ChannelShuffle, ConvNorm
from keras_efsnet.models.parts import Composite


@register
class UpsamplingModule(Composite):
    """Doubles height and width: bilinear features joined with a learned upsampled skip.

    Called on `(features, skip)` of equal size; the skip is an encoder output.

    Args:
        filters: output channels, half from the features and half from the skip.
        dropout: rate of the spatial dropout of the skip's branch.

    Input shape: two of `(batch, height, width, any channels)`.
    Output shape: `(batch, 2 * height, 2 * width, filters)`.

    Reference: Hu and Wang 2020, section III (upsampling module).
    """

    def __init__(self, filters: int, dropout: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.dropout = dropout
        self.reduce = self.part(ConvNorm, "reduce", filters // 2)
        self.reduce_skip = self.part(
            keras.layers.Conv2D,
            "reduce_skip",
            filters // 2,
            1,
            use_bias=False,
            data_format=CHANNELS_LAST,
        )
        self.expand_skip = self.part(
            keras.layers.Conv2DTranspose,
            "expand_skip",
            filters // 2,
            2,
            strides=2,
            use_bias=False,
            data_format=CHANNELS_LAST,
        )
        self.norm_skip = self.part(BatchNorm, "norm_skip")
        self.drop_skip = spatial_dropout(self, "drop_skip", dropout)
        self.act = self.part(SharedPReLU, "act")

    def build(self, input_shape):
        features, skip = input_shape
        self.reduce.build(features)
        chain = [self.reduce_skip, self.expand_skip, self.norm_skip, self.drop_skip]
        build_chain([*chain, self.act], skip)

    def call(self, inputs, training=None):
        features, skip = inputs
        x = backend_ops.double_bilinear(self.reduce(features, training=training))
        y = self.expand_skip(self.reduce_skip(skip))
        y = self.norm_skip(y, training=training)
        y = self.drop_skip(y, training=training)
        return self.act(ops.concatenate([x, y], axis=-1))

    def compute_output_shape(self, input_shape):
        return _doubled(input_shape[0], self.filters)

    def get_config(self) -> dict[str, Any]:
        return with_arguments(self, super().get_config(), "filters", "dropout")


@register
class ShuffleUnit(Composite):
    """ShuffleNet unit with a 1x1 after the depthwise convolution.

    With one group it does not shuffle.

    Args:
        filters: input and output channels.
        groups: groups of the first and the last 1x1 convolution.
        dropout: rate of the spatial dropout that ends the bottleneck.

    Input shape: `(batch, height, width, filters)`. Output shape: the input's.

    Reference: Hu and Wang 2020, section III (decoder); Zhang et al. 2018, "ShuffleNet".
    """

    def __init__(
        self, filters: int, groups: int = 1, dropout: float = 0.1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.groups = groups
        self.dropout = dropout
        reduced = filters // REDUCTION
        self.reduce = self.part(
            ConvNorm, "reduce", reduced, groups=groups, activation="relu"
        )
        self.shuffle = self.part(ChannelShuffle, "shuffle", groups)
        self.filter = self.part(
            ConvNorm, "filter", reduced, separable=True, activation="relu"
        )
        self.expand = self.part(
            ConvNorm, "expand", filters, groups=groups, activation=None
        )
        self.drop = spatial_dropout(self, "drop", dropout)

    def build(self, input_shape):
        require_channels(self.filters, input_shape)
        chain = [self.reduce, self.shuffle, self.filter, self.expand, self.drop]
        build_chain(chain, input_shape)

    def call(self, inputs, training=None):
        x = self.reduce(inputs, training=training)
        if self.groups > 1:
            x = self.shuffle(x)
        x = self.filter(x, training=training)
        x = self.expand(x, training=training)
        return ops.relu(inputs + self.drop(x, training=training))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict[str, Any]:
        names = ("filters", "groups", "dropout")
        return with_arguments(self, super().get_config(), *names)


@register
class MaskHead(keras.layers.Layer):
    """3x3 transposed convolution of stride 2 with bias, to logits at full size.

    Aligned as in PyTorch with padding 1 and output padding 1: output 2m comes from
    input m, output 2m + 1 from inputs m and m + 1.

    Args:
        filters: output channels.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, 2 * height, 2 * width, filters)`.

    Reference: Hu and Wang 2020, section III (final transposed convolution).
    """

    def __init__(self, filters: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(3, 3, self.filters, input_shape[-1]),
            initializer="glorot_uniform",
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.filters,), initializer="zeros"
        )

    def call(self, inputs):
        kernel = phase_kernel(self.kernel)
        phases = ops.conv(inputs, kernel, padding="same", data_format=CHANNELS_LAST)
        return depth_to_space(phases) + self.bias

    def compute_output_shape(self, input_shape):
        return _doubled(input_shape, self.filters)

    def get_config(self) -> dict[str, Any]:
        return with_arguments(self, super().get_config(), "filters")


def _doubled(shape: tuple, filters: int) -> tuple:
    batch, height, width, _ = shape
    height, width = (n and 2 * n for n in (height, width))
    return (batch, height, width, filters)


def phase_kernel(kernel: Any) -> Any:
    """Returns the 2x2 kernel that computes a mask head's four output phases.

    Output row 2m takes input row m with kernel row 1; output row 2m + 1 takes row m
    with kernel row 2 and row m + 1 with kernel row 0. Columns work alike.

    Args:
        kernel: `(3, 3, filters, channels)`.

    Returns:
        `(2, 2, channels, 4 * filters)` in the order (row phase, column phase, filter).
    """
    _, _, filters, channels = kernel.shape
    padded = ops.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))
    taps = [1, 2, 3, 0]
    picked = ops.take(ops.take(padded, taps, axis=0), taps, axis=1)
    picked = ops.reshape(picked, (2, 2, 2, 2, filters, channels))
    ordered = ops.transpose(picked, (0, 2, 5, 1, 3, 4))
    return ops.reshape(ordered, (2, 2, channels, 4 * filters))


def depth_to_space(x: Any) -> Any:
    """Reshapes `(batch, h, w, 4 * filters)` to `(batch, 2 * h, 2 * w, filters)`."""
    _, height, width, channels = ops.shape(x)
    filters = channels // 4
    x = ops.reshape(x, (-1, height, width, 2, 2, filters))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, 2 * height, 2 * width, filters))
