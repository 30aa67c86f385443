"""The activations of EFSNet's blocks."""

from typing import Any

import keras
from keras import ops

from keras_efsnet.models import backend_ops

register = keras.saving.register_keras_serializable(package="keras_efsnet")


@register
class SlopeRange(keras.constraints.Constraint):
    """Keeps a PReLU slope in [minimum, maximum] after every update.

    An int8 leaky ReLU needs a slope clearly above 0. Up to slope 1, the PReLU equals
    `maximum(x, slope * x)`.
    """

    def __init__(self, minimum: float = 0.02, maximum: float = 1.0) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def __call__(self, w):
        return ops.clip(w, self.minimum, self.maximum)

    def get_config(self) -> dict[str, Any]:
        return {"minimum": self.minimum, "maximum": self.maximum}


@register
class SharedPReLU(keras.layers.Layer):
    """PReLU with one trainable slope for the whole feature map.

    Input shape: any. Output shape: the input's.

    Reference: He et al. 2015, "Delving Deep into Rectifiers" (channel-shared variant).
    """

    def build(self, input_shape):
        self.slope = self.add_weight(
            name="slope", shape=(), initializer=_slope_start, constraint=SlopeRange()
        )

    def call(self, inputs):
        return backend_ops.prelu(inputs, self.slope)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict[str, Any]:
        # Without this method, Keras refuses the config of a layer whose dtype is a
        # policy object.
        return super().get_config()


def _slope_start(shape, dtype=None):
    return ops.full(shape, 0.25, dtype=dtype)
