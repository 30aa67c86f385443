"""What calibration chooses for a network with known answers, and what it writes."""

import json
from dataclasses import dataclass, replace

import keras
import numpy as np
import pytest
from PIL import Image

from keras_efsnet import files
from keras_efsnet.images.grey import resize_image
from keras_efsnet.images.reading import read_image
from keras_efsnet.labels import LABELS
from keras_efsnet.models.saving import load_keras_model
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.prediction.referral import ReferralRule
from keras_efsnet.training import calibrate as calibrating
from keras_efsnet.training.calibrate import (
    Calibration,
    calibrate,
    fold,
    prepare_preset,
    write_preset,
)
from keras_efsnet.training.datasets.sample import Sample
from keras_efsnet.training.datasets.splits import Split
from keras_efsnet.training.evaluate import RawOutput
from keras_efsnet.training.fit_referral import (
    Malignancy,
    fit_appearance,
    fit_looks,
    fit_referral,
)
from keras_efsnet.training.seen import hash_images

SIDE = 64
LESION = (slice(20, 40), slice(20, 40))
SPECK = (slice(5, 8), slice(50, 53))
LOOSE = Postprocess(minimum_lesion_fraction=0.5, normal_gate=0.4)
"""Rules of an earlier calibration, which a new one forgets."""


@dataclass
class Network:
    """Answers by the file's name: probability of lesion and of each class."""

    rules: Postprocess
    answers: dict[str, tuple[np.ndarray, list[float]]]
    size = (SIDE, SIDE)

    def __call__(self, samples):
        for sample in samples:
            mask, classes = self.answers[sample.stem]
            grey = read_image(sample.image)
            yield RawOutput(sample, grey, np.float32(mask), np.float32(classes))


@pytest.fixture
def give(tmp_path, monkeypatch):
    """Makes a network the one of a model file, and gives the file."""
    file = tmp_path / "best.keras"

    def start(network):
        networks = {file: network}
        monkeypatch.setattr(calibrating, "KerasPredictor", networks.__getitem__)
        # Enough of the thresholds, to search them sooner.
        monkeypatch.setattr(calibrating, "THRESHOLDS", (0.25, 0.3, 0.35, 0.5))
        monkeypatch.setattr(
            calibrating, "run_network", lambda found, samples: found(samples)
        )
        return file

    return start


@pytest.fixture
def draw(tmp_path):
    """Writes an image of noise, and its mask for a lesion."""
    rng = np.random.default_rng(0)

    def write(name, label, source=None, lesion=LESION, shape=(SIDE, SIDE)):
        image, mask = tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png"
        Image.fromarray(rng.integers(60, 200, shape).astype(np.uint8)).save(image)
        truth = np.zeros(shape, bool)
        truth[lesion] = True
        if label == "normal":
            return Sample(name, label, image, source=source)
        Image.fromarray(truth).save(mask)
        return Sample(name, label, image, (mask,), source)

    return write


def answer(lesion, speck=0.9):
    """Lesion, surroundings and a speck of 9 pixels."""
    mask = np.full((SIDE, SIDE), 0.26)
    mask[LESION], mask[SPECK] = lesion, speck
    return mask


@pytest.fixture
def clinics(draw):
    """Two sources: all classes are right in the first, one of two in the second."""
    first = [draw(label, label, "first") for label in LABELS]
    second = [draw(name, "benign", "second") for name in ("good", "bad")]
    answers = {
        "normal": (answer(0.9), [0.8, 0.1, 0.1]),
        "benign": (answer(0.6), [0.1, 0.8, 0.1]),
        "malignant": (answer(0.6), [0.1, 0.1, 0.8]),
        "good": (answer(0.4), [0.1, 0.8, 0.1]),
        "bad": (answer(0.4), [0.1, 0.1, 0.8]),
    }
    return Network(LOOSE, answers), [*first, *second]


@pytest.fixture
def training(draw):
    """Images of other sizes, four of each source."""
    sources = ("first", "second")
    return [
        draw(f"{source} {at}", "normal", source, shape=(48, 80))
        for source in sources
        for at in range(4)
    ]


def as_input(samples):
    return [resize_image(read_image(s.image), (SIDE, SIDE)) for s in samples]


def test_sources_count_the_same_in_every_choice(give, clinics, training):
    network, samples = clinics
    found = calibrate(give(network), samples, training)
    # 3 of 3 and 1 of 2 classes are right, 0.75 if both sources count the same. The
    # odds of 0.8 against each other class, 8, become 6: that is a confidence of 0.75.
    assert found.temperature == pytest.approx(np.log(8) / np.log(6), rel=1e-4)
    assert found.ece == pytest.approx((0, 0.05), abs=1e-4)
    # 0.3 is the first threshold between 0.26 and 0.4; 0.004 of the image the first
    # that is more than 9 pixels; 0.7 the first gate below 0.75.
    assert found.mask_threshold == 0.3
    assert found.rules.minimum_lesion_fraction == 0.004
    assert found.rules.normal_gate == 0.7
    # Two of three lesions are found at first, each with the speck; none in the second.
    with_speck = 2 * 400 / (400 + 409)
    assert found.dice == pytest.approx((2 * with_speck / 3 / 2, 1))


