"""EFSNet's blocks as Keras layers, in the paper's order.

Feature maps are channels-last. The blocks' parts are in `convolutions`.

Reference: Hu and Wang, "Efficient Fast Semantic Segmentation Using Continuous
Shuffle Dilated Convolutions", IEEE Access 8, 2020; its ENet initial block (Paszke et
al. 2016), FSSNet downsampling and factorized blocks (Zhang et al. 2018) and ShuffleNet
units (Zhang et al. 2018).
"""

from typing import Any

import keras
from keras import ops

from keras_efsnet.models import backend_ops
from keras_efsnet.models.activations import SharedPReLU, register
from keras_efsnet.models.backend_ops import CHANNELS_LAST
from keras_efsnet.models.convolutions import (
    BatchNorm,
    ChannelShuffle,
    ConvNorm,
    build_chain,
    require_channels,
    with_arguments,
)
from keras_efsnet.models.parts import Composite

REDUCTION = 4
"""Bottlenecks have 1/REDUCTION of their output channels inside (the paper's r)."""


@register
class InitialBlock(Composite):
    """ENet's first block: strided convolution in parallel with max-pooling.

    Halves height and width. Convolution and pooling together give `filters` channels.

    Args:
        filters: output channels.

    Input shape: `(batch, height, width, channels)`, channels < filters.
    Output shape: `(batch, height / 2, width / 2, filters)`.

    Reference: Paszke et al. 2016, "ENet", figure 2a.
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.pool = _pool(self)

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels >= self.filters:
            raise ValueError(
                "filters must be more than the input's channels, which the pooling "
                f"keeps, got filters={self.filters} and {channels} channels; use at "
                f"least filters={channels + 1}."
            )
        filters = self.filters - channels
        self.conv = self.part(ConvNorm, "conv", filters, 3, strides=2)
        self.conv.build(input_shape)

    def call(self, inputs, training=None):
        features = self.conv(inputs, training=training)
        return ops.concatenate([features, self.pool(inputs)], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*self.pool.compute_output_shape(input_shape)[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return with_arguments(self, super().get_config(), "filters")


@register
class DownsamplingBlock(Composite):
    """FSSNet's downsampling: a strided bottleneck plus pooling and projection.

    Halves height and width and sets the channels to `filters`. The decoder's skips are
    the outputs of both downsampling blocks.

    Args:
        filters: output channels.
        dropout: rate of the spatial dropout that ends the bottleneck.

    Input shape: `(batch, height, width, channels)`, height and width even.
    Output shape: `(batch, height / 2, width / 2, filters)`.

    Reference: Zhang et al. 2018, "Fast Semantic Segmentation for Scene Perception".
    """

    def __init__(self, filters: int, dropout: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.dropout = dropout
        self.pool = _pool(self)
        self.project = self.part(ConvNorm, "project", filters, activation=None)
        self.reduce = self.part(ConvNorm, "reduce", filters // REDUCTION, 2, strides=2)
        self.filter = self.part(ConvNorm, "filter", filters // REDUCTION, 3)
        self.expand = self.part(ConvNorm, "expand", filters, activation=None)
        self.drop = _drop(self, "drop", dropout)
        self.act = self.part(SharedPReLU, "act")

    def build(self, input_shape):
        build_chain([self.pool, self.project], input_shape)
        chain = [self.reduce, self.filter, self.expand, self.drop, self.act]
        build_chain(chain, input_shape)

    def call(self, inputs, training=None):
        shortcut = self.project(self.pool(inputs), training=training)
        x = self.reduce(inputs, training=training)
        x = self.filter(x, training=training)
        x = self.expand(x, training=training)
        return self.act(shortcut + self.drop(x, training=training))

    def compute_output_shape(self, input_shape):
        return self.reduce.compute_output_shape(input_shape)[:-1] + (self.filters,)

    def get_config(self) -> dict[str, Any]:
        return with_arguments(self, super().get_config(), "filters", "dropout")


@register
class FactorizedBlock(Composite):
    """FSSNet's factorized bottleneck: 3x1 and 1x3 convolutions instead of a 3x3.

    Args:
        filters: input and output channels.
        dropout: rate of the spatial dropout that ends the bottleneck.

    Input shape: `(batch, height, width, filters)`. Output shape: the input's.

    Reference: Zhang et al. 2018, "Fast Semantic Segmentation for Scene Perception".
    """

    def __init__(self, filters: int, dropout: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.dropout = dropout
        self.reduce = self.part(ConvNorm, "reduce", filters // REDUCTION)
        self.vertical = self.part(
            ConvNorm, "vertical", filters // REDUCTION, (3, 1), activation=None
        )
        self.horizontal = self.part(
            ConvNorm, "horizontal", filters // REDUCTION, (1, 3)
        )
        self.expand = self.part(ConvNorm, "expand", filters, activation=None)
        self.drop = _drop(self, "drop", dropout)
        self.act = self.part(SharedPReLU, "act")

    def build(self, input_shape):
        require_channels(self.filters, input_shape)
        chain = [self.reduce, self.vertical, self.horizontal, self.expand]
        build_chain([*chain, self.drop, self.act], input_shape)

    def call(self, inputs, training=None):
        x = self.reduce(inputs, training=training)
        x = self.vertical(x, training=training)
        x = self.horizontal(x, training=training)
        x = self.expand(x, training=training)
        return self.act(inputs + self.drop(x, training=training))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return with_arguments(self, super().get_config(), "filters", "dropout")


@register
class SDCBlock(Composite):
    """Shuffle dilated convolution: grouped 1x1, shuffle, dilated 3x3, grouped 1x1.

    The shuffle mixes the channels of all groups for the dilated convolution.

    Args:
        filters: input and output channels.
        dilation_rate: dilation of the 3x3 convolution.
        groups: groups of both 1x1 convolutions.
        dropout: rate of the spatial dropout that ends the bottleneck.

    Input shape: `(batch, height, width, filters)`. Output shape: the input's.

    Reference: Hu and Wang 2020, section III (SDC module).
    """

    def __init__(
        self,
        filters: int,
        dilation_rate: int = 1,
        groups: int = 2,
        dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.dilation_rate = dilation_rate
        self.groups = groups
        self.dropout = dropout
        reduced = filters // REDUCTION
        self.reduce = self.part(ConvNorm, "reduce", reduced, groups=groups)
        self.shuffle = self.part(ChannelShuffle, "shuffle", groups)
        self.dilate = self.part(
            ConvNorm, "dilate", reduced, 3, dilation_rate=dilation_rate, activation=None
        )
        self.expand = self.part(
            ConvNorm, "expand", filters, groups=groups, activation=None
        )
        self.drop = _drop(self, "drop", dropout)
        self.act = self.part(SharedPReLU, "act")

    def build(self, input_shape):
        require_channels(self.filters, input_shape)
        chain = [self.reduce, self.shuffle, self.dilate, self.expand]
        build_chain([*chain, self.drop, self.act], input_shape)

    def call(self, inputs, training=None):
        x = self.shuffle(self.reduce(inputs, training=training))
        x = self.dilate(x, training=training)
        x = self.expand(x, training=training)
        return self.act(inputs + self.drop(x, training=training))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict[str, Any]:
        names = ("filters", "dilation_rate", "groups", "dropout")
        return with_arguments(self, super().get_config(), *names)


@register
class CSDCBlock(Composite):
    """Continuous shuffle dilated convolutions: SDC blocks of growing dilation.

    The receptive field grows to cover the image.

    Args:
        filters: input and output channels.
        dilation_rates: dilation of each SDC block.
        groups: groups of the 1x1 convolutions.
        dropout: rate of the spatial dropout of each SDC block.

    Input shape: `(batch, height, width, filters)`. Output shape: the input's.

    Reference: Hu and Wang 2020, section III (CSDC module).
    """

    def __init__(
        self,
        filters: int,
        dilation_rates: tuple[int, ...] = (1, 2, 4, 8),
        groups: int = 2,
        dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.dilation_rates = dilation_rates
        self.groups = groups
        self.dropout = dropout
        self.blocks = [
            self.part(SDCBlock, f"block_{i}", filters, rate, groups, dropout)
            for i, rate in enumerate(dilation_rates, start=1)
        ]

    def build(self, input_shape):
        require_channels(self.filters, input_shape)
        build_chain(self.blocks, input_shape)

    def call(self, inputs, training=None):
        x = inputs
        for block in self.blocks:
            x = block(x, training=training)
        return x

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict[str, Any]:
        names = ("filters", "dilation_rates", "groups", "dropout")
        return with_arguments(self, super().get_config(), *names)


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
        self.drop_skip = _drop(self, "drop_skip", dropout)
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
        self.drop = _drop(self, "drop", dropout)

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


def _pool(block: Composite) -> keras.layers.Layer:
    return block.part(keras.layers.MaxPooling2D, "pool", 2, data_format=CHANNELS_LAST)


def _drop(block: Composite, key: str, rate: float) -> keras.layers.Layer:
    kind = keras.layers.SpatialDropout2D
    return block.part(kind, key, rate, data_format=CHANNELS_LAST)


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
