"""Calibration: what is folded in does what its numbers say."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from checks import randomize_weights
from keras_efsnet import EFSNet
from keras_efsnet.images.grey import resize_mask
from keras_efsnet.images.reading import read_image
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import write_phantoms
from keras_efsnet.prediction.audit import read_looks
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.training import calibrate as calibrating
from keras_efsnet.training.calibrate import (
    Calibration,
    _fit_temperature,
    calibrate,
    fold,
    write_preset,
)
from keras_efsnet.training.card import write_card
from keras_efsnet.training.datasets.reading import read_dataset
from keras_efsnet.training.datasets.sample import Sample, load_mask
from keras_efsnet.training.evaluate import RawOutput, run_network, score_output
from keras_efsnet.training.fit_referral import (
    Malignancy,
    fit_appearance,
    fit_malignancy,
    fit_referral,
)
from keras_efsnet.training.scores import expected_calibration_error


@pytest.fixture
def model():
    return randomize_weights(EFSNet((32, 32, 1), width=0.5))


@pytest.fixture
def network(monkeypatch):
    """Answers instead of a network, with the right class.

    Lesions have 0.4, or 0.6 in the source "easy", their surroundings 0.2, specks 0.9; a
    normal image has 0.4.
    """
    normal = np.float32([0.8, 0.1, 0.1])

    def answer(samples):
        for sample in samples:
            grey = read_image(sample.image)
            mask = resize_mask(load_mask(sample, grey.shape), (256, 256))
            lesion = 0.6 if sample.source == "easy" else 0.4
            probability = np.where(mask > 0, lesion, 0.2).astype(np.float32)
            if sample.label == "normal":
                probability[60:120, 60:120] = 0.4
            probability[2:8, 2:8] = 0.9
            classes = np.roll(normal, LABELS.index(sample.label))
            yield RawOutput(sample, grey, probability, classes)

    class Network:
        size = (256, 256)
        rules = Postprocess()

    monkeypatch.setattr(calibrating, "KerasPredictor", lambda file: Network())
    monkeypatch.setattr(calibrating, "run_network", lambda _, samples: answer(samples))
    return answer


def test_folding_moves_the_threshold_and_divides_the_logits(model):
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1)).astype("f4")
    before = model.predict_on_batch(images)
    threshold = float(np.median(before["mask"]))
    nothing = (0.0, 0.0)
    unknown = Malignancy(0.0, 0.95, 0, 1.0)
    found = (Postprocess(), nothing, nothing, unknown, {}, 0.0, None)
    fold(model, Calibration(2.0, threshold, *found))
    after = model.predict_on_batch(images)
    apart = abs(before["mask"] - threshold) > 1e-4
    assert apart.mean() > 0.5
    lesion = before["mask"] > threshold
    np.testing.assert_array_equal((after["mask"] > 0.5)[apart], lesion[apart])
    roots = np.sqrt(before["class"])
    expected = roots / roots.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(after["class"], expected, atol=1e-5)


def test_the_preset_does_what_was_fitted(model, tmp_path):
    file = tmp_path / "run.keras"
    model.save(file)
    samples = read_dataset(write_phantoms(tmp_path / "phantoms", 2, seed=0))
    found = calibrate(file, samples, samples)
    preset = tmp_path / "presets" / "preset"
    images = {"train": ["0123456789abcdef"], "validation": []}
    (tmp_path / "images.json").write_text(json.dumps(images))
    for _ in range(2):
        write_preset(file, found, preset)
    text = (preset / "card.json").read_text()
    assert text.startswith('{\n  "labels": ') and text.endswith("}\n")
    card = json.loads(text)
    assert card["images_seen"] == images
    assert set(card["postprocess"]["refer"]) == {
        "minimum_class_probability",
        "minimum_mask_margin",
        "look",
        "malignancy_limit",
    }
    assert card["calibration"]["referred"] == found.referred
    assert read_looks(preset) == read_looks(preset / "model.keras") == found.looks
    assert set(found.looks) == {"busi"}
    predictor = load_predictor(preset / "model.keras")
    assert predictor.rules == found.rules
    outputs = list(run_network(predictor, samples))
    cases = [score_output(output, found.rules, "B") for output in outputs]
    dice = [case.dice for case in cases]
    assert np.mean(dice) == pytest.approx(found.dice[1], abs=1e-3)
    referred = np.mean([bool(case.score.refer) for case in cases])
    assert referred == pytest.approx(found.referred)
    classes = np.stack([output.probabilities for output in outputs])
    labels = np.array([LABELS.index(sample.label) for sample in samples])
    error = expected_calibration_error(classes, labels)
    assert error == pytest.approx(found.ece[1], abs=1e-3)


def test_the_whole_card_keeps_what_was_fitted(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    settings = {"data": "d", "split": [], "init": None}
    (run / "settings.json").write_text(json.dumps({"settings": settings}))
    fitted = {"postprocess": {"normal_gate": 0.7}, "calibration": {"temperature": 2.0}}
    (tmp_path / "card.json").write_text(json.dumps(fitted))
    card = json.loads(write_card(tmp_path, [run], {}, ["efsnet train"]).read_text())
    assert {key: card[key] for key in fitted} == fitted


def test_limits_refer_at_most_a_fifth_and_hardly_less():
    images = np.random.default_rng(0).integers(0, 256, (100, 32, 32)).astype(np.uint8)
    sample = Sample("a", "benign", Path("a.png"), ())
    # Mask and class agree. The last images' classes, the first ones' masks are unsure.
    sure = np.linspace(0.6, 0.9, 100, dtype=np.float32)
    outputs = [
        RawOutput(sample, image, np.full((32, 32), p), np.float32([0, q, 1 - q]))
        for image, p, q in zip(images, sure, sure[::-1], strict=True)
    ]

    rule = fit_referral(
        outputs, Postprocess(), fit_appearance(images[:50], images), 0.9
    )

    assert rule.malignancy_limit == 0.9
    unsure = sure[::-1] < rule.minimum_class_probability
    low = abs(2 * sure - 1) < rule.minimum_mask_margin
    look = np.array([not rule.look.accepts(image) for image in images])
    assert look.sum() == 1
    assert unsure.sum() == low.sum()
    assert 18 <= (unsure | low | look).sum() <= 20


def test_the_limit_of_malignancy_is_that_of_the_patients_lowest_images():
    # 39 patients: two of 40 may lie below the limit of the next patient.
    lowest = np.linspace(0.02, 0.78, 39)
    patients = [str(i) for i in range(39)]
    found = fit_malignancy([*lowest, *lowest + 0.2], patients * 2)
    assert found.patients == 39
    assert found.limit == pytest.approx(lowest[1], abs=1e-6)
    assert found.limit <= lowest[1]
    assert 0.85 < found.lower_bound < 0.95


def test_the_sensitivity_on_new_patients_is_what_is_promised():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(2000):
        known, new = rng.random(60), rng.random(200)
        found = fit_malignancy(known, [str(i) for i in range(60)])
        held.append((new >= found.limit).mean())
    assert 0.948 < np.mean(held) < 0.96
    assert 0.93 < np.mean(np.array(held) >= found.lower_bound - 0.02) <= 1


def test_few_patients_allow_no_limit():
    found = fit_malignancy([0.9] * 18, [str(i) for i in range(18)])
    assert found.limit == 0
    assert fit_malignancy([], []).limit == 0


def test_sources_have_the_same_weight(tmp_path, network):
    few = read_dataset(write_phantoms(tmp_path / "few", 1, seed=0))
    many = read_dataset(write_phantoms(tmp_path / "many", 2, seed=1))
    samples = [replace(s, name=f"few/{s.name}", source="easy") for s in few]
    samples += [replace(s, source="hard") for s in many]
    found = calibrate(tmp_path / "m.keras", samples, samples)
    means = []
    for source in ("easy", "hard"):
        outputs = network([s for s in samples if s.source == source])
        means.append(
            np.mean([score_output(o, Postprocess(), "B").dice for o in outputs])
        )
    assert means[0] > means[1] + 0.3
    assert found.dice[0] == pytest.approx(np.mean(means), abs=1e-6)
    assert set(found.looks) == {"easy", "hard"}


def test_a_known_temperature_is_recovered():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 3))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (true.cumsum(axis=1) > rng.random((len(true), 1))).argmax(axis=1)
    sharp = np.exp(3 * logits) / np.exp(3 * logits).sum(axis=1, keepdims=True)
    each = np.full(len(true), 1 / len(true))
    assert _fit_temperature(sharp, labels, each) == pytest.approx(3, rel=0.03)
    assert _fit_temperature(true, labels, each) == pytest.approx(1, rel=0.03)


def test_the_search_finds_a_threshold_a_fraction_and_a_gate(tmp_path, network):
    samples = read_dataset(write_phantoms(tmp_path / "phantoms", 1, seed=0))
    found = calibrate(tmp_path / "m.keras", samples, samples)
    assert 0.2 < found.mask_threshold < 0.4
    assert found.rules.minimum_lesion_fraction > 36 / 256**2
    assert found.rules.normal_gate is not None
    assert found.dice[0] < 0.1
    assert found.dice[1] > 0.95
