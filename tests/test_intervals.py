"""Intervals against SciPy's, known truths, and groups of images that are alike."""

import numpy as np
import pytest
from scipy.stats import binomtest

from keras_efsnet.training import bootstrap
from keras_efsnet.training.bootstrap import draw_groups
from keras_efsnet.training.intervals import average, estimate, has_too_few, wilson


@pytest.mark.parametrize(("hits", "images"), [(2, 2), (0, 26), (26, 30), (1, 40)])
def test_wilson_of_single_images_is_scipys(hits, images):
    expected = binomtest(hits, images).proportion_ci(method="wilson")

    interval = wilson(np.arange(images) < hits, np.arange(images))

    assert interval == pytest.approx([expected.low, expected.high])


def test_wilson_of_two_of_two():
    assert wilson(np.array([True, True]), np.arange(2)) == pytest.approx(
        [0.342, 1], abs=1e-3
    )


def test_wilson_counts_copies_once():
    hits, groups = np.arange(30) < 12, np.arange(30)
    for copies in (2, 5):
        repeated = wilson(np.repeat(hits, copies), np.repeat(groups, copies))
        assert repeated == pytest.approx(wilson(hits, groups))
    assert wilson(np.ones(60, bool), np.repeat(groups, 2)) == pytest.approx(
        wilson(np.ones(30, bool), groups)
    )


def test_wilson_of_groups_of_half_hits_is_that_of_single_images():
    hits = np.tile([True, False], 20)

    assert wilson(hits, np.repeat(np.arange(20), 2)) == wilson(hits, np.arange(40))


def simulate(rng, groups, copies):
    """Dice and hits of images of which those of a group are much alike."""
    shared = np.repeat(rng.normal(size=groups), copies)
    values = 0.95 * shared + 0.31 * rng.normal(size=groups * copies)
    return 1 / (1 + np.exp(-values)), values > 0.5


def covered(groups, copies, together, runs=150):
    """How often the intervals of mean Dice and of the hits hold the truth."""
    rng = np.random.default_rng(0)
    dice_truth, hit_truth = 0.5, 0.3085  # P(standard normal > 0.5)
    found = np.zeros(2)
    for _ in range(runs):
        dice, hits = simulate(rng, groups, copies)
        group = np.arange(groups).repeat(copies) if together else np.arange(dice.size)
        metrics = {"dice": average(dice, np.ones(dice.size, bool))}
        low, high = estimate(metrics, group, draw_groups(group))["dice_ci"]
        found[0] += low <= dice_truth <= high
        low, high = wilson(hits, group)
        found[1] += low <= hit_truth <= high
    return found / runs


def test_intervals_by_group_hold_the_truth_and_those_by_image_do_not(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 400)

    assert np.all(covered(40, 4, together=True) > 0.91)
    assert np.all(covered(40, 4, together=False) < 0.83)
    assert np.all(covered(12, 1, together=True) > 0.91)


def test_too_few_is_by_groups_where_these_are_known():
    assert has_too_few({"n": 40, "groups": 9})
    assert has_too_few({"n": 9})
    assert not has_too_few({"n": 10})
    assert not has_too_few({"n": 10, "groups": 10})
