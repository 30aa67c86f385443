"""Measurements of lesions of known geometry."""

import math

import numpy as np
import pytest

from keras_efsnet.images.components import label_components, split_components
from keras_efsnet.images.frame import Frame, UltrasoundRegion
from keras_efsnet.images.screen_region import ScreenRegion
from keras_efsnet.prediction.measurements import describe_size, measure_lesions
from keras_efsnet.prediction.postprocess import Prediction

SHAPE = (400, 500)


def ellipse(semi_axes, degrees=0.0, centre=(250.3, 200.6), shape=SHAPE, scale=(1, 1)):
    """An ellipse whose semi-axes are in units of `scale` a pixel."""
    turn = math.radians(degrees)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    x, y = (x - centre[0]) * scale[0], (y - centre[1]) * scale[1]
    along = x * math.cos(turn) + y * math.sin(turn)
    across = y * math.cos(turn) - x * math.sin(turn)
    return (along / semi_axes[0]) ** 2 + (across / semi_axes[1]) ** 2 < 1


def measured(mask, grey=None, **frame):
    mask, boxes = split_components(mask)
    pixels = np.full(mask.shape, 90, np.uint8) if grey is None else grey
    prediction = Prediction(
        mask=mask,
        probability=mask.astype(np.float32),
        label="benign",
        probabilities={},
        lesion_area_px=int(mask.sum()),
        lesion_fraction=0.0,
        boxes=boxes,
    )
    return measure_lesions(Frame(pixels, **frame), prediction)


def close(value, right):
    """Within 2 % or one pixel, whichever is more."""
    return abs(value - right) <= max(0.02 * right, 1)


@pytest.mark.parametrize("degrees", [0, 17, 45, 80, 90, 135])
@pytest.mark.parametrize("semi_axes", [(100, 60), (60, 20), (12, 9)])
def test_a_turned_ellipse(semi_axes, degrees):
    (lesion,) = measured(ellipse(semi_axes, degrees))
    long, short = semi_axes
    assert close(lesion["longest_diameter_px"], 2 * long)
    assert close(lesion["perpendicular_diameter_px"], 2 * short)
    turn = math.radians(degrees)
    width = 2 * math.hypot(long * math.cos(turn), short * math.sin(turn))
    height = 2 * math.hypot(long * math.sin(turn), short * math.cos(turn))
    assert close(lesion["width_px"], width)
    assert close(lesion["height_px"], height)
    assert close(lesion["depth_px"], 200.6 - height / 2)
    assert lesion["area_px"] == pytest.approx(math.pi * long * short, rel=0.02)
    if abs(width - height) > 2:  # else a pixel decides
        expected = "parallel" if width > height else "not parallel"
        assert lesion["orientation"] == expected
    assert lesion["solidity"] > 0.94


def test_the_diameters_cross_at_right_angles_and_end_on_the_border():
    mask = ellipse((90, 40), 30)
    (lesion,) = measured(mask)
    border = ellipse((91, 41), 30) & ~ellipse((89, 39), 30)
    (a, b), (c, d) = (
        np.array(lesion[f"{name}_diameter_points"])
        for name in ("longest", "perpendicular")
    )
    assert abs((b - a) @ (d - c)) < 0.01 * math.dist(a, b) * math.dist(c, d)
    assert math.dist(a, b) == pytest.approx(lesion["longest_diameter_px"], abs=0.02)
    for x, y in (a, b, c, d):
        rows, columns = np.mgrid[:400, :500] + 0.5
        near = np.hypot(rows - y, columns - x) < 1.5
        assert (border & near).any()


def test_rounding_errors_move_no_diameter_out_of_the_lesion():
    mask = np.zeros((40, 50), bool)
    mask[20:25, 10:21] = True
    region = UltrasoundRegion(0, 0, 50, 40, (0.13, 0.2))
    (lesion,) = measured(mask, regions=(region,))
    for x, y in lesion["perpendicular_diameter_points"]:
        assert 10 <= x <= 21 and 20 <= y <= 25


