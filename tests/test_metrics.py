"""Overlap scores and the Dice metric against hand-computed tables."""

import keras
import numpy as np
import pytest

from keras_efsnet.models.metrics import Dice, overlap_from_counts

#   truth,        prediction,   iou,   dice
TABLE = [
    ([1, 1, 0, 0], [1, 1, 0, 0], 1.0, 1.0),
    ([1, 1, 0, 0], [0, 1, 1, 0], 1 / 3, 1 / 2),
    ([1, 1, 1, 0], [1, 0, 0, 0], 1 / 3, 1 / 2),
    ([1, 1, 0, 0], [0, 0, 1, 1], 0.0, 0.0),
    ([0, 0, 0, 0], [0, 0, 0, 0], 1.0, 1.0),
    ([0, 0, 0, 0], [0, 0, 0, 1], 0.0, 0.0),
    ([1, 0, 0, 0], [0, 0, 0, 0], 0.0, 0.0),
]
TRUTH = np.array([row[0] for row in TABLE]).reshape(-1, 2, 2, 1)
PREDICTION = np.array([row[1] for row in TABLE]).reshape(-1, 2, 2, 1)
IOU = np.array([row[2] for row in TABLE])
DICE = np.array([row[3] for row in TABLE])


def to_numpy(tensors):
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]


def test_counts_give_the_scores_of_the_table():
    areas = [mask.sum((1, 2, 3)) for mask in (TRUTH & PREDICTION, TRUTH, PREDICTION)]

    iou, dice = to_numpy(overlap_from_counts(*areas))

    np.testing.assert_allclose(iou, IOU, atol=1e-6)
    np.testing.assert_allclose(dice, DICE, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "float32"])
def test_the_metric_gives_the_dice_of_the_table(dtype):
    found = []
    for truth, prediction in zip(TRUTH, PREDICTION, strict=True):
        metric = Dice()
        metric.update_state(truth[None].astype(dtype), prediction[None].astype("f4"))
        found.append(float(metric.result()))

    np.testing.assert_allclose(found, DICE, atol=1e-6)


def test_uint8_masks_of_many_pixels_do_not_overflow():
    mask = np.ones((1, 64, 64, 1), dtype=np.uint8)
    mask[:, :32] = 0
    metric = Dice()
    metric.update_state(np.ones_like(mask), mask.astype("float32"))

    assert float(metric.result()) == pytest.approx(2 / 3)


def test_counts_of_any_shape_give_the_same_scores():
    iou, dice = to_numpy(
        overlap_from_counts(
            np.array([[2, 0], [0, 0]]),
            np.array([[3, 0], [0, 5]]),
            np.array([[2, 0], [4, 0]]),
        )
    )

    np.testing.assert_allclose(iou, [[2 / 3, 1], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(dice, [[4 / 5, 1], [0, 0]], atol=1e-6)


def test_dice_averages_images_over_all_updates():
    metric = Dice()
    truth, probability = TRUTH.astype("float32"), 0.2 + 0.6 * PREDICTION

    metric.update_state(truth[:3], probability[:3])
    metric.update_state(truth[3:], probability[3:])

    assert float(metric.result()) == pytest.approx(DICE.mean(), abs=1e-6)
    metric.reset_state()
    metric.update_state(truth[:1], probability[:1])
    assert float(metric.result()) == pytest.approx(1.0)


def test_dice_leaves_images_of_weight_zero_out():
    metric = Dice()
    weights = np.array([1, 2, 0, 1, 0, 0, 0], dtype="float32")

    metric.update_state(TRUTH, PREDICTION.astype("float32"), sample_weight=weights)

    assert float(metric.result()) == pytest.approx((1.0 + 2 * 0.5 + 0.0) / 4)


def test_dice_cuts_above_its_threshold():
    truth = np.ones((1, 2, 2, 1))
    probability = np.array([0.2, 0.4, 0.5, 0.6], "float32").reshape(1, 2, 2, 1)
    scores = {}
    for threshold in (0.3, 0.5):
        metric = Dice(threshold=threshold)
        metric.update_state(truth, probability)
        scores[threshold] = float(metric.result())

    assert scores == pytest.approx({0.3: 6 / 7, 0.5: 2 / 5})


def test_dice_is_restored_from_its_serialized_form():
    restored = keras.metrics.deserialize(
        keras.metrics.serialize(Dice(threshold=0.25, name="mask_dice"))
    )

    assert isinstance(restored, Dice)
    assert (restored.threshold, restored.name) == (0.25, "mask_dice")


def test_evaluate_reports_dice_of_the_weighted_images_only():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    model.compile(loss="mse", weighted_metrics=[Dice()], jit_compile=False)

    logs = model.evaluate(
        PREDICTION.reshape(-1, 4).astype("float32"),
        TRUTH.reshape(-1, 4).astype("float32"),
        sample_weight=np.array([0, 1, 0, 0, 1, 0, 0], "float32"),
        return_dict=True,
        verbose=0,
    )

    assert logs["dice"] == pytest.approx((0.5 + 1.0) / 2)
