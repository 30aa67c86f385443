"""Differences, clinical figures and limits of exported networks."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.phantoms import write_phantoms
from keras_efsnet.prediction.litert import LiteModel
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.tflite.verify import Limits, verify
from keras_efsnet.training.datasets.reading import read_dataset
from keras_efsnet.training.datasets.sample import Sample


class Altered:
    """Another network's outputs, altered image by image.

    Args:
        network: what it starts from.
        change: takes an image's number, mask and class probabilities, returns both.
    """

    def __init__(self, network, change, rules=None):
        self.network, self.change, self.seen = network, change, 0
        self.size, self.rules = network.size, rules or network.rules

    def __call__(self, images):
        outputs = self.network(images)
        rows = [
            self.change(self.seen + number, mask.copy(), classes.copy())
            for number, (mask, classes) in enumerate(
                zip(outputs["mask"], outputs["class"], strict=True)
            )
        ]
        self.seen += len(images)
        return {
            "mask": np.stack([row[0] for row in rows]),
            "class": np.stack([row[1] for row in rows]),
        }


@pytest.fixture
def samples(tmp_path):
    """Ten 64 x 64 images: two normal white ones, eight with a dark square."""
    lesion = np.zeros((64, 64), bool)
    lesion[20:40, 20:40] = True
    found = []
    for number in range(10):
        label = ("normal", "benign")[number > 1]
        image, mask = tmp_path / f"{number}.png", tmp_path / f"{number}_mask.png"
        shown = lesion & (label != "normal")
        Image.fromarray(np.where(shown, np.uint8(16), np.uint8(255))).save(image)
        Image.fromarray(shown.astype(np.uint8) * 255).save(mask)
        found.append(Sample(str(number), label, image, (mask,)))
    return found


def one(reference, candidate, samples, **options):
    return verify(reference, {"it": candidate}, samples, **options)["it"]


def test_the_same_network_passes_without_any_difference(predictor, samples):
    result = one(predictor, predictor, samples)
    assert result.passed and result.failures == ()
    assert result.images == 10
    assert (result.mask_mean, result.mask_worst) == (0, 0)
    assert (result.class_mean, result.class_worst) == (0, 0)
    assert (result.mask_dice, result.class_agreement, result.dice_loss) == (1, 1, 0)
    assert result.reference == result.candidate
    assert result.candidate["mask"]["dice_tumour"] == 1
    assert result.candidate["class"]["accuracy"] == 0.8
    assert len(result.candidate["class"]["accuracy_ci"]) == 2


def test_differences_are_means_and_worst_over_all_images(predictor, samples):
    def change(number, mask, classes):
        if number == 3:
            mask[0, 0] += 0.25
            classes += np.float32([0.1, -0.2, 0.1])
        return mask, classes

    result = one(predictor, Altered(predictor, change), samples)
    assert result.mask_worst == pytest.approx(0.25, abs=1e-6)
    assert result.mask_mean == pytest.approx(0.25 / 64 / 64 / 10, rel=1e-4)
    assert result.class_worst == pytest.approx(0.2, abs=1e-6)
    assert result.class_mean == pytest.approx(0.4 / 3 / 10, rel=1e-5)
    assert result.passed


def test_half_a_lesion_in_one_image_costs_dice(predictor, samples):
    def change(number, mask, classes):
        if number == 9:
            mask[30:40] = 0
        return mask, classes

    result = one(predictor, Altered(predictor, change), samples)
    # Half of the lesion has a Dice of 2/3; eight of the ten images have a lesion.
    assert result.mask_dice == pytest.approx(1 - 1 / 3 / 10)
    assert result.dice_loss == pytest.approx(1 / 3 / 8)
    assert result.failures == ("tumour Dice falls by 0.0417, more than 0.01",)
    assert not result.passed
    loose = Altered(predictor, change)
    assert one(predictor, loose, samples, limits=Limits(dice_loss=0.05)).passed


def test_a_better_candidate_passes(predictor, samples):
    worse = Altered(predictor, lambda number, mask, classes: (mask * 0, classes))
    result = one(worse, predictor, samples)
    assert result.dice_loss == -1
    assert result.passed


def test_a_changed_class_is_counted(predictor, samples):
    def change(number, mask, classes):
        return mask, classes[::-1] if number in (1, 9) else classes

    def swap(number, mask, classes):
        return mask, np.roll(classes, 1) if number in (1, 9) else classes

    same_class = one(predictor, Altered(predictor, change), samples)
    assert (same_class.class_agreement, same_class.class_worst > 0.05) == (1, True)
    result = one(predictor, Altered(predictor, swap), samples)
    assert result.class_agreement == 0.8
    assert result.failures == ("80.00% of the classes stay, fewer than 97.00%",)
    limits = Limits(class_agreement=0.8)
    assert one(predictor, Altered(predictor, swap), samples, limits=limits).passed


def test_the_references_rules_apply_to_all(predictor, samples):
    all_dropped = Postprocess(minimum_lesion_fraction=0.9)
    candidate = Altered(predictor, lambda number, *outputs: outputs, all_dropped)
    assert one(predictor, candidate, samples).candidate["mask"]["dice_tumour"] == 1


def test_many_candidates_need_one_run_of_the_reference(predictor, samples):
    reference = Altered(predictor, lambda number, *outputs: outputs)
    empty = Altered(predictor, lambda number, mask, classes: (mask * 0, classes))
    results = verify(reference, {"same": predictor, "empty": empty}, samples)
    assert [name for name, result in results.items() if result.passed] == ["same"]
    assert reference.seen == 10


def test_a_verification_is_plain_data(predictor, samples):
    result = one(predictor, predictor, samples)
    text = json.dumps(dataclasses.asdict(result), allow_nan=False)
    assert json.loads(text)["candidate"]["mask"]["dice_tumour"] == 1


@pytest.mark.parametrize(
    ("subset", "rule"),
    [(slice(0), "labelled images, got none"), (slice(2), "an image with a lesion")],
)
def test_too_few_samples_are_refused(predictor, samples, subset, rule):
    with pytest.raises(ValueError, match=rule):
        one(predictor, predictor, samples[subset])


def test_another_size_is_refused(predictor, samples):
    candidate = Altered(predictor, lambda number, *outputs: outputs)
    candidate.size = (32, 32)
    with pytest.raises(ValueError, match=r"it: its size is \(32, 32\), but"):
        one(predictor, candidate, samples)


@pytest.mark.parametrize("changes", [{"dice_loss": -0.1}, {"class_agreement": 97}])
def test_limits_are_fractions(changes):
    with pytest.raises(ValueError, match=f"{next(iter(changes))} must be a fraction"):
        Limits(**changes)


def test_int8_file_passes_on_phantoms(make_lite, tmp_path):
    models = {}
    for kind in ("float32", "int8"):
        path = tmp_path / f"{kind}.tflite"
        path.write_bytes(make_lite(kind=kind))
        models[kind] = LiteModel(path)
    samples = read_dataset(write_phantoms(tmp_path / "phantoms", 2, seed=3))
    result = one(models["float32"], models["int8"], samples)
    assert 0 < result.mask_worst < 4.5 / 256
    assert 0.99 < result.mask_dice < 1
    assert result.passed
