"""What cards say of labels and tasks, and predictions of models with others."""

import json
import re

import numpy as np
import pytest

from keras_efsnet.images.frame import Frame
from keras_efsnet.labels import LABELS
from keras_efsnet.prediction.caption import describe
from keras_efsnet.prediction.formats import write_formats
from keras_efsnet.prediction.postprocess import Postprocess, postprocess, read_rules
from keras_efsnet.prediction.referral import ReferralRule
from keras_efsnet.prediction.writing import write_prediction

KINDS = ("cyst", "solid mass")
STRICT = ReferralRule(0.9, 0.9, malignancy_limit=0.0)
"""Refers nearly everything that a rule applies to."""


@pytest.mark.parametrize(
    ("card", "problem"),
    [
        (
            {"labels": ["a", "b", "c"]},
            "card.json: has 3 labels, a, b, c, but m.tflite has 2 classes; give the "
            "model its own card.",
        ),
        (
            {"labels": ["a", "a"]},
            "card.json: labels: 'a' and 'a' are one name",
        ),
        ({"labels": ["a", "b\t"]}, "begins or ends with a space"),
        ({"labels": 3}, "card.json: "),
        ({"labels": []}, "there are labels if class is one of the tasks"),
        ({"labels": ["a", "b"], "tasks": ["mask"]}, "there are labels if class is one"),
    ],
)
def test_a_wrong_card_is_refused(tmp_path, card, problem):
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match=re.escape(problem)):
        read_rules(tmp_path / "m.tflite", 2)


@pytest.mark.parametrize("card", [{}, {"tasks": ["mask", "class"]}])
def test_two_classes_must_have_names(tmp_path, card):
    file, path = tmp_path / "m.tflite", tmp_path / "card.json"
    path.write_text(json.dumps(card))
    with pytest.raises(ValueError) as error:
        read_rules(file, 2)
    assert str(error.value) == (
        f"{file}: its 2 classes have no names; name them in {path} as "
        '`"labels": [...]`, or save the EFSNet with `labels=(...)`.'
    )
    assert read_rules(file, 2, KINDS).labels == KINDS
    path.write_text(json.dumps({"labels": KINDS}))
    assert read_rules(file, 2).labels == KINDS
    assert read_rules(file).labels == KINDS


@pytest.mark.parametrize(
    ("name", "said", "own"),
    [("labels", ["a", "b"], KINDS), ("tasks", ["class"], ("mask", "class"))],
)
def test_a_card_may_not_contradict_its_file(tmp_path, name, said, own):
    file, path = tmp_path / "m.keras", tmp_path / "card.json"
    path.write_text(json.dumps({name: said}))
    labels = {"labels": KINDS, name: own}["labels"]
    tasks = {"tasks": ("mask", "class"), name: own}["tasks"]
    with pytest.raises(ValueError) as error:
        read_rules(file, 2, labels, tasks)
    assert str(error.value) == (
        f"{path}: {name} are {said}, but m.keras has {list(own)}; give the model its "
        "own card."
    )
    path.write_text(json.dumps({name: list(own)}))
    rules = read_rules(file, 2, labels, tasks)
    assert (rules.labels, rules.tasks) == (KINDS, ("mask", "class"))


def test_a_card_says_what_a_file_without_labels_means(tmp_path):
    file = tmp_path / "m.tflite"
    assert read_rules(file, 3) == Postprocess()
    (tmp_path / "card.json").write_text('{"labels": [], "tasks": ["mask"]}')
    rules = read_rules(file, 3)
    assert (rules.labels, rules.tasks) == ((), ("mask",))
    # Also where the file itself says so.
    assert read_rules(tmp_path / "sub" / "m.keras", 3, (), ("mask",)) == rules


def test_rules_go_to_the_card_without_labels_and_tasks():
    rules = Postprocess(0.1, 0.5, STRICT, LABELS[:2], ("class",))
    facts = json.loads(json.dumps(rules.to_json()))
    assert set(facts) == {"minimum_lesion_fraction", "normal_gate", "refer"}
    back = Postprocess.from_json(facts)
    assert back == Postprocess(0.1, 0.5, STRICT)


