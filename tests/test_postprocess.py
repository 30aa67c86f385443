import json
from dataclasses import replace

import numpy as np
import pytest

from keras_efsnet.images.frame import Frame
from keras_efsnet.labels import LABELS
from keras_efsnet.prediction.caption import CLASS_COLOURS, bar_height, describe
from keras_efsnet.prediction.measurements import measure_lesions
from keras_efsnet.prediction.overlay import (
    CALLIPER_COLOUR,
    CONTOUR_COLOUR,
    draw_overlay,
)
from keras_efsnet.prediction.postprocess import Postprocess, postprocess
from keras_efsnet.prediction.referral import ReferralRule

BENIGN = np.float32([0.2, 0.7, 0.1])
NORMAL = np.float32([0.9, 0.06, 0.04])


def _two_lesions() -> np.ndarray:
    """float32 (50, 40): one lesion of 200 pixels, one of 4."""
    probability = np.full((50, 40), 0.1, np.float32)
    probability[10:30, 5:15] = 0.9
    probability[40:42, 30:32] = 0.8
    return probability


def test_facts_are_those_of_the_mask():
    found = postprocess(_two_lesions(), BENIGN, (50, 40), Postprocess())
    assert found.label == "benign"
    assert list(found.probabilities) == list(LABELS)
    assert found.probabilities["malignant"] == pytest.approx(0.1)
    assert found.lesion_area_px == found.mask.sum() == 204
    assert found.lesion_fraction == pytest.approx(204 / 2000)
    assert found.boxes == [(5, 10, 15, 30), (30, 40, 32, 42)]


def test_probability_is_stretched_before_it_is_cut():
    found = postprocess(np.float32([[0.0, 0.6]]), BENIGN, (2, 8), Postprocess())
    assert found.probability.dtype == np.float32
    # Bilinear: 0, 0, .075, .225, .375, .525, .6, .6. A stretched mask would begin at 4.
    np.testing.assert_array_equal(found.mask[0], [0, 0, 0, 0, 0, 1, 1, 1])


def test_a_half_is_not_lesion():
    half = np.full((4, 4), 0.5, np.float32)
    assert not postprocess(half, BENIGN, (4, 4), Postprocess()).mask.any()


def test_small_components_are_dropped():
    rules = Postprocess(minimum_lesion_fraction=0.01)  # 20 of 2000 pixels
    found = postprocess(_two_lesions(), BENIGN, (50, 40), rules)
    assert found.boxes == [(5, 10, 15, 30)]
    assert found.lesion_area_px == 200


def test_a_component_of_exactly_the_minimum_stays():
    rules = Postprocess(minimum_lesion_fraction=0.1)
    assert len(postprocess(_two_lesions(), BENIGN, (50, 40), rules).boxes) == 1


@pytest.mark.parametrize(
    ("gate", "area"), [(None, 204), (0.95, 204), (0.9, 0), (0.5, 0)]
)
def test_normal_gate_empties_the_mask(gate, area):
    probabilities = np.float64([0.9, 0.06, 0.04])
    rules = Postprocess(normal_gate=gate)
    found = postprocess(_two_lesions(), probabilities, (50, 40), rules)
    assert found.lesion_area_px == found.mask.sum() == area
    assert found.mask.shape == (50, 40) and found.mask.dtype == bool
    assert found.label == "normal"
    assert found.probability.max() > 0.5


def test_normal_gate_leaves_other_classes():
    rules = Postprocess(normal_gate=0.5)
    assert postprocess(_two_lesions(), BENIGN, (50, 40), rules).mask.any()


@pytest.mark.parametrize("fraction", [1.0, -0.1])
def test_a_smallest_lesion_outside_its_range_is_refused(fraction):
    message = (
        rf"^minimum_lesion_fraction must be in \[0, 1\), got {fraction}; 0 keeps every "
        r"component\.$"
    )
    with pytest.raises(ValueError, match=message):
        Postprocess(minimum_lesion_fraction=fraction)


@pytest.mark.parametrize("gate", [0.0, 1.01])
def test_a_gate_outside_its_range_is_refused(gate):
    message = rf"^normal_gate must be in \(0, 1\], got {gate}; null switches it off\.$"
    with pytest.raises(ValueError, match=message):
        Postprocess(normal_gate=gate)
    assert Postprocess(normal_gate=1.0).normal_gate == 1


def test_other_classes_are_refused():
    message = (
        r"^the classes must be normal, benign, malignant, got probabilities of shape "
        r"\(2,\); use a model with num_classes=3\.$"
    )
    with pytest.raises(ValueError, match=message):
        postprocess(_two_lesions(), np.float32([0.5, 0.5]), (50, 40), Postprocess())


