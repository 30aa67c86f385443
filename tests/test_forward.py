"""The network equals a plain PyTorch EFSNet that has the same weights.

The environment variable EFSNET_REFERENCE names the file of that network: a class
`EFSNet` whose outputs are the logits of mask and class.
"""

import os
import runpy
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from checks import randomize_weights
from keras_efsnet import EFSNet
from keras_efsnet.models.layers import DownsamplingBlock

torch = pytest.importorskip("torch", reason="the reference needs PyTorch")

# At 1/8 scale the features are larger than the largest dilation, 8, on every side.
SIZE = (80, 96)

LAYERS = [
    *("initial", "down_1", *(f"factorized_{i}" for i in (1, 2, 3, 4)), "down_2"),
    *("csdc_1", "csdc_2", "up_1", "shuffle_4_1", "shuffle_4_2"),
    *("up_2", "shuffle_2_1", "shuffle_2_2", "mask_logits", "class_logits"),
]
"""The layers with weights in the reference's order."""


@pytest.fixture(scope="module")
def pair():
    """Our network, of random weights, and the reference; both without dropout."""
    file = Path(os.environ.get("EFSNET_REFERENCE", ""))
    if not file.is_file():
        pytest.skip("EFSNET_REFERENCE names no file; it is a plain PyTorch EFSNet")
    keras.utils.set_random_seed(0)
    model = randomize_weights(EFSNet((*SIZE, 1), dropout=0.0, class_dropout=0.0))
    network = runpy.run_path(str(file))["EFSNet"]()
    align(network)
    return model, network


def align(network):
    """Gives the reference the three conventions in which Keras differs.

    Before its first convolution, of stride 2, Keras pads one row and one column after
    the last ones. The reference pads before the first ones too, so its windows start
    one pixel earlier. Here it pads as Keras does. Epsilon and momentum of the norms
    become Keras's, and dropout is off.
    """
    network.first[0].padding = (0, 0)
    network.first = torch.nn.Sequential(
        torch.nn.ZeroPad2d((0, 1, 0, 1)), *network.first
    )
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps, module.momentum = 1e-3, 0.01
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
            module.p = 0.0


def state_of(model, network):
    """Our weights as PyTorch tensors, under the reference's names."""
    weights = [
        weight
        for name in LAYERS
        for part in in_reference_order(model.get_layer(name))
        for weight in part.weights
    ]
    names = [name for name in network.state_dict() if not name.endswith("tracked")]
    return dict(zip(names, map(to_torch, weights), strict=True))


def in_reference_order(layer):
    """The reference's bottlenecks have their shortcut after the convolutions."""
    if isinstance(layer, DownsamplingBlock):
        return [layer.reduce, layer.filter, layer.expand, layer.project, layer.act]
    return [layer]


def to_torch(weight):
    """(height, width, in, out) to (out, in, height, width); a slope gets one axis."""
    depthwise = weight.name == "depthwise_kernel"
    axes = {2: (1, 0), 4: (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)}
    value = np.atleast_1d(ops.convert_to_numpy(weight))
    return torch.tensor(value.transpose(axes.get(value.ndim, (0,))))


def two_images():
    """A dark and a bright image of noisy squares."""
    rng = np.random.default_rng(1)
    squares = rng.uniform(0, 64, (2, SIZE[0] // 16, SIZE[1] // 16))
    squares[1] += 128
    images = np.kron(squares, np.ones((16, 16))) + rng.uniform(0, 64, (2, *SIZE))
    return images[..., None].astype("float32")


def assert_equal_outputs(model, network, training):
    """Carries the weights over and compares the outputs."""
    network.load_state_dict({**network.state_dict(), **state_of(model, network)})
    network.train(training)
    images = two_images()
    with torch.no_grad():
        mask, label = network(torch.tensor(images / 127.5 - 1).movedim(-1, 1))
    expected = {"mask": mask.sigmoid().movedim(1, -1), "class": label.softmax(1)}
    outputs = model(images, training=training)
    for name, value in expected.items():
        found = ops.convert_to_numpy(outputs[name])
        np.testing.assert_allclose(found, value, rtol=0, atol=1e-4, err_msg=name)
        # Outputs that hardly depend on the image would agree too.
        assert np.abs(found[0] - found[1]).max() > 1e-3, name


def test_prediction_equals_the_reference(pair):
    assert_equal_outputs(*pair, training=False)


def test_training_equals_the_reference(pair):
    """Outputs by the batch's own statistics, and what the norms keep of these."""
    before = state_of(*pair)
    assert_equal_outputs(*pair, training=True)
    expected = pair[1].state_dict()
    for name, found in state_of(*pair).items():
        # PyTorch averages the unbiased variance: here at most 1/239 of it more.
        tolerance = 1e-3 if name.endswith("running_var") else 1e-4
        np.testing.assert_allclose(
            found, expected[name], rtol=tolerance, atol=1e-4, err_msg=name
        )
        assert torch.equal(found, before[name]) == ("running" not in name), name
