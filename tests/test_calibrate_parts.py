"""The steps of calibration by themselves, on outputs made by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.prediction.referral import ReferralRule
from keras_efsnet.training import calibrate as calibrating
from keras_efsnet.training.calibrate import (
    LESION_FRACTIONS,
    NORMAL_GATES,
    THRESHOLDS,
    _balance,
    _by_source,
    _count,
    _fit_malignancy,
    _fit_temperature,
    _judge,
    _log,
    _logit,
    _score,
    _sharpen,
    _shift,
)
from keras_efsnet.training.datasets.sample import Sample
from keras_efsnet.training.evaluate import RawOutput

RULES = Postprocess()
SIDE = 100
LENGTHS = (5, 10, 20, 40, 80)
"""Areas of the lesions of `lines`: of 10,000 pixels, at the limits of the search."""


def lines():
    """bool `(100, 100)`: a line of each length, two rows apart, off the borders."""
    mask = np.zeros((SIDE, SIDE), bool)
    for row, length in enumerate(LENGTHS):
        mask[10 + 3 * row, 10 : 10 + length] = True
    return mask


def output(probability, classes, label="benign", masks=(), name="a", **facts):
    grey = np.full((SIDE, SIDE), 90, np.uint8)
    sample = Sample(name, label, Path(f"{name}.png"), tuple(masks), **facts)
    return RawOutput(sample, grey, np.float32(probability), np.float32(classes))


@pytest.fixture
def truth(tmp_path):
    """The left half of each line of `lines`, as a mask file."""
    half = lines()
    for row, length in enumerate(LENGTHS):
        half[10 + 3 * row, 10 + length // 2 :] = False
    Image.fromarray(half).save(tmp_path / "truth.png")
    return tmp_path / "truth.png"


def test_sources_weigh_the_same_and_sum_to_one():
    weights = _balance(["x", "x", "y", None, "y", "x"])
    third = 1 / 3
    expected = [third / 3, third / 3, third / 2, third, third / 2, third / 3]
    np.testing.assert_allclose(weights, expected)


def test_images_by_source_keep_their_order():
    samples = [
        Sample(name, "benign", Path(f"{name}.png"), source=source)
        for name, source in zip("abc", ("x", None, "x"), strict=True)
    ]
    assert _by_source(samples, [1, 2, 3]) == {"x": [1, 3], "unknown": [2]}
    with pytest.raises(ValueError, match="shorter"):
        _by_source(samples, [1, 2])


def test_a_temperature_takes_the_root_of_the_odds():
    classes = np.float32([[0.2, 0.3, 0.5], [0, 0, 1]])
    roots = np.sqrt([[0.2, 0.3, 0.5]])
    found = _sharpen(classes, 2.0)
    np.testing.assert_allclose(found[:1], roots / roots.sum(), rtol=1e-6)
    np.testing.assert_allclose(found[1], [1e-6, 1e-6, 1 - 2e-6], rtol=1e-5)
    assert found.dtype == np.float64
    squares = np.square([0.2, 0.3, 0.5])
    np.testing.assert_allclose(_sharpen(classes, 0.5)[0], squares / squares.sum(), 1e-6)
    sure = _sharpen(np.float64([[1 - 1e-9, 1e-9, 0]]), 0.01)
    np.testing.assert_array_equal(sure, [[1, 0, 0]])
    # Powers that no number can hold: each row is scaled by its own largest.
    steep = _sharpen(np.float64([[0.2, 0.3, 0.5], [1, 0, 0]]), 0.0005)
    np.testing.assert_allclose(steep, [[0, 0, 1], [1, 0, 0]], atol=1e-12)


def test_a_temperature_counts_images_by_their_weight():
    classes = np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1]])
    labels = np.array([0, 1])
    # The first kind of image alone is right with more certainty than it claims.
    assert _fit_temperature(classes, labels, np.array([0.99, 0.01])) < 0.9
    assert _fit_temperature(classes, labels, np.array([0.5, 0.5])) > 1.5
    bounds = [
        _fit_temperature(classes, labels, np.array(weights))
        for weights in ([1.0, 0.0], [0.0, 1.0])
    ]
    np.testing.assert_allclose(bounds, [np.exp(-2), np.exp(2)], rtol=1e-3)


def test_logits_are_finite():
    assert _logit(0.5) == 0
    assert _logit(0.75) == pytest.approx(np.log(3))
    edge = np.log((1 - 1e-7) / 1e-7)
    np.testing.assert_allclose(_logit(np.array([0.0, 1.0])), [-edge, edge], rtol=1e-6)
    logs = _log(np.float32([0, 1e-13, 1e-12, 0.5, 1]))
    small = np.log(1e-12)
    np.testing.assert_allclose(logs, [small, small, small, np.log(0.5), 0], atol=1e-6)
    assert logs.dtype == np.float64


def test_a_threshold_becomes_a_half():
    shifted = _shift(np.float32([0.25, 0.4, 0.1, 0, 1]), 0.25)
    # Odds of 1/3 become 1: those of 2/3 and 1/9 become 2 and 1/3.
    np.testing.assert_allclose(shifted, [0.5, 2 / 3, 1 / 4, 0, 1], atol=1e-6)
    assert shifted.dtype == np.float32
    np.testing.assert_allclose(_shift(np.float32([0.3]), 0.5), [0.3], rtol=1e-6)


def test_pixels_are_counted_for_each_smallest_lesion(truth):
    assert LESION_FRACTIONS == (0.0, 0.001, 0.002, 0.004, 0.008)
    found = output(np.where(lines(), 0.4, 0.1), [0, 1, 0])
    half = np.asarray(Image.open(truth))
    counts = _count(found, RULES, half, 0.3)
    lengths = [LENGTHS[at:] for at in range(5)]
    expected = [[sum(n // 2 for n in kept), sum(kept)] for kept in lengths]
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_array_equal(_count(found, RULES, half, 0.45), np.zeros((5, 2)))


def test_black_margins_are_not_counted():
    found = output(np.where(lines(), 0.9, 0.1), [0, 1, 0])
    grey = found.grey.copy()
    grey[:, :12] = 0  # the first two pixels of each line
    counts = _count(replace(found, grey=grey), RULES, lines(), 0.5)
    left = sum(LENGTHS) - 2 * len(LENGTHS)
    assert counts[0].tolist() == [left, left]


def test_parts_that_touch_at_a_corner_are_one_lesion():
    mask = np.zeros((SIDE, SIDE), bool)
    mask[range(20, 30), range(20, 30)] = True
    counts = _count(output(np.where(mask, 0.9, 0), [0, 1, 0]), RULES, mask, 0.5)
    assert counts[1].tolist() == [10, 10]
    assert counts[2].tolist() == [0, 0]


def test_a_choice_scores_as_it_would_be_applied(truth):
    half = np.asarray(Image.open(truth))
    lesion = output(np.where(half, 0.42, 0.1), [0.7, 0.2, 0.1], masks=[truth])
    normal = output(np.where(lines(), 0.6, 0.1), [0.7, 0.2, 0.1], "normal")
    unsure = output(np.where(lines(), 0.6, 0.1), [0.3, 0.4, 0.3], "normal")
    classes = np.float64([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.45, 0.5, 0.05]])
    weights = np.array([0.5, 0.3, 0.2])
    pairs = zip([lesion, normal, unsure], classes, strict=True)
    outputs = [replace(found, probabilities=row) for found, row in pairs]
    found = dict(_score(outputs, RULES, weights))
    assert len(found) == len(THRESHOLDS) * len(LESION_FRACTIONS) * len(NORMAL_GATES)
    assert THRESHOLDS[0] == 0.25 and THRESHOLDS[-1] == 0.75
    assert found[0.4, 0.0, None] == pytest.approx(0.5)
    assert found[0.4, 0.0, 0.95] == pytest.approx(0.5)
    # The gate empties both masks of images whose class is normal: 0.7 is enough.
    assert found[0.4, 0.0, 0.7] == pytest.approx(0.3)
    assert found[0.4, 0.0, 0.4] == pytest.approx(0.3)
    assert found[0.45, 0.0, 0.8] == pytest.approx(0)
    assert found[0.7, 0.0, None] == pytest.approx(0.3 + 0.2)
    # Halves of 20 and 40 pixels are left of 77, then one of 40.
    shares = {0.001: 70 / 77, 0.002: 60 / 77, 0.004: 40 / 77, 0.008: 0}
    for fraction, share in shares.items():
        dice = 2 * share / (1 + share)
        assert found[0.4, fraction, None] == pytest.approx(0.5 * dice)


def test_the_judge_counts_images_and_errors():
    rules = Postprocess(refer=ReferralRule(0.6, 0.0))
    empty = np.zeros((SIDE, SIDE))
    right = output(empty, [0.7, 0.2, 0.1], "normal", name="a")
    unsure = output(empty, [0.5, 0.3, 0.2], "normal", name="b")
    wrong = output(np.where(lines(), 0.9, 0), [0.1, 0.8, 0.1], "normal", name="c")
    both = output(np.where(lines(), 0.9, 0), [0.2, 0.5, 0.3], "normal", name="d")
    assert _judge([right, unsure], rules) == (0.5, None)
    assert _judge([right, unsure, wrong, both], rules) == (0.5, 0.5)


def test_malignancy_is_fitted_on_the_patients_of_malignant_images(monkeypatch):
    seen = []
    monkeypatch.setattr(
        calibrating, "fit_malignancy", lambda *given: seen.append(given)
    )
    empty = np.zeros((SIDE, SIDE))
    _fit_malignancy(
        [
            output(empty, [0.1, 0.2, 0.7], "malignant", name="a"),
            output(empty, [0.1, 0.3, 0.6], "benign", name="b"),
            output(empty, [0.3, 0.2, 0.5], "malignant", name="c", patient="1"),
        ],
        RULES,
    )
    ((probabilities, people),) = seen
    assert probabilities == pytest.approx([0.7, 0.5])
    assert people == ["a", "/1"]
