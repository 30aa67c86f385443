import time

import numpy as np
import pytest
from scipy import ndimage

from keras_efsnet.images.components import split_components

EIGHT = np.ones((3, 3))


@pytest.mark.parametrize("density", [0.0, 0.1, 0.4, 0.7, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (23, 31)])
def test_components_are_those_of_scipy(density, shape):
    mask = np.random.default_rng(3).random(shape) < density
    numbers, _ = ndimage.label(mask, EIGHT)
    area = np.bincount(numbers.ravel())
    boxes = [
        (s[1].start, s[0].start, s[1].stop, s[0].stop)
        for number, s in enumerate(ndimage.find_objects(numbers), start=1)
        if area[number] >= 4
    ]
    cleaned, found = split_components(mask, minimum_area=4)
    np.testing.assert_array_equal(cleaned, mask & (area[numbers] >= 4))
    assert sorted(found) == sorted(boxes)


def test_boxes_come_largest_first():
    mask = np.zeros((10, 12), bool)
    mask[0, 0] = mask[3:9, 2:7] = mask[0:2, 9:12] = True
    _, boxes = split_components(mask)
    assert boxes == [(2, 3, 7, 9), (9, 0, 12, 2), (0, 0, 1, 1)]


def test_diagonal_neighbours_are_one_component():
    mask = np.eye(5, dtype=bool)
    assert split_components(mask)[1] == [(0, 0, 5, 5)]
    assert split_components(mask[::-1])[1] == [(0, 0, 5, 5)]


def test_row_end_does_not_touch_the_next_rows_start():
    mask = np.zeros((2, 6), bool)
    mask[0, 5] = mask[1, 0] = True
    assert len(split_components(mask)[1]) == 2


def test_a_spiral_is_one_component_and_quick():
    y, x = np.mgrid[-360:359, -500:548]
    turn = np.arctan2(y, x) / (2 * np.pi)
    mask = (np.hypot(y, x) / 20 - turn) % 1 < 0.4
    numbers, count = ndimage.label(mask, EIGHT)
    start = time.perf_counter()
    _, boxes = split_components(mask)
    assert time.perf_counter() - start < 0.5
    assert len(boxes) == count
