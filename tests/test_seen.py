"""Models are not evaluated on the images that trained them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.images.reading import sixteen_bit_as
from keras_efsnet.training import seen
from keras_efsnet.training.datasets.sample import Sample
from keras_efsnet.training.datasets.splits import Split


@pytest.fixture
def samples(tmp_path) -> list[Sample]:
    rng = np.random.default_rng(0)
    result = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (8, 9), np.uint8)).save(path)
        result.append(Sample(str(number), "benign", path))
    return result


@pytest.fixture
def split(samples) -> Split:
    a, b, c, d, e, f = samples
    return Split((a, b), (c, d), (e, f), "digest", "B")


def run_folder(tmp_path: Path, facts: dict) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / seen.FILE).write_text(json.dumps(facts))
    return folder / "best.keras"


def test_a_hash_is_that_of_pixels_and_size():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert len(seen.hash_pixels(image)) == 16
    assert seen.hash_pixels(image) == seen.hash_pixels(image.copy())
    assert seen.hash_pixels(image) != seen.hash_pixels(image.reshape(4, 3))
    assert seen.hash_pixels(image) != seen.hash_pixels(image + 1)
    assert seen.hash_pixels(image) == seen.hash_pixels(np.asfortranarray(image))


def test_images_are_seen_outside_their_own_subset(split, tmp_path):
    facts = seen.describe_seen(split)
    assert {name: len(hashes) for name, hashes in facts.items()} == {
        "train": 2,
        "validation": 2,
    }
    model = run_folder(tmp_path, facts)
    for subset in ("train", "validation", "test"):
        part = getattr(split, subset)
        assert seen.refuse_seen(model, part, subset, allow=False) == 0
    mixed = [*split.train, *split.validation, *split.test]
    with pytest.raises(ValueError, match="on 4 of the 6 test images.*--allow-seen"):
        seen.refuse_seen(model, mixed, "test", allow=False)
    assert seen.refuse_seen(model, mixed, "test", allow=True) == 4
    with pytest.raises(ValueError, match="on 2 of the 6 validation images"):
        seen.refuse_seen(model, mixed, "validation", allow=False)


def test_a_copy_under_another_name_is_seen(split, tmp_path):
    model = run_folder(tmp_path, seen.describe_seen(split))
    copy = tmp_path / "copy.png"
    shutil.copy(split.train[0].image, copy)
    renamed = [Sample("other", "malignant", copy)]
    assert seen.refuse_seen(model, renamed, "test", allow=True) == 1


def test_a_copy_is_seen_whatever_sixteen_bit_is(tmp_path):
    rng = np.random.default_rng(0)
    deep = tmp_path / "deep.png"
    Image.fromarray(rng.integers(0, 5000, (8, 9), np.uint16)).save(deep)
    samples = [Sample("deep", "benign", deep)]
    with sixteen_bit_as("minmax"):
        hashes = seen.hash_images(samples)
    assert seen.hash_images(samples) == hashes


def test_the_images_of_the_start_count_too(split, samples):
    start = {"train": seen.hash_images(samples[4:]), "validation": []}
    facts = seen.describe_seen(split, start)
    assert len(facts["train"]) == 4
    assert seen.count_seen(facts, split.test, "test") == 2


def test_the_card_of_a_preset_says_it(split, tmp_path):
    facts = seen.describe_seen(split)
    (tmp_path / "card.json").write_text(json.dumps({"images_seen": facts}))
    assert seen.read_seen(tmp_path / "model_int8.tflite") == facts
    assert seen.read_seen(tmp_path) == facts


def test_models_that_say_nothing_are_unknown(split, tmp_path):
    model = tmp_path / "model.keras"
    assert seen.read_seen(model) is None
    assert seen.refuse_seen(model, split.train, "test", allow=False) is None


def test_a_damaged_file_is_named(tmp_path):
    model = run_folder(tmp_path, {})
    (model.parent / seen.FILE).write_text("{")
    with pytest.raises(ValueError, match=r"images\.json: not a JSON file"):
        seen.read_seen(model)
