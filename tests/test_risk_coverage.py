"""Risk-coverage curves against hand-computed ones."""

import numpy as np
import pytest

from keras_efsnet.training.risk_coverage import area_under_risk, risk_coverage


def test_curve_leaves_out_the_least_sure_first():
    coverage, risk = risk_coverage(
        np.array([0.2, 0.9, 0.5, 0.7]), np.array([1.0, 0.0, 0.5, 0.1])
    )
    assert coverage == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert risk == pytest.approx([0.0, 0.05, 0.2, 0.4])


def test_of_equal_confidences_the_worst_counts_first():
    for risk in ([0.0, 1.0], [1.0, 0.0]):
        _, curve = risk_coverage(np.array([0.5, 0.5]), np.array(risk))
        assert curve == pytest.approx([1.0, 0.5])


def test_area_of_a_draw_is_the_mean_of_its_own_curve():
    rng = np.random.default_rng(0)
    confidence, risk = rng.uniform(size=20).round(1), rng.uniform(size=20)
    weights = rng.integers(4, size=(5, 20))
    draws = [np.repeat(np.arange(20), times) for times in weights]
    expected = [risk_coverage(confidence[draw], risk[draw])[1].mean() for draw in draws]
    assert area_under_risk(confidence, risk, weights) == pytest.approx(expected)


def test_better_confidence_has_a_smaller_area():
    risk, all_images = np.arange(10) / 10, np.ones((1, 10))
    best = area_under_risk(-risk, risk, all_images)
    worst = area_under_risk(risk, risk, all_images)
    assert best < risk.mean() < worst
