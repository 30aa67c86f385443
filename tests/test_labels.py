"""Names of classes: which are allowed, and how models, cards and files carry them."""

import copy
import json

import keras
import numpy as np
import pytest

from keras_efsnet import EFSNet, predict
from keras_efsnet.labels import LABELS, check_labels
from keras_efsnet.models import efsnet
from keras_efsnet.models.saving import save_model
from keras_efsnet.prediction.loading import load_predictor

KINDS = ("cyst", "solid mass")
SIZE = (16, 16, 1)


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
