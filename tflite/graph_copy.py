"""Rebuilds a functional model, layer by layer, for inference of one image."""

from collections.abc import Callable
from typing import Any

import keras

from keras_efsnet.models.presets import DEFAULT_SIZE


def copy_graph(model: keras.Model, call_layer: Callable[..., Any]) -> keras.Model:
    """Rebuilds a functional model for one image of a fixed size.

    Args:
        call_layer: called as `call_layer(layer, *inputs)` with each layer and symbolic
            inputs; gives the symbolic outputs.

    Raises:
        ValueError: Keras does not run on TensorFlow.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ValueError(
            f"TFLite files are made on the tensorflow backend, got {backend}; set "
            "KERAS_BACKEND=tensorflow."
        )

    def call_for_inference(
        layer: Any, *args: Any, training: Any = None, **kwargs: Any
    ) -> Any:
        return call_layer(layer, *args, **kwargs)

    _, height, width, channels = model.input_shape
    shape = (height or DEFAULT_SIZE[0], width or DEFAULT_SIZE[1], channels)
    return keras.models.clone_model(
        model,
        input_tensors=keras.Input(shape, batch_size=1, name="image"),
        clone_function=lambda layer: layer,
        call_function=call_for_inference,
    )


def copy_layer(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls a copy of a layer with copied weights."""
    copy = type(layer).from_config(layer.get_config())
    outputs = copy(*args, **kwargs)
    if isinstance(layer, keras.layers.Layer):
        copy.set_weights(layer.get_weights())
    return outputs