def test_referral_is_fitted_on_calibrated_outputs(give, clinics, training):
    network, samples = clinics
    found = calibrate(give(network), samples, training)
    odds = (1 - 0.3) / 0.3
    calibrated = []
    for output in network(samples):
        against = odds * output.mask / (1 - output.mask)
        powers = output.probabilities.astype(float) ** (1 / found.temperature)
        mask = np.float32(against / (1 + against))
        calibrated.append(
            replace(output, mask=mask, probabilities=powers / powers.sum())
        )
    look = fit_appearance(as_input(training), as_input(samples))
    rules = replace(found.rules, refer=None)
    expected = fit_referral(calibrated, rules, look, 0.0)
    refer = found.rules.refer
    for name in ("minimum_class_probability", "minimum_mask_margin"):
        assert getattr(refer, name) == pytest.approx(getattr(expected, name), rel=1e-5)
    assert refer.look == look
    # One patient with a malignant lesion allows no limit: what is not called malignant
    # is referred. The one wrong answer is called malignant.
    assert found.malignancy == Malignancy(0.0, 0.95, 1, 1.0)
    assert refer.malignancy_limit == 0
    assert found.referred == pytest.approx(3 / 5)
    assert found.errors_referred == 0


def test_each_source_has_its_own_look(give, clinics, training):
    network, samples = clinics
    found = calibrate(give(network), samples, training)
    assert found.looks == fit_looks(
        {"first": as_input(training[:4]), "second": as_input(training[4:])},
        {"first": as_input(samples[:3]), "second": as_input(samples[3:])},
    )


def test_what_changes_nothing_wins_ties(give, draw, training):
    # Without a rule, a pixel too many in one of ten images costs less than 0.00005.
    large = (slice(4, 60), slice(4, 60))
    samples = [draw(f"image {at}", "benign", lesion=large) for at in range(10)]
    mask = np.full((SIDE, SIDE), 0.01)
    mask[large] = 0.99
    dotted = mask.copy()
    dotted[1, 1] = 0.99
    classes = [0.1, 0.8, 0.1]
    answers = {sample.stem: (mask, classes) for sample in samples}
    answers["image 7"] = (dotted, classes)
    found = calibrate(give(Network(Postprocess(), answers)), samples, training)
    assert found.mask_threshold == 0.5
    assert found.rules == replace(Postprocess(), refer=found.rules.refer)
    assert 1 - 5e-5 < found.dice[0] == found.dice[1] < 1


def test_other_classes_are_calibrated_in_their_order(give, draw, training):
    labels = ("cyst", "benign", "normal")
    rules = Postprocess(labels=labels)
    samples = [draw(label, label) for label in labels]
    answers = {
        "cyst": (answer(0.6), [0.6, 0.2, 0.2]),
        "benign": (answer(0.6), [0.2, 0.6, 0.2]),
        "normal": (answer(0.9), [0.6, 0.1, 0.3]),
    }
    found = calibrate(give(Network(rules, answers)), samples, training)
    assert found.rules.labels == labels
    # Nothing is called normal, so no gate helps.
    assert found.rules.normal_gate is None
    assert found.malignancy is None
    assert found.rules.refer.malignancy_limit == 1


def test_without_classes_only_the_mask_is_calibrated(give, draw, training):
    rules = Postprocess(labels=(), tasks=("mask",))
    samples = [replace(draw(name, "benign"), label=None) for name in "ab"]
    answers = {name: (answer(0.4), []) for name in "ab"}
    found = calibrate(give(Network(rules, answers)), samples, training)
    assert (found.temperature, found.ece, found.malignancy) == (None, None, None)
    assert found.mask_threshold == 0.3
    assert found.dice == pytest.approx((0, 1))
    assert found.errors_referred is None
    assert found.rules.refer.minimum_class_probability == 0


def test_without_a_mask_only_the_classes_are_calibrated(give, clinics, training):
    network, samples = clinics
    network = replace(network, rules=Postprocess(tasks=("class",)))
    found = calibrate(give(network), samples, training)
    assert found.temperature == pytest.approx(np.log(8) / np.log(6), rel=1e-4)
    assert (found.mask_threshold, found.dice) == (None, None)
    assert found.rules.minimum_lesion_fraction == 0
    assert found.rules.normal_gate is None
    assert found.rules.refer.minimum_mask_margin == 0


def test_the_truth_must_be_known(give, clinics, training):
    network, samples = clinics
    samples[3] = replace(samples[3], masks=())
    with pytest.raises(ValueError, match=r"good\.png.*needs a mask"):
        calibrate(give(network), samples, training)


