"""Names of classes: which are allowed, and how models, cards and files carry them."""

import copy
import json

import keras
import numpy as np
import pytest

from keras_efsnet import EFSNet, predict
from keras_efsnet.images.frame import Frame
from keras_efsnet.labels import LABELS, check_labels
from keras_efsnet.models import efsnet
from keras_efsnet.models.saving import save_model
from keras_efsnet.prediction.caption import describe
from keras_efsnet.prediction.formats import write_formats
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.prediction.postprocess import Postprocess, postprocess, read_rules
from keras_efsnet.prediction.referral import ReferralRule
from keras_efsnet.prediction.writing import write_prediction

KINDS = ("cyst", "solid mass")
SIZE = (16, 16, 1)
STRICT = ReferralRule(0.9, 0.9, malignancy_limit=0.0)
"""Refers nearly everything that a rule applies to."""


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (["cyst"], "must be two names or more, got"),
        ("ab", "must be two names or more, got 'ab'"),
        (["cyst", "cyst"], "'cyst' and 'cyst' are one name"),
        (["cyst", "solid", "Cyst"], "'cyst' and 'Cyst' are one name, as capital"),
        (["cyst", "a,b"], "'a,b' has a comma, an equals sign"),
        (["cyst", "a=b"], "'a=b' has a comma, an equals sign"),
        (["cyst", "a\nb"], r"'a\\nb' has a character that is not printed"),
        (["cyst", "a\u202eb"], "has a character that is not printed"),
        (["cyst", ""], "'' is empty"),
        (["cyst", 3], "3 is empty or no text"),
        (["cyst", " a"], "' a' begins or ends with a space"),
        (["cyst", "Unknown"], "'Unknown' stands for images whose class is not known"),
        (["cyst", "a" * 41], "has more than 40 characters"),
        (["Normal", "cyst"], "'Normal' is not 'normal', the name that the rules"),
        (["benign", "MALIGNANT"], "'MALIGNANT' is not 'malignant', the name that"),
    ],
)
def test_labels_are_checked(labels, problem):
    with pytest.raises(ValueError, match=problem):
        check_labels(labels)


def test_labels_of_any_script_are_allowed():
    assert check_labels(["Zyste", "囊肿", "BI-RADS 4a"]) == (
        "Zyste",
        "囊肿",
        "BI-RADS 4a",
    )


def test_a_model_knows_its_labels():
    assert EFSNet(SIZE).labels == LABELS
    assert EFSNet(SIZE, num_classes=5).labels is None
    model = EFSNet(SIZE, width=0.5, labels=KINDS)
    assert (model.labels, model.num_classes) == (KINDS, 2)
    assert EFSNet.from_config(model.get_config()).labels == KINDS
    alone = EFSNet(SIZE, width=0.5, tasks=("mask",))
    assert (alone.labels, alone.tasks, alone.num_classes) == ((), ("mask",), 3)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            {"labels": KINDS, "num_classes": 3},
            "num_classes is 3, but there are 2 labels",
        ),
        ({"labels": KINDS, "tasks": ("mask",)}, "the class is not one of the tasks"),
        ({"labels": ("a", "a")}, "'a' and 'a' are one name"),
        ({"tasks": ()}, "tasks must be some of mask, class, got"),
        ({"tasks": ("masks",)}, "tasks must be some of mask, class, got"),
    ],
)
def test_contradictions_are_refused(arguments, problem):
    with pytest.raises(ValueError, match=problem):
        EFSNet(SIZE, **arguments)


def saved(model, file, save):
    save(model, file)
    return keras.saving.load_model(file)


COPIES = {
    "deepcopy": lambda model, _: copy.deepcopy(model),
    "save": lambda model, file: saved(model, file, EFSNet.save),
    "save_model": lambda model, file: saved(model, file, save_model),
}