@pytest.mark.parametrize("scale", [(0.1, 0.1), (0.1, 0.2), (0.2, 0.07)])
@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_millimetres_of_pixels_that_are_not_square(scale, degrees):
    region = UltrasoundRegion(10, 20, 490, 390, scale)
    (lesion,) = measured(ellipse((9, 5), degrees, scale=scale), regions=(region,))
    pixel = max(scale)
    for name, right in {
        "longest_diameter_mm": 18,
        "perpendicular_diameter_mm": 10,
        "area_mm2": math.pi * 45,
    }.items():
        assert lesion[name] == pytest.approx(right, rel=0.02, abs=pixel), name
    assert lesion["circularity"] == pytest.approx(0.882, abs=0.035)
    top = (200.6 - 20) * scale[1] - lesion["height_mm"] / 2
    assert lesion["depth_mm"] == pytest.approx(top, abs=pixel)
    assert lesion["orientation"] == ("not parallel" if degrees == 90 else "parallel")
    assert not [key for key in lesion if key.endswith("_px")]
    assert describe_size(lesion) == (
        f"{lesion['longest_diameter_mm']:.1f} x "
        f"{lesion['perpendicular_diameter_mm']:.1f} mm"
    )


def test_a_lesion_cut_by_the_image():
    (lesion,) = measured(ellipse((80, 50), centre=(250, 0)))
    assert close(lesion["longest_diameter_px"], 160)
    assert close(lesion["perpendicular_diameter_px"], 50)
    assert lesion["depth_px"] == 0
    assert lesion["solidity"] > 0.97


def test_several_lesions_are_numbered_as_their_boxes():
    mask = ellipse((60, 60), centre=(100, 120)) | ellipse((90, 40), centre=(350, 250))
    mask |= ellipse((10, 10), centre=(350, 330))
    mask &= ~ellipse((20, 10), centre=(350, 250))  # a hole
    mask[250, 350] = True  # a lesion in the hole
    lesions = measured(mask)
    assert [lesion["number"] for lesion in lesions] == [1, 2, 3, 4]
    assert sum(lesion["area_px"] for lesion in lesions) == mask.sum()
    circle, wide, small, speck = lesions
    assert close(circle["longest_diameter_px"], 120)
    assert close(wide["longest_diameter_px"], 180)
    assert wide["area_px"] == pytest.approx(math.pi * (90 * 40 - 20 * 10), rel=0.02)
    assert wide["solidity"] > 0.97  # without its hole
    assert small["box"] == [340, 320, 360, 340]
    assert (speck["area_px"], speck["longest_diameter_px"]) == (1, 1)
    labels = label_components(mask)
    for lesion in lesions:
        assert (labels == lesion["number"]).sum() == lesion["area_px"]


def test_circularity_and_solidity_tell_shapes_apart():
    (disc,) = measured(ellipse((50, 50)))
    star = ellipse((90, 12)) | ellipse((90, 12), 60) | ellipse((90, 12), 120)
    (spiculated,) = measured(star)
    assert disc["circularity"] > 0.98 < disc["solidity"]
    assert spiculated["circularity"] < 0.3
    assert spiculated["solidity"] < 0.5


def test_depth_starts_at_the_scan():
    mask = ellipse((50, 30))
    pixels = np.full(SHAPE, 90, np.uint8)
    pixels[:100] = 0
    top = 200 - 30
    assert close(measured(mask, pixels)[0]["depth_px"], top - 100)
    scan = ScreenRegion(20, 60, 400, 300)
    assert close(measured(mask, pixels, scan=scan)[0]["depth_px"], top - 60)
    regions = (
        UltrasoundRegion(0, 40, 500, 400, (1, 1)),
        UltrasoundRegion(100, 120, 400, 300, (1, 1)),  # a colour box
    )
    assert close(measured(mask, pixels, regions=regions)[0]["depth_mm"], top - 40)


def test_an_empty_mask_has_no_lesion():
    assert measured(np.zeros(SHAPE, bool)) == []
