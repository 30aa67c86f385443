import keras
import numpy as np
import pytest
from keras import ops

from checks import check_layer, noise
from keras_efsnet import layers
from keras_efsnet.models import backend_ops
from keras_efsnet.models.activations import SharedPReLU, SlopeRange
from keras_efsnet.models.convolutions import (
    BatchNorm,
    ChannelShuffle,
    ConvNorm,
    GroupedPointwiseConv2D,
    SeparableConv2D,
)

# The trainable parameters are those of the published network, block by block.
LAYERS = [
    (SharedPReLU, {}, (2, 4, 4, 3), (2, 4, 4, 3), 1),
    (
        GroupedPointwiseConv2D,
        {"filters": 8, "groups": 2},
        (2, 4, 4, 6),
        (2, 4, 4, 8),
        24,
    ),
    (SeparableConv2D, {"filters": 8}, (2, 4, 4, 6), (2, 4, 4, 8), 54 + 48),
    (BatchNorm, {"momentum": 0.9}, (2, 4, 4, 6), (2, 4, 4, 6), 12),
    (
        ConvNorm,
        {"filters": 8, "kernel_size": 3, "strides": 2, "activation": "relu"},
        (2, 8, 8, 3),
        (2, 4, 4, 8),
        216 + 16,
    ),
    (layers.InitialBlock, {"filters": 16}, (2, 16, 16, 1), (2, 8, 8, 16), 166),
    (
        layers.DownsamplingBlock,
        {"filters": 64, "dropout": 0.2},
        (2, 8, 8, 16),
        (2, 4, 4, 64),
        5_699,
    ),
    (
        layers.DownsamplingBlock,
        {"filters": 128},
        (2, 8, 8, 64),
        (2, 4, 4, 128),
        30_339,
    ),
    (layers.FactorizedBlock, {"filters": 64}, (2, 4, 4, 64), (2, 4, 4, 64), 3_811),
    (
        layers.SDCBlock,
        {"filters": 128, "dilation_rate": 4, "groups": 2},
        (2, 8, 8, 128),
        (2, 8, 8, 128),
        13_698,
    ),
    (
        layers.CSDCBlock,
        {"filters": 128, "dropout": 0.0},
        (2, 8, 8, 128),
        (2, 8, 8, 128),
        54_792,
    ),
    (
        layers.ShuffleUnit,
        {"filters": 64, "groups": 2},
        (2, 4, 4, 64),
        (2, 4, 4, 64),
        1_616,
    ),
    (layers.ShuffleUnit, {"filters": 16}, (2, 4, 4, 16), (2, 4, 4, 16), 228),
    (layers.MaskHead, {"filters": 1}, (2, 4, 4, 16), (2, 8, 8, 1), 145),
]


@pytest.mark.parametrize(
    ("layer", "config", "shape", "output_shape", "parameters"),
    LAYERS,
    ids=lambda value: getattr(value, "__name__", None),
)
def test_layer_contract(layer, config, shape, output_shape, parameters):
    check_layer(layer, config, noise(*shape), output_shape, parameters)


@pytest.mark.parametrize(
    ("filters", "channels", "parameters"), [(64, 128, 12_418), (16, 64, 1_314)]
)
def test_upsampling_module_contract(filters, channels, parameters):
    inputs = [noise(2, 4, 4, channels), noise(2, 4, 4, channels, seed=1)]
    config = {"filters": filters}
    shape = (2, 8, 8, filters)
    check_layer(layers.UpsamplingModule, config, inputs, shape, parameters)


def test_channel_shuffle_interleaves_groups():
    shuffled = ChannelShuffle(2)(np.arange(6.0)[None, None, None])
    np.testing.assert_array_equal(np.ravel(shuffled), [0, 3, 1, 4, 2, 5])