def tiny_model():
    image = keras.Input((4, 4, 1))
    mask = keras.layers.Conv2D(1, 1, bias_initializer="ones", name="mask_logits")(image)
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    classes = keras.layers.Dense(3, bias_initializer="ones", name="class_logits")
    return keras.Model(image, {"mask": mask, "class": classes(pooled)})


def calibration(temperature=2.0, threshold=0.75):
    rule = ReferralRule(0.6, 0.25, malignancy_limit=0.125)
    return Calibration(
        temperature=temperature,
        mask_threshold=threshold,
        rules=Postprocess(minimum_lesion_fraction=0.25, refer=rule),
        ece=(0.25, 0.125),
        dice=(0.5, 0.75),
        malignancy=Malignancy(0.125, 0.95, 20, 0.875),
        looks={},
        referred=0.5,
        errors_referred=None,
    )


@pytest.mark.parametrize(
    ("temperature", "threshold"), [(2.0, 0.75), (None, 0.75), (2.0, None)]
)
def test_logits_are_divided_and_shifted(temperature, threshold):
    model = tiny_model()
    images = np.random.default_rng(0).random((2, 4, 4, 1)).astype(np.float32)
    before = model.predict_on_batch(images)
    assert fold(model, calibration(temperature, threshold)) is model
    after = model.predict_on_batch(images)
    divisor = 1 if temperature is None else temperature
    np.testing.assert_allclose(after["class"], before["class"] / divisor, rtol=1e-5)
    shift = 0 if threshold is None else np.log(3)
    np.testing.assert_allclose(after["mask"], before["mask"] - shift, atol=1e-5)


def test_a_preset_holds_the_calibrated_model_and_its_card(tmp_path, monkeypatch):
    model = tiny_model()
    kernel, bias = model.get_layer("mask_logits").get_weights()
    run, preset = tmp_path / "run" / "best.keras", tmp_path / "presets" / "new"
    seen = {"train": ["0123456789abcdef"], "validation": []}
    run.parent.mkdir()
    (run.parent / "images.json").write_text(json.dumps(seen))
    flushed = []
    monkeypatch.setattr(files.os, "fsync", flushed.append)
    monkeypatch.setattr(
        calibrating.EFSNet, "from_preset", {run: model, str(run): model}.__getitem__
    )

    write_preset(run, calibration(), preset)

    written = load_keras_model(preset / "model.keras").get_layer("mask_logits")
    np.testing.assert_allclose(written.get_weights()[0], kernel)
    np.testing.assert_allclose(written.get_weights()[1], bias - np.log(3), rtol=1e-6)
    assert len(flushed) == 2  # a power cut leaves whole files
    card = {
        "labels": list(LABELS),
        "tasks": ["mask", "class"],
        "postprocess": {
            "minimum_lesion_fraction": 0.25,
            "normal_gate": None,
            "refer": {
                "minimum_class_probability": 0.6,
                "minimum_mask_margin": 0.25,
                "look": None,
                "malignancy_limit": 0.125,
            },
        },
        "calibration": {
            "temperature": 2.0,
            "mask_threshold": 0.75,
            "ece": [0.25, 0.125],
            "dice": [0.5, 0.75],
            "malignancy": {
                "limit": 0.125,
                "sensitivity": 0.95,
                "patients": 20,
                "lower_bound": 0.875,
            },
            "referred": 0.5,
            "errors_referred": None,
        },
        "looks": {},
        "images_seen": seen,
    }
    text = (preset / "card.json").read_text()
    assert text == json.dumps(card, indent=2) + "\n"
    write_preset(run, calibration(), preset)  # again, into the folder that is there


def test_a_preset_has_seen_the_images_of_its_calibration(tmp_path, monkeypatch, draw):
    model, preset, run = tiny_model(), tmp_path / "new", tmp_path / "run" / "best.keras"
    monkeypatch.setattr(calibrating.EFSNet, "from_preset", lambda _: model)
    run.parent.mkdir()
    fitted, chosen, tested = (draw(name, "normal") for name in "abc")
    digests = {"train": ["0123456789abcdef"], "validation": []}
    (run.parent / "images.json").write_text(json.dumps(digests))
    split = Split((fitted,), (chosen,), (tested,), digest="", protocol="B")
    write_preset(run, calibration(), preset, split)
    seen = json.loads((preset / "card.json").read_text())["images_seen"]
    assert seen["train"] == sorted([*digests["train"], *hash_images([fitted])])
    assert seen["validation"] == hash_images([chosen])


def test_a_new_preset_has_a_folder_of_its_own(tmp_path):
    folder = tmp_path / "presets" / "new"
    assert prepare_preset(str(folder)) == folder
    assert folder.is_dir()
    (folder / "best.keras").touch()
    with pytest.raises(ValueError, match=r"holds best\.keras"):
        prepare_preset(folder)
    (folder / "best.keras").unlink()
    (folder / "card.json").touch()
    with pytest.raises(ValueError, match=r"holds card\.json"):
        prepare_preset(folder)