@pytest.mark.parametrize(
    ("options", "ways"),
    [
        ({"labels": KINDS}, list(COPIES)),
        ({"tasks": ("mask",)}, ["save_model"]),
        pytest.param({"tasks": ("mask",)}, list(COPIES), marks=pytest.mark.slow),
    ],
)
def test_files_and_copies_keep_labels_and_tasks(tmp_path, options, ways):
    model = EFSNet(SIZE, width=0.5, **options)
    for way in ways:
        made = COPIES[way](model, tmp_path / f"{way}.keras")
        assert (made.labels, made.tasks) == (model.labels, model.tasks)


def test_other_labels_get_a_new_head(tmp_path, monkeypatch):
    trained = EFSNet(SIZE, width=0.5)
    trained.save(tmp_path / "m.keras")
    head = trained.get_layer("class_logits").get_weights()[0]

    def start(**options):
        return EFSNet.from_preset(tmp_path / "m.keras", **options)

    # The file is not read anew for each.
    monkeypatch.setattr(efsnet, "read_archive", lambda file: trained)

    same = start(labels=LABELS).get_layer("class_logits").get_weights()[0]
    np.testing.assert_array_equal(same, head)
    for labels in (KINDS, ("cyst", "abscess", "solid")):
        new = start(labels=labels)
        assert new.labels == labels
        kernel = new.get_layer("class_logits").get_weights()[0]
        assert kernel.shape != head.shape or np.abs(kernel - head).max() > 0
        for one, other in zip(
            trained.get_layer("csdc_2").get_weights(),
            new.get_layer("csdc_2").get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)
    trained = start(labels=KINDS)
    assert start(num_classes=5).labels is None
    assert start(tasks=("mask",)).labels == ()


def test_labels_may_be_given_to_a_trained_model(tmp_path):
    model = EFSNet(SIZE, width=0.5, num_classes=2)
    model.save(tmp_path / "m.keras")
    with pytest.raises(
        ValueError, match=r"m\.keras: its 2 classes have no names; name"
    ):
        load_predictor(tmp_path / "m.keras")
    (tmp_path / "card.json").write_text(json.dumps({"labels": list(KINDS)}))
    assert load_predictor(tmp_path / "m.keras").rules.labels == KINDS
    model.labels = ("a", "b")
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"card\.json: labels are .*cyst.*'a', 'b'"):
        load_predictor(tmp_path / "m.keras")
    (tmp_path / "card.json").unlink()
    image = np.zeros((20, 30), np.uint8)
    (found,) = predict(image, tmp_path / "m.keras")
    assert list(found.probabilities) == ["a", "b"] and found.label in "ab"


@pytest.mark.parametrize(
    ("card", "problem"),
    [
        (
            {"labels": ["a", "b", "c"]},
            "has 3 labels, a, b, c, but m.tflite has 2",
        ),
        ({"labels": ["a", "a"]}, "'a' and 'a' are one name"),
        ({"labels": ["a", "b\t"]}, "begins or ends with a space"),
        ({"labels": 3}, "card.json: "),
        ({"labels": []}, "there are labels if class is one of the tasks"),
        ({"labels": ["a", "b"], "tasks": ["mask"]}, "there are labels if class is one"),
        ({}, "its 2 classes have no names"),
    ],
)
def test_a_wrong_card_is_refused(tmp_path, card, problem):
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(ValueError) as error:
        read_rules(tmp_path / "m.tflite", 2)
    assert problem in str(error.value)


def test_a_card_says_what_a_file_without_labels_means(tmp_path):
    file = tmp_path / "m.tflite"
    assert read_rules(file, 3) == Postprocess()
    (tmp_path / "card.json").write_text('{"labels": [], "tasks": ["mask"]}')
    rules = read_rules(file, 3)
    assert (rules.labels, rules.tasks) == ((), ("mask",))
    # Also where the file itself says so.
    assert read_rules(tmp_path / "sub" / "m.keras", 3, (), ("mask",)) == rules


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
    assert found.refer == ("class unsure",)
    record = found.to_json()
    assert record["lesion_area_px"] is None and record["lesion_fraction"] is None
    assert describe(found) == "cyst 60 % | refer: class unsure"


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