def test_grouped_pointwise_keeps_groups_apart():
    layer = GroupedPointwiseConv2D(4, 2)
    inputs = noise(1, 2, 2, 6)
    outputs = ops.convert_to_numpy(layer(inputs))
    kernel = layer.kernel.numpy()[0, 0]
    np.testing.assert_allclose(
        outputs[..., :2], inputs[..., :3] @ kernel[:, :2], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        outputs[..., 2:], inputs[..., 3:] @ kernel[:, 2:], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("layer", [ChannelShuffle(4), GroupedPointwiseConv2D(8, 4)])
def test_indivisible_channels_are_refused(layer):
    with pytest.raises(ValueError, match="channels must be a multiple of groups"):
        layer(noise(1, 2, 2, 6))


def test_indivisible_filters_are_refused():
    with pytest.raises(ValueError, match="filters=6 and groups=4; use 8"):
        GroupedPointwiseConv2D(6, 4)


def test_separable_conv_is_depthwise_then_pointwise():
    layer = SeparableConv2D(5)
    inputs = noise(1, 6, 6, 3)
    merged = ops.convert_to_numpy(layer(inputs))
    deep = ops.depthwise_conv(inputs, layer.depthwise_kernel, padding="same")
    plain = ops.conv(deep, layer.pointwise_kernel, padding="same")
    plain = ops.convert_to_numpy(plain)
    np.testing.assert_allclose(merged, plain, rtol=1e-5, atol=1e-5)


def test_batch_norm_equals_keras():
    def close(one, other):
        values = [ops.convert_to_numpy(value) for value in (one, other)]
        np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-5)

    inputs = 3 * noise(4, 6, 6, 5) + 2
    ours = BatchNorm(momentum=0.9)
    theirs = keras.layers.BatchNormalization(momentum=0.9)
    for _ in range(2):
        close(ours(inputs, training=True), theirs(inputs, training=True))
    close(ours.moving_mean, theirs.moving_mean)
    close(ours.moving_variance, theirs.moving_variance)
    close(ours(inputs), theirs(inputs))


def test_prelu_has_one_slope_for_negative_values():
    layer = SharedPReLU()
    layer.build((None, 4))
    layer.slope.assign(0.5)
    outputs = layer(np.array([[-2.0, -1.0, 0.0, 3.0]], "float32"))
    outputs = ops.convert_to_numpy(outputs)
    np.testing.assert_array_equal(outputs, [[-1.0, -0.5, 0.0, 3.0]])


@pytest.mark.parametrize(("start", "target", "bound"), [(0.02, 9.0, 0.02), (1, -9, 1)])
def test_slope_stays_in_range(start, target, bound):
    layer = SharedPReLU()
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(keras.optimizers.SGD(0.5), "mse", jit_compile=False)
    layer.slope.assign(start)
    # At x = -1 the output is -slope: the target pulls it out of the range.
    model.fit(-np.ones((4, 1)), np.full((4, 1), target), epochs=2, verbose=0)
    assert float(layer.slope.numpy()) == pytest.approx(bound)
    assert isinstance(layer.slope.constraint, SlopeRange)


def test_mask_head_aligns_as_pytorch_does():
    """out[2m] comes from x[m], out[2m + 1] from x[m] and x[m + 1]."""
    head = layers.MaskHead()
    inputs = noise(1, 5, 7, 4)
    outputs = ops.convert_to_numpy(head(inputs))
    kernel = head.kernel.numpy()[:, :, 0]
    expected = np.zeros((11, 15))
    for i in range(5):
        for j in range(7):
            expected[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += kernel @ inputs[0, i, j]
    np.testing.assert_allclose(outputs[0, ..., 0], expected[1:, 1:], atol=1e-5)


def test_upsampling_is_bilinear_with_half_pixel_centres():
    ramp = np.tile(np.arange(4, dtype="float32")[:, None, None], (1, 1, 4, 1))
    resized = backend_ops.double_bilinear(ramp)
    np.testing.assert_allclose(
        ops.convert_to_numpy(resized)[0, :, 0, 0],
        [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3],
        atol=1e-6,
    )
