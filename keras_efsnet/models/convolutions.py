"""Convolutions, norm and shuffle: the parts of EFSNet's blocks.

Feature maps are channels-last. Only the two heads have a bias.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_efsnet.models import backend_ops
from keras_efsnet.models.activations import SharedPReLU, register
from keras_efsnet.models.backend_ops import CHANNELS_LAST
from keras_efsnet.models.blocks import build_chain, require_divisible, with_arguments
from keras_efsnet.models.parts import Composite


@register
class ChannelShuffle(keras.layers.Layer):
    """Interleaves the channels of `groups` groups, so that the next layer mixes them.

    Channel i of group g, `g * n + i` for n channels per group, moves to
    `i * groups + g`.

    Args:
        groups: number of groups.

    Input shape: `(batch, height, width, channels)`, channels a multiple of `groups`.
    Output shape: the input's.

    Reference: Zhang et al. 2018, "ShuffleNet", section 3.1.
    """

    def __init__(self, groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = groups

    def build(self, input_shape):
        require_divisible("channels", input_shape[-1], self.groups)
        order = np.arange(input_shape[-1]).reshape(self.groups, -1).T.ravel()
        self.order = order.astype("int32")

    def call(self, inputs):
        # Not `ops.take`, which OpenVINO misreads between convolutions.
        _, height, width, channels = ops.shape(inputs)
        split = ops.reshape(inputs, (-1, self.groups, channels // self.groups))
        shuffled = ops.transpose(split, (0, 2, 1))
        return ops.reshape(shuffled, (-1, height, width, channels))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return with_arguments(self, super().get_config(), "groups")


@register
class GroupedPointwiseConv2D(keras.layers.Layer):
    """Grouped 1x1 convolution without bias that trains on the CPU on every backend.

    The grouped kernel is expanded to a block-diagonal dense kernel. TensorFlow has no
    CPU gradient for grouped convolutions outside XLA, and the dense product is faster
    on all three backends (`benchmarks/train_step.py`).

    Args:
        filters: output channels, a multiple of `groups`.
        groups: number of groups.

    Input shape: `(batch, height, width, channels)`, channels a multiple of `groups`.
    Output shape: `(batch, height, width, filters)`.

    Raises:
        ValueError: channels or filters are not a multiple of `groups`.
    """

    def __init__(self, filters: int, groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require_divisible("filters", filters, groups)
        self.filters = filters
        self.groups = groups

    def build(self, input_shape):
        channels = input_shape[-1]
        require_divisible("channels", channels, self.groups)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(1, 1, channels // self.groups, self.filters),
            initializer="glorot_uniform",
        )
        blocks = np.kron(
            np.eye(self.groups),
            np.ones((channels // self.groups, self.filters // self.groups)),
        )
        self.blocks = blocks[None, None].astype("float32")

    def call(self, inputs):
        dense = ops.tile(self.kernel, (1, 1, self.groups, 1))
        dense = dense * ops.cast(self.blocks, dense.dtype)
        return ops.conv(inputs, dense, padding="valid", data_format=CHANNELS_LAST)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return with_arguments(self, super().get_config(), "filters", "groups")


@register
class SeparableConv2D(keras.layers.Layer):
    """Depthwise 3x3 and 1x1 convolution without bias, computed as one dense 3x3.

    The dense kernel is the product of both kernels. At the decoder's 4 to 16 channels
    it is faster than a depthwise convolution.

    Args:
        filters: output channels of the 1x1 convolution.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, height, width, filters)`.
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape):
        channels = input_shape[-1]
        self.depthwise_kernel = self.add_weight(
            name="depthwise_kernel",
            shape=(3, 3, channels, 1),
            initializer=keras.initializers.VarianceScaling(scale=channels),
        )
        self.pointwise_kernel = self.add_weight(
            name="pointwise_kernel",
            shape=(1, 1, channels, self.filters),
            initializer="glorot_uniform",
        )

    def call(self, inputs):
        kernel = self.depthwise_kernel * self.pointwise_kernel
        return ops.conv(inputs, kernel, padding="same", data_format=CHANNELS_LAST)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return with_arguments(self, super().get_config(), "filters")


@register
class BatchNorm(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with the backend's fused training kernel.

    The kernel is used for `(batch, height, width, channels)` and weights in float32;
    other inputs and options are computed by Keras.

    Input shape: any. Output shape: the input's.
    """

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable and self._is_fused(inputs, mask)):
            return super().call(inputs, training=training, mask=mask)
        shape = self.moving_mean.shape
        gamma = self.gamma if self.scale else ops.ones(shape)
        beta = self.beta if self.center else ops.zeros(shape)
        outputs, mean, variance = backend_ops.batch_norm(
            inputs,
            ops.convert_to_tensor(gamma),
            ops.convert_to_tensor(beta),
            self.epsilon,
        )
        pairs = (self.moving_mean, mean), (self.moving_variance, variance)
        for moving, batch in pairs:
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        return outputs

    def _is_fused(self, inputs, mask):
        return (
            self.dtype == "float32"
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and mask is None
            and not (self.renorm or self.synchronized)
        )


@register
class ConvNorm(Composite):
    """Convolution without bias, norm and activation.

    Height and width are divided by `strides`. A kernel as large as its stride gets no
    padding.

    Args:
        filters: output channels.
        kernel_size: size of the kernel, an integer or a pair (height, width).
        strides: stride of the convolution.
        dilation_rate: dilation of the kernel.
        groups: groups of a 1x1 convolution (see `GroupedPointwiseConv2D`).
        separable: use a depthwise 3x3 and a 1x1 (see `SeparableConv2D`).
        activation: "prelu" (one slope), "relu" or None.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, height / strides, width / strides, filters)`.

    Raises:
        ValueError: `groups` or `separable` is used with a kernel size, strides or
            dilation of its own, or filters or channels are not a multiple of `groups`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int] = 1,
        strides: int = 1,
        dilation_rate: int = 1,
        groups: int = 1,
        separable: bool = False,
        activation: str | None = "prelu",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation_rate = dilation_rate
        self.groups = groups
        self.separable = separable
        self.activation = activation
        self._check_options()
        self.conv = self._make_conv()
        self.norm = self.part(BatchNorm, "norm")
        self.act = self._make_activation()

    def _check_options(self) -> None:
        one: tuple = (1, (1, 1))
        if self.groups > 1:
            option = "groups"
            allowed = {"kernel_size": one, "separable": (False,)}
        elif self.separable:
            option = "separable"
            allowed = {"kernel_size": (1, 3, (3, 3))}
        else:
            return
        for name, values in {**allowed, "strides": one, "dilation_rate": one}.items():
            value = getattr(self, name)
            if (tuple(value) if isinstance(value, list) else value) not in values:
                raise ValueError(
                    f"{name} must be {values[0]} with {option}="
                    f"{getattr(self, option)}, got {value}; leave {name} or {option} "
                    "out."
                )

    def _make_conv(self) -> keras.layers.Layer:
        if self.groups > 1:
            return self.part(GroupedPointwiseConv2D, "conv", self.filters, self.groups)
        if self.separable:
            return self.part(SeparableConv2D, "conv", self.filters)
        return self.part(
            keras.layers.Conv2D,
            "conv",
            self.filters,
            self.kernel_size,
            strides=self.strides,
            padding="same",
            dilation_rate=self.dilation_rate,
            use_bias=False,
            data_format=CHANNELS_LAST,
        )

    def _make_activation(self) -> keras.layers.Layer:
        if self.activation == "prelu":
            return self.part(SharedPReLU, "act")
        return self.part(keras.layers.Activation, "act", self.activation)

    def build(self, input_shape):
        build_chain([self.conv, self.norm, self.act], input_shape)

    def call(self, inputs, training=None):
        return self.act(self.norm(self.conv(inputs), training=training))

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        names = [
            *("filters", "kernel_size", "strides", "dilation_rate"),
            *("groups", "separable", "activation"),
        ]
        return with_arguments(self, super().get_config(), *names)
