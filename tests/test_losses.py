import numpy as np
import pytest
from keras import ops

from keras_efsnet.models.losses import DiceBCE
from keras_efsnet.models.metrics import Dice


def value(truth, prediction, **arguments):
    truth, prediction = (
        np.array(x, "float32").reshape(1, 2, 2, 1) for x in (truth, prediction)
    )
    return float(DiceBCE(**arguments)(truth, prediction))


def test_against_a_hand_computed_value():
    # Dice: 1 - (2 * 0.5 + 1) / (1 + 0.7 + 1), with 1 for the smoothing.
    entropy = -(np.log(0.5) + np.log(0.8)) / 4
    expected = entropy + 1 - 2 / 2.7
    assert value([1, 0, 0, 0], [0.5, 0.2, 0, 0]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("mask", [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
def test_a_perfect_mask_costs_nothing(mask):
    assert value(mask, mask) == pytest.approx(0, abs=1e-5)


def test_false_pixels_on_an_empty_mask_cost():
    one, two = value([0] * 4, [0.5, 0, 0, 0]), value([0] * 4, [0.5, 0.5, 0, 0])
    assert 0.2 < one < two


def test_certain_and_wrong_is_finite():
    zeros = ops.convert_to_tensor(np.zeros((1, 2, 2, 1), "float32"))
    loss = float(DiceBCE()(1 - zeros, zeros))
    assert np.isfinite(loss) and loss > 10


def test_weights_of_the_two_terms():
    truth, prediction = [1, 1, 0, 0], [0.6, 0.4, 0.1, 0.3]
    both = value(truth, prediction)
    entropy = value(truth, prediction, dice_weight=0.0)
    assert value(truth, prediction, dice_weight=3.0) == pytest.approx(
        entropy + 3 * (both - entropy), abs=1e-5
    )


def two_images():
    rng = np.random.default_rng(0)
    truth = (rng.random((2, 4, 4, 1)) > 0.5).astype("float32")
    return truth, rng.random((2, 4, 4, 1), "float32")


def test_an_image_of_weight_0_does_not_count_in_the_mean():
    truth, prediction = two_images()
    loss = DiceBCE()
    first = float(loss(truth[:1], prediction[:1]))
    assert float(loss(truth, prediction, np.float32([1, 0]))) == pytest.approx(first)
    assert float(loss(truth, prediction, np.float32([0, 0]))) == 0
    second = float(loss(truth[1:], prediction[1:]))
    expected = (first + 3 * second) / 4
    weight = np.float32([0.5, 1.5])
    assert float(loss(truth, prediction, weight)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("axes", [3, 4])
def test_pixels_of_weight_0_do_not_count(axes):
    truth, prediction = two_images()
    weight = np.zeros((2, 4, 4, 1), "float32")
    weight[0, :, :2] = 1
    weight[1, 1:] = 1
    shaped = weight if axes == 4 else weight[..., 0]
    found = float(DiceBCE()(truth, prediction, shaped))
    parts = [
        (truth[:1, :, :2], prediction[:1, :, :2]),
        (truth[1:, 1:], prediction[1:, 1:]),
    ]
    expected = np.mean([float(DiceBCE()(*part)) for part in parts])
    assert found == pytest.approx(expected, rel=1e-5)
    weight[1] = 0
    only = float(DiceBCE()(*parts[0]))
    assert float(DiceBCE()(truth, prediction, weight)) == pytest.approx(only, rel=1e-5)


def test_pixels_of_one_weight_are_an_image_of_this_weight():
    truth, prediction = two_images()
    weight = np.float32([1, 3])
    expected = float(DiceBCE()(truth, prediction, weight))
    for shape in [(2, 4, 4, 1), (2, 4, 4), (2, 1, 1)]:
        shaped = np.broadcast_to(weight.reshape(2, *[1] * (len(shape) - 1)), shape)
        found = float(DiceBCE()(truth, prediction, shaped))
        assert found == pytest.approx(expected, rel=1e-5)
    assert float(DiceBCE()(truth, prediction, [1, 3])) == pytest.approx(expected)
    metrics = []
    for shaped in (weight, np.broadcast_to(weight[:, None, None], (2, 4, 4))):
        metric = Dice()
        metric.update_state(truth, prediction, shaped)
        metrics.append(float(metric.result()))
    assert metrics[0] == pytest.approx(metrics[1]) and metrics[1] <= 1


def test_config_round_trip():
    loss = DiceBCE(smoothing=2.0, dice_weight=0.5)
    copy = DiceBCE.from_config(loss.get_config())
    assert (copy.smoothing, copy.dice_weight) == (2.0, 0.5)
