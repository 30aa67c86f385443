"""Scales all channels to equal value ranges, since int8 has one scale per tensor.

The layers between two convolutions pass on a positive factor of a channel. So one
convolution can multiply its output channel if the next ones divide their input by the
same factor. Ranges are measured on images, and every channel is scaled to [-1, 1], the
range of the rescaled image. The outputs stay the same up to rounding.

Reference: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and
Bias Correction", section 4.1. Chosen: ranges of activations instead of weights.
"""

from functools import singledispatch
from typing import Any

import keras
import numpy as np

from keras_efsnet.tflite.deploy import DepthToSpace

_PRODUCTS = (keras.layers.Conv2D, keras.layers.Conv2DTranspose, keras.layers.Dense)
"""Layers with a kernel, which takes the factors of its inputs and outputs."""

FIXED = 0
"""The group of channels whose scale must not change."""


class _Groups:
    """Groups of channels that must share a scale, as a union-find forest."""

    def __init__(self) -> None:
        self.parents = [FIXED]

    def add(self, count: int) -> np.ndarray:
        """Adds channels, each in its own group."""
        start = len(self.parents)
        self.parents.extend(range(start, start + count))
        return np.arange(start, start + count)

    def find(self, channel: int) -> int:
        while self.parents[channel] != channel:
            channel = self.parents[channel]
        return channel

    def join(self, *channels: np.ndarray | int) -> np.ndarray:
        """Joins channels at equal positions; returns the first array."""
        first, *others = np.broadcast_arrays(*channels)
        for other in others:
            for pair in zip(first.ravel(), other.ravel(), strict=True):
                low, high = sorted(self.find(channel) for channel in pair)
                self.parents[high] = low
        return first


def equalize(graph: keras.Model, images: np.ndarray) -> None:
    """Scales the channels of a deployment graph to equal ranges, in place.

    Args:
        graph: from `deployment_graph` in the style "dense", `int8_graph` or
            `npu_graph`.
        images: the graph's inputs, float32 `(n, height, width, 1)`.
    """
    groups = _Groups()
    channels: dict[str, np.ndarray] = {}
    for layer in graph.layers:
        inputs = [channels[tensor.name] for tensor in _inputs(layer)]
        channels[layer.output.name] = _propagate(layer, groups, *inputs)
    scales = _scales(groups, channels, _ranges(graph, images))
    for layer in graph.layers:
        if isinstance(layer, _PRODUCTS):
            before = scales[channels[layer.input.name]]
            after = scales[channels[layer.output.name]]
            kernel, *bias = layer.get_weights()
            factors = after / before[:, None]
            transposed = isinstance(layer, keras.layers.Conv2DTranspose)
            kernel = kernel * (factors.T if transposed else factors)
            layer.set_weights([kernel, *(values * after for values in bias)])


@singledispatch
def _propagate(layer: Any, groups: _Groups, *inputs: np.ndarray) -> np.ndarray:
    """Gives the channels of a layer's output from those of its inputs."""
    for channels in inputs:
        groups.join(channels, FIXED)
    return np.full(layer.output.shape[-1], FIXED)


@_propagate.register(keras.layers.Conv2D)
@_propagate.register(keras.layers.Conv2DTranspose)
@_propagate.register(keras.layers.Dense)
def _(layer: Any, groups: _Groups, x: np.ndarray) -> np.ndarray:
    return groups.add(layer.output.shape[-1])


@_propagate.register(keras.layers.LeakyReLU)
@_propagate.register(keras.layers.ReLU)
@_propagate.register(keras.layers.MaxPooling2D)
@_propagate.register(keras.layers.UpSampling2D)
@_propagate.register(keras.layers.ZeroPadding2D)
@_propagate.register(keras.layers.Cropping2D)
@_propagate.register(keras.layers.GlobalAveragePooling2D)
def _(layer: Any, groups: _Groups, x: np.ndarray) -> np.ndarray:
    return x


@_propagate.register
def _(layer: keras.layers.Add, groups: _Groups, *inputs: np.ndarray) -> np.ndarray:
    return groups.join(*inputs)


@_propagate.register
def _(
    layer: keras.layers.Concatenate, groups: _Groups, *inputs: np.ndarray
) -> np.ndarray:
    if layer.axis != -1:
        return groups.join(*inputs)
    return np.concatenate(inputs)


@_propagate.register(keras.layers.Reshape)
@_propagate.register(DepthToSpace)
def _(layer: Any, groups: _Groups, x: np.ndarray) -> np.ndarray:
    count = layer.output.shape[-1]
    if count >= len(x):
        return np.tile(x, count // len(x))
    return groups.join(*x.reshape(-1, count))


def _inputs(layer: keras.layers.Layer) -> list[Any]:
    if isinstance(layer, keras.layers.InputLayer):
        return []
    return layer.input if isinstance(layer.input, list) else [layer.input]


def _ranges(graph: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """Gives the largest magnitude in each channel, by tensor."""
    tensors = [layer.output for layer in graph.layers]
    largest = [
        keras.ops.max(keras.ops.abs(t), axis=list(range(len(t.shape) - 1)))
        for t in tensors
    ]
    measure = keras.Model(graph.input, largest)
    # Not `predict`: in graphs, TensorFlow 2.21's oneDNN fuses convolution, sum and
    # leaky ReLU, and then always uses slope 0.2.
    rows = [measure(image[None], training=False) for image in images]
    return {
        tensor.name: np.max(values, axis=0)
        for tensor, values in zip(tensors, zip(*rows, strict=True), strict=True)
    }


def _scales(
    groups: _Groups, channels: dict[str, np.ndarray], ranges: dict[str, np.ndarray]
) -> np.ndarray:
    """Gives the factor of each channel, by its number."""
    roots = np.array([groups.find(i) for i in range(len(groups.parents))])
    largest = np.zeros(len(roots))
    for name, members in channels.items():
        np.maximum.at(largest, roots[members], ranges[name])
    scales = 1 / np.where(largest > 0, largest, 1)
    scales[FIXED] = 1
    return scales[roots]
