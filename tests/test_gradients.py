"""Gradients of our own kernels against central differences, on every backend."""

import keras
import numpy as np
import pytest
from keras import ops

from checks import OTHER_BACKENDS, noise, passes_on
from keras_efsnet import layers
from keras_efsnet.models import backend_ops
from keras_efsnet.models.activations import SharedPReLU
from keras_efsnet.models.convolutions import (
    BatchNorm,
    ChannelShuffle,
    GroupedPointwiseConv2D,
    SeparableConv2D,
)

STEP = 1 / 64
"""Exact in float32. All kernels but the norm are linear in each argument."""

DIRECTIONS = 4
"""Random signs: a wrong element shows in each with its whole error."""


class DoubleBilinear(keras.layers.Layer):
    def call(self, inputs):
        return backend_ops.double_bilinear(inputs)


CASES = [
    (SharedPReLU(), (2, 3, 2, 3), {}),
    (BatchNorm(), (2, 2, 3, 3), {"training": True}),
    (ChannelShuffle(2), (1, 2, 2, 6), {}),
    (GroupedPointwiseConv2D(6, 2), (2, 2, 2, 4), {}),
    (SeparableConv2D(3), (1, 3, 4, 4), {}),
    (layers.MaskHead(2), (1, 3, 4, 3), {}),
    (DoubleBilinear(), (1, 3, 4, 2), {}),
]


@pytest.mark.parametrize(
    ("layer", "shape", "mode"), CASES, ids=[layer.name for layer, *_ in CASES]
)
def test_gradients_equal_central_differences(layer, shape, mode):
    layer.build((None, *shape[1:]))
    inputs = noise(*shape)
    inputs += np.sign(inputs) / 8  # a step does not cross the PReLU's bend
    weights = [noise(*weight.shape) for weight in layer.trainable_weights]
    tensors = [ops.convert_to_tensor(array) for array in (inputs, *weights)]
    state = [ops.convert_to_tensor(weight) for weight in layer.non_trainable_weights]

    def total(inputs, *weights):
        outputs, _ = layer.stateless_call(weights, state, inputs, **mode)
        # Each output counts differently: a plain sum would hide most of the norm.
        share = noise(*outputs.shape, seed=1)
        return ops.sum(ops.multiply(outputs, share))

    if keras.backend.backend() == "jax":  # compiled, as in training
        import jax

        total = jax.jit(total)
    rng = np.random.default_rng(2)
    for place, gradient in enumerate(gradients(total, tensors)):
        for _ in range(DIRECTIONS):
            direction = rng.choice(np.float32([-1, 1]), gradient.shape)
            found = np.sum(gradient * direction)
            expected = difference(total, tensors, place, direction)
            assert found == pytest.approx(expected, rel=0, abs=2e-3), place


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("slope", [0.25, 1.0])
def test_the_slope_of_many_pixels_gets_their_sum(dtype, slope):
    x = noise(4, 32, 32, 32)

    def total(x, slope):
        y = backend_ops.prelu(ops.cast(x, dtype), ops.cast(slope, dtype))
        return ops.sum(ops.cast(y, "float32"))

    tensors = [ops.convert_to_tensor(a) for a in (x, np.float32(slope))]
    _, found = gradients(total, tensors)
    assert found == pytest.approx(np.minimum(x, 0).sum(), rel=1e-2)


def gradients(function, tensors):
    """The backend's gradients of a scalar function."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        found = tape.gradient(value, tensors)
    elif keras.backend.backend() == "jax":
        import jax

        found = jax.jit(jax.grad(function, argnums=range(len(tensors))))(*tensors)
    else:
        import torch

        tensors = [tensor.clone().requires_grad_() for tensor in tensors]
        found = torch.autograd.grad(function(*tensors), tensors)
    return [ops.convert_to_numpy(gradient) for gradient in found]


def difference(function, tensors, place, direction):
    """The slope of a scalar function as the tensor at `place` moves."""
    before, moving, after = tensors[:place], tensors[place], tensors[place + 1 :]
    ahead, behind = (
        float(function(*before, moving + ops.convert_to_tensor(step), *after))
        for step in (STEP * direction, -STEP * direction)
    )
    return (ahead - behind) / (2 * STEP)


@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_the_same_on_another_backend(backend):
    assert (
        passes_on(backend, __file__, "central_differences or their_sum")
        == len(CASES) + 4
    )
