"""When a prediction is referred, and what looks like B-mode."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from keras_efsnet.images.frame import Frame
from keras_efsnet.images.grey import resize_image
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.appearance import STATISTICS, Appearance, measure
from keras_efsnet.prediction.caption import bar_height
from keras_efsnet.prediction.overlay import draw_overlay
from keras_efsnet.prediction.postprocess import Postprocess, postprocess, read_rules
from keras_efsnet.prediction.referral import (
    ADVICE,
    REASONS,
    ReferralRule,
    find_reasons,
    mask_margin,
)
from keras_efsnet.training.fit_referral import fit_appearance

RULE = ReferralRule(minimum_class_probability=0.6, minimum_mask_margin=0.5)
SIDE = 64


def reasons(rule=RULE, probability=0.9, margin=0.9, label="benign", lesion=True):
    others = [name for name in LABELS if name != label]
    probabilities = {name: (1 - probability) / 2 for name in others}
    return find_reasons(
        rule,
        label=label,
        probabilities={**probabilities, label: probability},
        margin=margin,
        lesion_found=lesion,
        image=None,
    )


def nearby_appearance(maximum_distance):
    """One whose distance is that of the mean brightness, in 1 / 255."""
    inverse = np.zeros((STATISTICS, STATISTICS))
    inverse[0, 0] = 255**2
    rows = tuple(map(tuple, inverse.tolist()))
    return Appearance((0.0,) * STATISTICS, rows, maximum_distance)


def test_each_reason_has_advice():
    assert tuple(ADVICE) == REASONS
    for advice in ADVICE.values():
        assert (
            advice[0].isupper() and advice.count(".") >= 2
        )  # what it means, what to do


def test_a_sure_answer_has_no_reason():
    assert reasons() == ()
    assert reasons(label="normal", lesion=False) == ()


def test_limits_are_the_first_trusted_values():
    assert reasons(probability=0.6, margin=0.5) == ()
    assert reasons(probability=np.nextafter(0.6, 0)) == ("class unsure",)
    assert reasons(margin=np.nextafter(0.5, 0)) == ("mask margin low",)


@pytest.mark.parametrize(("label", "lesion"), [("normal", True), ("benign", False)])
def test_mask_and_class_can_disagree(label, lesion):
    assert reasons(label=label, lesion=lesion) == ("mask and class disagree",)


@pytest.mark.parametrize(("label", "lesion"), [("normal", False), ("benign", True)])
def test_malignancy_is_excluded_below_its_limit_alone(label, lesion):
    rule = replace(RULE, malignancy_limit=0.125)
    found = ("malignancy not excluded",)
    assert reasons(rule, probability=0.75, label=label, lesion=lesion) == found
    assert reasons(rule, probability=0.76, label=label, lesion=lesion) == ()
    assert reasons(rule, probability=0.75, label="malignant") == ()


def test_reasons_come_together_and_in_order():
    rule = replace(RULE, look=nearby_appearance(10.0), malignancy_limit=0.25)
    found = find_reasons(
        rule,
        label="normal",
        probabilities={"normal": 0.5, "benign": 0.25, "malignant": 0.25},
        margin=0.1,
        lesion_found=True,
        image=np.full((SIDE, SIDE), 11, np.uint8),
    )
    assert found == REASONS
    assert found == (
        "malignancy not excluded",
        "class unsure",
        "mask margin low",
        "mask and class disagree",
        "does not look like B-mode",
    )


def test_what_a_model_lacks_is_no_reason():
    facts = {"margin": None, "lesion_found": None, "image": None}
    strict = replace(RULE, minimum_class_probability=1.0, malignancy_limit=1.0)
    # No classes, then no class malignant, then no class normal.
    assert find_reasons(strict, label=None, probabilities={}, **facts) == ()
    kinds = {"cyst": 1.0, "solid": 0.0}
    assert find_reasons(strict, label="cyst", probabilities=kinds, **facts) == ()
    seen = {**facts, "lesion_found": False}
    assert find_reasons(strict, label="cyst", probabilities=kinds, **seen) == ()
    # Classes, but no mask.
    sure = {"normal": 1.0, "benign": 0.0}
    assert find_reasons(strict, label="normal", probabilities=sure, **facts) == ()
    for name, off in (("malignancy_limit", 0), ("minimum_mask_margin", 0)):
        assert getattr(replace(RULE, **{name: off}), name) == off
    none = replace(RULE, malignancy_limit=0.0)
    assert find_reasons(none, label="cyst", probabilities=kinds, **facts) == ()


def test_the_networks_input_is_judged_by_its_look():
    rules = Postprocess(refer=replace(RULE, look=nearby_appearance(10.0)))
    lesion = np.full((SIDE, SIDE), 0.9, np.float32)
    classes = np.float32([0.1, 0.8, 0.1])
    for grey, reasons_given in ((9, ()), (11, ("does not look like B-mode",))):
        image = np.full((SIDE, SIDE), grey, np.uint8)
        found = postprocess(lesion, classes, (SIDE, SIDE), rules, image)
        assert found.refer == reasons_given


def test_an_appearance_is_compared_with_images_alone():
    rule = replace(RULE, look=nearby_appearance(10.0))
    assert reasons(rule) == ()
    usual = np.full((SIDE, SIDE), 9, np.uint8)
    found = find_reasons(
        rule,
        label="benign",
        probabilities={"benign": 1.0},
        margin=1.0,
        lesion_found=True,
        image=usual,
    )
    assert found == ()


def test_margin_is_that_of_the_highest_probability():
    assert mask_margin(np.float32([[0.0, 0.25]])) == pytest.approx(0.5)
    assert mask_margin(np.float32([[0.1, 0.75]])) == pytest.approx(0.5)
    assert mask_margin(np.float32([[0.5, 0.0]])) == 0
    assert mask_margin(np.zeros((2, 2), np.float32)) == 1


def test_small_lesions_do_not_count_and_those_behind_the_gate_do():
    lesion = np.float32([[0.9, 0.1], [0.1, 0.1]])
    benign, normal = np.float32([0.1, 0.8, 0.1]), np.float32([0.8, 0.1, 0.1])

    def found(classes, **rules):
        rules = Postprocess(refer=RULE, **rules)
        return postprocess(lesion, classes, (2, 2), rules).refer

    assert found(benign) == ()
    assert found(benign, minimum_lesion_fraction=0.5) == ("mask and class disagree",)
    assert found(normal) == ("mask and class disagree",)
    assert found(normal, normal_gate=0.7) == ("mask and class disagree",)
    assert found(normal, normal_gate=0.7, minimum_lesion_fraction=0.5) == ()


def test_without_a_rule_nothing_is_referred():
    unsure = np.float32([0.34, 0.33, 0.33])
    found = postprocess(np.full((8, 8), 0.6, "f4"), unsure, (8, 8), Postprocess())
    assert found.refer == ()


def test_json_and_caption_name_the_reasons():
    unsure = np.float32([0.3, 0.3, 0.4])
    found = postprocess(
        np.full((8, 8), 0.6, "f4"), unsure, (90, 200), Postprocess(refer=RULE)
    )
    assert json.loads(json.dumps(found.to_json()))["refer"] == [
        "class unsure",
        "mask margin low",
    ]
    grey = np.zeros((90, 200), np.uint8)
    caption = np.asarray(draw_overlay(Frame(grey), found))[90:]
    silent = np.asarray(draw_overlay(Frame(grey), replace(found, refer=())))[90:]
    assert caption.shape == silent.shape
    assert (caption != silent).any()


@pytest.mark.parametrize("size", [(190, 310), (60, 1000), (1000, 190), (400, 500)])
def test_every_reason_fits_into_the_bar(size):
    unsure = np.float32([0.3, 0.3, 0.4])
    found = postprocess(np.zeros((8, 8), "f4"), unsure, size, Postprocess())
    found = replace(found, refer=REASONS)
    lesion = {"longest_diameter_mm": 123.4, "perpendicular_diameter_mm": 99.9}
    overlay = draw_overlay(Frame(np.zeros(size, np.uint8)), found, [lesion] * 20)
    overlay = np.asarray(overlay)
    assert overlay.shape == (size[0] + bar_height(size[1]), size[1], 3)
    bar = overlay[size[0] :].any(axis=2)
    assert bar.any()
    assert not bar[:, [0, -1]].any()
    assert not bar[[0, -1]].any()


def test_a_card_gives_the_rule_back(tmp_path):
    rules = Postprocess(0.01, 0.9, replace(RULE, look=nearby_appearance(3.0)))
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"postprocess": rules.to_json()}))
    assert read_rules(tmp_path / "model.keras") == rules


@pytest.mark.parametrize(
    "postprocess", [None, {}, {"normal_gate": 0.9}, {"refer": None}]
)
def test_older_cards_have_no_refer_rule(postprocess, tmp_path):
    card = {} if postprocess is None else {"postprocess": postprocess}
    (tmp_path / "card.json").write_text(json.dumps(card))
    assert read_rules(tmp_path / "model.keras").refer is None


LIMITS = {"minimum_class_probability": 0.5, "minimum_mask_margin": 0.5}


@pytest.mark.parametrize(
    "rule",
    [
        {},
        [1],
        "high",
        {**LIMITS, "minimum_mask_margin": 1.5},
        {**LIMITS, "minimum_class_probability": None},
        {**LIMITS, "look": {}},
        {**LIMITS, "look": {"mean": [0], "inverse_covariance": [[0]]}},
        {**LIMITS, "look": {**asdict(nearby_appearance(1.0)), "maximum_distance": -1}},
        {
            **LIMITS,
            "look": {**asdict(nearby_appearance(1.0)), "mean": [np.nan] * STATISTICS},
        },
        {**LIMITS, "malignancy_limit": -0.1},
        {**LIMITS, "other": 1},
    ],
)
def test_damaged_rules_name_the_card(rule, tmp_path):
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"postprocess": {"refer": rule}}))
    with pytest.raises(ValueError, match=r"card\.json: postprocess: "):
        read_rules(tmp_path / "model.keras")


def test_statistics_of_a_chequered_image():
    image = np.zeros((SIDE, SIDE), np.uint8)
    image[::2] = 100  # lines, one pixel high
    numbers = measure(image)
    assert numbers.shape == (STATISTICS,)
    assert numbers[:2] == pytest.approx([50 / 255, 1.0])
    # Across, no contrast; along, 100 grey levels, and none left in blocks of 2 x 2.
    assert numbers[2:10] == pytest.approx(
        np.log([0.5, 100.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    )
    assert numbers[10:14] == pytest.approx([np.log(54)] * 4)
    assert numbers[14] == pytest.approx(np.log(0.5))


def test_the_depth_profile_begins_at_the_top():
    image = np.repeat(np.uint8([40, 80, 120, 160]), SIDE // 4)[:, None]
    numbers = measure(np.tile(image, (1, SIDE)))
    assert numbers[10:14] == pytest.approx(np.log([44, 84, 124, 164]))
    assert numbers[14] == pytest.approx(np.log(np.std([40, 80, 120, 160]) + 0.5))


def test_the_greatest_distance_is_still_accepted():
    image = np.full((SIDE, SIDE), 11, np.uint8)
    distance = nearby_appearance(1.0).distance(image)
    assert distance == pytest.approx(11, rel=1e-5)
    assert nearby_appearance(distance).accepts(image)
    assert not nearby_appearance(np.nextafter(distance, 0)).accepts(image)


def test_phantoms_are_told_from_noise_photographs_and_lines():
    def phantom(label, seed):
        return resize_image(make_phantom(label, seed, (96, 120)).image, (SIDE, SIDE))

    phantoms = [phantom(label, seed) for seed in range(25) for label in LABELS]
    look = fit_appearance(phantoms[:45], phantoms[45:60])
    assert np.mean([look.accepts(image) for image in phantoms[60:]]) >= 0.8

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for strange in (
        rng.integers(0, 256, (SIDE, SIDE)),
        np.clip(rng.normal(100, 30, (SIDE, SIDE)), 0, 255),
        np.full((SIDE, SIDE), 90),
        columns * 4,
        np.where(rows % 8 < 2, 30, 250),
    ):
        assert not look.accepts(strange.astype(np.uint8))


def test_a_network_too_small_for_the_look_is_refused():
    tiny = [np.zeros((16, 16), np.uint8)] * 3
    with pytest.raises(ValueError, match="look"):
        fit_appearance(tiny, tiny)


def test_limits_outside_their_range_are_refused():
    for name, off in (
        ("minimum_class_probability", 0),
        ("minimum_mask_margin", 0),
        ("malignancy_limit", 1),
    ):
        message = (
            rf"^refer: {name} must be in \[0, 1\], got 1.5; {off} refers no image.$"
        )
        with pytest.raises(ValueError, match=message):
            replace(RULE, **{name: 1.5})