def test_json_has_the_facts_and_no_maps():
    found = postprocess(_two_lesions(), BENIGN, (50, 40), Postprocess())
    timed = replace(found, lesion_fraction=1 / 3, milliseconds=2 / 3)
    facts = json.loads(json.dumps(timed.to_json()))
    assert facts == {
        "class": "benign",
        "probabilities": {"normal": 0.2, "benign": 0.7, "malignant": 0.1},
        "lesion_area_px": 204,
        "lesion_fraction": 0.333333,
        "boxes": [[5, 10, 15, 30], [30, 40, 32, 42]],
        "mask_emptied": False,
        "refer": [],
        "milliseconds": 0.67,
    }
    assert found.to_json()["lesion_fraction"] == 0.102
    assert found.to_json()["milliseconds"] == 0
    parts = {name: p / 7 for name, p in found.probabilities.items()}
    shares = replace(found, probabilities=parts).to_json()["probabilities"]
    assert shares == {"normal": 0.028571, "benign": 0.1, "malignant": 0.014286}


def test_rules_come_from_json():
    assert Postprocess.from_json({}) == Postprocess()
    given = {"minimum_class_probability": 0.4, "minimum_mask_margin": 0.3}
    facts = {"minimum_lesion_fraction": 0.1, "normal_gate": 0.7, "refer": given}
    rule = ReferralRule(0.4, 0.3)
    assert Postprocess.from_json(facts) == Postprocess(0.1, 0.7, rule)
    given["look"] = None
    assert Postprocess.from_json(facts) == Postprocess(0.1, 0.7, rule)


def test_overlay_draws_the_border_alone_and_hides_no_pixel():
    grey = np.full((50, 40), 100, np.uint8)
    found = postprocess(_two_lesions(), BENIGN, (50, 40), Postprocess())
    overlay = np.asarray(draw_overlay(Frame(grey), found))
    assert overlay.shape[0] > 50
    assert overlay.shape[1] == 40
    drawn = (overlay[:50] == CONTOUR_COLOUR).all(axis=-1)
    assert drawn[10:30, 5].all()
    assert not drawn[13:27, 8:12].any()
    assert (overlay[:50][~drawn] == 100).all()
    assert overlay[50:].any()


def test_overlay_of_an_empty_mask_is_the_image():
    grey = np.arange(2000, dtype=np.uint16).reshape(50, 40).astype(np.uint8)
    found = postprocess(np.zeros((8, 8), np.float32), NORMAL, (50, 40), Postprocess())
    overlay = np.asarray(draw_overlay(Frame(grey), found))
    np.testing.assert_array_equal(overlay[:50], np.dstack([grey] * 3))


def test_overlay_closes_the_border_of_a_mask_that_fills_the_image():
    found = postprocess(np.ones((8, 8), np.float32), BENIGN, (50, 40), Postprocess())
    overlay = np.asarray(draw_overlay(Frame(np.zeros((50, 40), np.uint8)), found))
    drawn = (overlay[:50] == CONTOUR_COLOUR).all(axis=-1)
    assert drawn[0].all()
    assert drawn[:, -1].all()
    assert not drawn[5:-5, 5:-5].any()


@pytest.mark.parametrize("size", [(190, 310), (60, 1000), (1000, 190)])
def test_caption_fits_the_picture(size):
    found = postprocess(
        np.zeros((8, 8), np.float32), np.float32([0, 0, 1]), size, Postprocess()
    )
    caption = np.asarray(draw_overlay(Frame(np.zeros(size, np.uint8)), found))[
        size[0] :
    ]
    columns = np.flatnonzero(caption.any(axis=(0, 2)))
    assert columns.min() > 0
    assert columns.max() < size[1] - 1
    assert not caption[0].any()
    assert not caption[-1].any()


def test_the_gate_empties_the_mask_of_a_normal_class_alone():
    lesion = np.full((8, 8), 0.9, np.float32)
    rules = Postprocess(normal_gate=0.3)
    normal = postprocess(lesion, np.float32([0.4, 0.3, 0.3]), (8, 8), rules)
    assert normal.mask_emptied
    assert not normal.mask.any()
    assert normal.boxes == []
    benign = postprocess(lesion, np.float32([0.4, 0.45, 0.15]), (8, 8), rules)
    assert not benign.mask_emptied
    assert benign.mask.all()
    none = postprocess(1 - lesion, np.float32([0.4, 0.3, 0.3]), (8, 8), rules)
    assert not none.mask_emptied
    assert normal.to_json()["mask_emptied"] is True


