import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation, binary_fill_holes, gaussian_filter

from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.polygons import (
    TOLERANCE,
    fill_polygon,
    polygon_area,
    trace_polygons,
)


def blobs(seed, size=(60, 80)):
    """A mask of many shapes: touching corners, holes, and lesions cut by the edge."""
    noise = gaussian_filter(np.random.default_rng(seed).random(size), 2)
    return noise > np.quantile(noise, 0.6)


def draw_with_pillow(polygons, shape):
    image = Image.new("1", shape[::-1])
    for points in polygons:
        ImageDraw.Draw(image).polygon([tuple(p) for p in points], fill=1, outline=1)
    return np.asarray(image)


def draw(polygons, shape):
    return np.any([fill_polygon(points, shape) for points in polygons], axis=0)


def is_within_a_pixel(drawn, mask):
    """Differences lie beside the mask's border; beyond the image nothing is mask."""
    square = np.ones((3, 3), bool)
    grown = binary_dilation(mask, square)
    shrunk = ~binary_dilation(~mask, square, border_value=1)
    return not (drawn & ~grown).any() and not (shrunk & ~drawn).any()


MASKS = [
    *(make_phantom("malignant", seed, (100, 120)).mask for seed in range(3)),
    *map(blobs, range(10)),
    np.eye(6, dtype=bool),
    np.ones((4, 6), bool),
    np.pad([[True]], 2),
]


@pytest.mark.parametrize("mask", MASKS)
def test_a_drawn_polygon_gives_the_mask_back(mask):
    filled = binary_fill_holes(mask)
    polygons = trace_polygons(mask)
    assert is_within_a_pixel(draw(polygons, mask.shape), filled)
    assert is_within_a_pixel(draw_with_pillow(polygons, mask.shape), filled)


@pytest.mark.parametrize("mask", MASKS)
def test_unsimplified_polygons_give_it_back_exactly(mask, monkeypatch):
    monkeypatch.setattr("keras_efsnet.prediction.polygons.TOLERANCE", 0)
    polygons = trace_polygons(mask)
    np.testing.assert_array_equal(draw(polygons, mask.shape), binary_fill_holes(mask))


def test_one_clockwise_polygon_a_component():
    mask = np.zeros((9, 12), bool)
    mask[1:4, 2:6] = mask[4:7, 6:9] = True  # they touch at a corner
    mask[8, 0] = True
    joined, single = trace_polygons(mask)
    assert polygon_area(joined) == pytest.approx(21, abs=4)
    assert polygon_area(single) == pytest.approx(0.5)
    assert single.min(axis=0).tolist() == [0, 8]
    assert single.max(axis=0).tolist() == [1, 9]


def test_an_empty_mask_has_none():
    assert trace_polygons(np.zeros((5, 5), bool)) == []


def test_few_points_are_enough_for_a_disc():
    rows, columns = np.ogrid[:101, :101]
    (polygon,) = trace_polygons(np.hypot(rows - 50, columns - 50) < 40)
    assert len(polygon) < 50
    distance = np.hypot(*(polygon - 50.5).T)
    assert np.abs(distance - 40).max() < 1 + TOLERANCE
    assert polygon_area(polygon) == pytest.approx(np.pi * 40**2, rel=0.02)


def test_a_polygon_beyond_the_image_is_cut():
    square = np.array([[-5, -5], [3, -5], [3, 3], [-5, 3]])
    drawn = fill_polygon(square, (6, 6))
    assert drawn[:3, :3].all()
    assert drawn.sum() == 9
