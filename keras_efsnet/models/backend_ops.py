"""Backend kernels that replace slow or missing operations of `keras.ops`.

Norms and activations are bound by memory. With `keras.ops` they take several passes
over the feature map; TensorFlow's and PyTorch's fused kernels take one, with the same
result. JAX compiles the plain form to one pass. See `benchmarks/train_step.py`.
"""

from typing import Any

import keras
from keras import ops

_BACKEND = keras.backend.backend()

CHANNELS_LAST = "channels_last"
"""The layout of all feature maps, whatever keras.json says."""

if _BACKEND == "tensorflow":
    import tensorflow as tf

    def batch_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple:
        """Normalizes `x` over all axes but the last by its own statistics.

        Args:
            x: `(batch, height, width, channels)`.
            gamma: scale, `(channels,)`, float32.
            beta: offset, `(channels,)`, float32.
            epsilon: added to the variance.

        Returns:
            The normalized `x`, and each channel's mean and biased variance.
        """
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=gamma,
            offset=beta,
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=epsilon,
            is_training=True,
        )
        count = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), variance.dtype)
        return y, mean, variance * (count - 1) / count

    @tf.custom_gradient
    def _prelu(x, slope):
        positive = x > 0
        scale = tf.where(positive, tf.ones_like(slope), slope)

        def gradient(dy):
            return dy * scale, tf.reduce_sum(tf.minimum(x, 0) * dy)

        return x * scale, gradient

    def prelu(x: Any, slope: Any) -> Any:
        """Returns `x` where positive, else `slope * x`, for one scalar slope."""
        return _prelu(x, tf.convert_to_tensor(slope))

    def double_bilinear(x: Any) -> Any:
        """Doubles height and width by bilinear interpolation, half-pixel centres."""
        # On TensorFlow, `keras.ops.image.resize` takes no dynamic sizes.
        _, height, width, _ = ops.shape(x)
        return tf.cast(tf.image.resize(x, (2 * height, 2 * width)), x.dtype)

elif _BACKEND == "torch":
    import torch

    def batch_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple:
        y, mean, inverse_deviation = torch.native_batch_norm(
            torch.movedim(x, -1, 1), gamma, beta, None, None, True, 0.0, epsilon
        )
        variance = inverse_deviation.pow(-2) - epsilon
        return torch.movedim(y, 1, -1), mean.detach(), variance.detach()

    def prelu(x: Any, slope: Any) -> Any:
        slope = ops.convert_to_tensor(slope).reshape(1)
        return torch.movedim(torch.prelu(torch.movedim(x, -1, 1), slope), 1, -1)

else:

    def batch_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple:
        mean, variance = ops.moments(ops.cast(x, "float32"), axes=[0, 1, 2])
        scale = gamma * ops.rsqrt(variance + epsilon)
        y = ops.cast(x, "float32") * scale + (beta - mean * scale)
        return ops.cast(y, x.dtype), mean, variance

    def prelu(x: Any, slope: Any) -> Any:
        # In float32, since the slope's gradient is a sum over all pixels.
        exact = ops.cast(x, "float32")
        y = ops.where(exact > 0, exact, ops.cast(slope, "float32") * exact)
        return ops.cast(y, x.dtype)


def has_float64() -> bool:
    """Whether the backend computes in float64; JAX does where it is switched on."""
    if _BACKEND != "jax":
        return True
    import jax

    return bool(jax.config.jax_enable_x64)


if _BACKEND != "tensorflow":

    def double_bilinear(x: Any) -> Any:
        _, height, width, _ = ops.shape(x)
        size = (2 * height, 2 * width)
        return ops.image.resize(
            x, size, interpolation="bilinear", data_format=CHANNELS_LAST
        )
