"""Copies a deployment graph to tf_keras, for tools that do not take Keras 3 models."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
import tf_keras


def copy_to_tf_keras(graph: keras.Model) -> tf_keras.Model:
    """Copies a deployment graph, weights included, to a tf_keras model.

    Returns:
        A functional model for batches of any size, with the graph's layer names.
    """
    tensors = {}
    for layer in graph.layers:
        if isinstance(layer, keras.layers.InputLayer):
            shape = layer.output.shape[1:]
            image = tensors[layer.output.name] = tf_keras.Input(shape, name=layer.name)
            continue
        copy = _copy(layer)
        inputs = [tensors[tensor.name] for tensor in tf.nest.flatten(layer.input)]
        tensors[layer.output.name] = copy(inputs if len(inputs) > 1 else inputs[0])
        copy.set_weights(layer.get_weights())
    outputs = {key: tensors[tensor.name] for key, tensor in graph.output.items()}
    return tf_keras.Model(image, outputs)


class DepthToSpace(tf_keras.layers.Layer):
    """The tf_keras copy of `deploy.DepthToSpace`."""

    def __init__(self, block_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block_size = block_size

    def call(self, inputs):
        return tf.nn.depth_to_space(inputs, self.block_size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block_size": self.block_size}


_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "Activation": ("activation",),
    "Conv2D": (
        *("filters", "kernel_size", "strides", "padding"),
        *("dilation_rate", "groups"),
    ),
    "Dense": ("units",),
    "DepthwiseConv2D": ("kernel_size", "padding", "use_bias"),
    "DepthToSpace": ("block_size",),
    "MaxPooling2D": ("pool_size",),
    "Rescaling": ("scale", "offset"),
    "Reshape": ("target_shape",),
    "UpSampling2D": ("size", "interpolation"),
}
"""Constructor arguments of a deployment graph's layers, by class."""


def _copy(layer: keras.layers.Layer) -> tf_keras.layers.Layer:
    kind, config = type(layer).__name__, layer.get_config()
    arguments = {name: config[name] for name in _ARGUMENTS.get(kind, ())}
    if kind == "LeakyReLU":
        arguments["alpha"] = config["negative_slope"]
    cls = DepthToSpace if kind == "DepthToSpace" else getattr(tf_keras.layers, kind)
    return cls(name=layer.name, **arguments)
