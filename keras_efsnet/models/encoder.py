"""The encoder's blocks as Keras layers, in the paper's order.

Feature maps are channels-last. The blocks' parts are in `convolutions`.

Reference: Hu and Wang, "Efficient Fast Semantic Segmentation Using Continuous
Shuffle Dilated Convolutions", IEEE Access 8, 2020; its ENet initial block (Paszke et
al. 2016), FSSNet downsampling and factorized blocks (Zhang et al. 2018).
"""

from typing import Any

import keras
from keras import ops

from keras_efsnet.models.activations import SharedPReLU, register
from keras_efsnet.models.backend_ops import CHANNELS_LAST
from keras_efsnet.models.blocks import (
    REDUCTION,
    build_chain,
    require_channels,
    spatial_dropout,
    with_arguments,
)
from keras_efsnet.models.convolutions import ChannelShuffle, ConvNorm
from keras_efsnet.models.parts import Composite


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
        self.drop = spatial_dropout(self, "drop", dropout)
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
        self.drop = spatial_dropout(self, "drop", dropout)
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
        self.drop = spatial_dropout(self, "drop", dropout)
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


def _pool(block: Composite) -> keras.layers.Layer:
    return block.part(keras.layers.MaxPooling2D, "pool", 2, data_format=CHANNELS_LAST)