def test_black_margins_hold_no_lesion():
    lesion = np.full((8, 8), 0.9, np.float32)
    image = np.zeros((8, 8), np.uint8)
    image[2:7, 1:6] = 90
    image[0, 0] = 5  # what JPEG leaves in black
    found = postprocess(lesion, BENIGN, (16, 24), Postprocess(), image)
    expected = np.zeros((16, 24), bool)
    expected[4:14, 3:18] = True
    np.testing.assert_array_equal(found.mask, expected)
    assert found.boxes == [(3, 4, 18, 14)]
    dark = postprocess(lesion, BENIGN, (16, 24), Postprocess(), np.zeros_like(image))
    assert dark.mask.all()


def test_an_image_that_is_no_b_mode_is_captioned_so_first():
    lesion = np.full((8, 8), 0.9, np.float32)
    found = postprocess(lesion, BENIGN, (16, 24), Postprocess())
    found = replace(found, refer=("class unsure", "does not look like B-mode"))
    lesions = measure_lesions(Frame(np.zeros((16, 24), np.uint8)), found)
    assert describe(found, lesions) == (
        "does not look like B-mode | benign 70 % | P(malignant) 10 % | "
        "28 x 19 px | refer: class unsure"
    )
    only = replace(found, refer=("does not look like B-mode",), mask_emptied=True)
    assert describe(only) == (
        "does not look like B-mode | benign 70 % | P(malignant) 10 % | "
        "lesion removed from the mask"
    )


def test_the_caption_names_class_malignancy_and_size():
    found = postprocess(_two_lesions(), BENIGN, (50, 40), Postprocess())
    lesions = measure_lesions(Frame(np.zeros((50, 40), np.uint8)), found)
    assert describe(found, lesions) == (
        "benign 70 % | P(malignant) 10 % | 2 lesions, largest 22 x 11 px"
    )
    malignant = replace(found, label="malignant")
    assert describe(malignant) == "malignant 10 %"


@pytest.mark.parametrize("label", CLASS_COLOURS)
def test_the_class_has_its_colour(label):
    found = postprocess(np.zeros((8, 8), "f4"), NORMAL, (90, 600), Postprocess())
    found = replace(found, label=label)
    picture = np.asarray(draw_overlay(Frame(np.zeros((90, 600), np.uint8)), found))
    colours = {tuple(pixel) for pixel in picture[90:].reshape(-1, 3)}
    assert {c for c in CLASS_COLOURS.values() if c in colours} == {CLASS_COLOURS[label]}


def test_captions_have_one_relative_size():
    """The same text covers the same part of a small and a large picture."""

    def covered(width):
        found = postprocess(np.zeros((8, 8), "f4"), NORMAL, (90, width), Postprocess())
        frame = Frame(np.zeros((90, width), np.uint8))
        bar = np.asarray(draw_overlay(frame, found))[90:]
        return np.flatnonzero(bar.any(axis=(0, 2))).max() / width

    assert covered(600) == pytest.approx(covered(1800), abs=0.02)
    assert bar_height(1800) == pytest.approx(3 * bar_height(600), rel=0.05)


def test_single_pixels_have_no_contour():
    found = postprocess(_two_lesions(), BENIGN, (50, 40), Postprocess())
    specks = found.mask.copy()
    specks[2, 2] = specks[2, 30] = True
    specks[20, 8] = False
    grey = Frame(np.full((50, 40), 100, np.uint8))
    drawn = draw_overlay(grey, replace(found, mask=specks))
    assert drawn.tobytes() == draw_overlay(grey, found).tobytes()
    specks[2, 3] = True  # two pixels are a lesion
    assert drawn.tobytes() != draw_overlay(grey, replace(found, mask=specks)).tobytes()


def test_callipers_end_at_the_points_of_the_diameters():
    probability = np.zeros((200, 200), np.float32)
    rows, columns = np.mgrid[:200, :200]
    probability[((rows - 90) / 30) ** 2 + ((columns - 100) / 60) ** 2 < 1] = 1
    found = postprocess(probability, BENIGN, (200, 200), Postprocess())
    frame = Frame(np.full((200, 200), 100, np.uint8))
    lesions = measure_lesions(frame, found)
    plain = np.asarray(draw_overlay(frame, found, lesions))
    drawn = np.asarray(draw_overlay(frame, found, lesions, callipers=True))
    changed = (drawn != plain).any(axis=-1)
    assert (drawn[changed] == CALLIPER_COLOUR).all()
    rows, columns = np.nonzero(changed)
    for name in ("longest", "perpendicular"):
        for x, y in lesions[0][f"{name}_diameter_points"]:
            near = np.hypot(rows + 0.5 - y, columns + 0.5 - x)
            assert near.min() < 1
            assert (near < 5).sum() >= 9  # a cross