def find(rules, lesion=0.9, classes=(0.6, 0.4)):
    mask = np.full((8, 8), 0.1, np.float32)
    mask[2:5, 2:6] = lesion
    return postprocess(mask, np.float32(classes), (16, 16), rules)


def test_rules_of_classes_that_a_model_lacks_are_off():
    rules = Postprocess(normal_gate=0.1, refer=STRICT, labels=KINDS)
    found = find(rules)
    assert (found.label, list(found.probabilities)) == ("cyst", list(KINDS))
    assert found.mask.any() and not found.mask_emptied
    assert found.refer == ("class unsure", "mask margin low")
    assert find(rules, lesion=0.1).refer == ("class unsure", "mask margin low")
    named = Postprocess(normal_gate=0.1, refer=STRICT, labels=("normal", "malignant"))
    found = find(named)
    assert found.mask_emptied and not found.mask.any()
    assert found.refer[0] == "malignancy not excluded"
    assert "mask and class disagree" in found.refer


def test_a_model_of_masks_alone_gives_no_class():
    rules = Postprocess(normal_gate=0.1, refer=STRICT, labels=(), tasks=("mask",))
    found = find(rules, classes=(0.9, 0.05, 0.05))
    assert found.label is None and found.probabilities == {}
    assert found.refer == ("mask margin low",)
    record = found.to_json()
    assert record["class"] is None and record["lesion_area_px"] > 0
    assert describe(found) == "refer: mask margin low"
    assert describe(find(rules, lesion=0.1)).startswith("no lesion found")


def test_a_model_of_classes_alone_gives_no_mask():
    rules = Postprocess(0.1, refer=STRICT, labels=KINDS, tasks=("class",))
    found = find(rules)
    assert not found.mask.any() and found.boxes == []
    assert found.mask.dtype == bool
    assert found.refer == ("class unsure",)
    record = found.to_json()
    assert record["lesion_area_px"] is None and record["lesion_fraction"] is None
    assert describe(found) == "cyst 60 % | refer: class unsure"
    rules = Postprocess(refer=STRICT, tasks=("class",))
    # A mask that there is not cannot disagree.
    assert find(rules, classes=(0.1, 0.7, 0.2)).refer == (
        "malignancy not excluded",
        "class unsure",
    )


@pytest.mark.parametrize(
    ("rules", "classes", "names", "first"),
    [
        (Postprocess(labels=("normal", *KINDS)), (0.8, 0.1, 0.1), KINDS, "cyst"),
        (Postprocess(labels=KINDS), (0.2, 0.8), KINDS, "solid mass"),
        (Postprocess(labels=(), tasks=("mask",)), (0.2, 0.8), ("lesion",), "lesion"),
    ],
)
def test_polygons_have_the_models_labels(tmp_path, rules, classes, names, first):
    frame = Frame(np.full((16, 16), 90, np.uint8), tmp_path / "a.png")
    found = find(rules, classes=classes)
    record = write_prediction(frame, found, tmp_path / "a", tmp_path)
    write_formats(tmp_path, [record], ["coco", "labelme", "csv"])
    coco = json.loads((tmp_path / "coco.json").read_text())
    assert [c["name"] for c in coco["categories"]] == list(names)
    assert coco["annotations"][0]["category_id"] == 1 + names.index(first)
    shapes = json.loads((tmp_path / "labelme" / "a.json").read_text())["shapes"]
    assert {shape["label"] for shape in shapes} == {first}
    header = (tmp_path / "predictions.csv").read_text().splitlines()[0]
    assert [f"p_{label}" in header for label in rules.labels] == [True] * len(
        rules.labels
    )


def test_no_mask_is_written_for_a_model_without_one(tmp_path):
    frame = Frame(np.full((16, 16), 90, np.uint8), tmp_path / "a.png")
    found = find(Postprocess(labels=KINDS, tasks=("class",)))
    record = write_prediction(frame, found, tmp_path / "a", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a_overlay.png"}
    assert "mask_file" not in record and "lesions" not in record
    write_formats(tmp_path, [record], ["coco", "labelme", "csv"])
    assert json.loads((tmp_path / "coco.json").read_text())["images"] == []
