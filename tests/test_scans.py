"""Images of the same scan are found, others are not."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from keras_efsnet.phantoms import make_phantom
from keras_efsnet.training.datasets import duplicates
from keras_efsnet.training.datasets.duplicates import (
    find_duplicates,
    remembered_duplicates,
)
from keras_efsnet.training.datasets.scans import correlate, describe

SIZE = (240, 320)


@pytest.fixture(scope="module")
def scans() -> list[np.ndarray]:
    return [make_phantom("benign", seed, SIZE).image for seed in range(3)]


def marked(grey: np.ndarray) -> np.ndarray:
    """The scan with text and a measurement burned in."""
    image = Image.fromarray(grey)
    draw = ImageDraw.Draw(image)
    draw.text((20, 200), "RIGHT BREAST", fill=255, font_size=24)
    draw.line((100, 60, 180, 120), fill=255, width=2)
    return np.asarray(image)


def resized(grey: np.ndarray, factor: float) -> np.ndarray:
    height, width = (round(side * factor) for side in grey.shape)
    return np.asarray(Image.fromarray(grey).resize((width, height)))


@pytest.fixture
def save(tmp_path):
    def write(*images):
        paths = [tmp_path / f"{number}.png" for number in range(len(images))]
        for path, image in zip(paths, images, strict=True):
            Image.fromarray(image).save(path)
        return paths

    return write


def test_cropped_resized_and_marked_copies_are_one_group(scans, save):
    cropped = scans[0][20:220, 30:310]
    brighter = (scans[0] * 0.8 + 40).astype(np.uint8)
    images = [scans[1], scans[0], resized(cropped, 1.3), marked(brighter), scans[2]]

    assert find_duplicates(save(*images)) == [[1, 2, 3]]


def test_equal_marks_do_not_make_scans_equal(scans, save):
    assert find_duplicates(save(*map(marked, scans))) == []


def test_small_common_part_is_not_enough(scans):
    left, right = describe(scans[0][:, :200]), describe(scans[0][:, 140:])

    assert correlate(left, right) == 0
    assert correlate(describe(scans[0][:, :250]), right) > 0.8


def test_copies_without_features_are_found(save):
    flat, other = np.full((2, 2), 7, np.uint8), np.full((1, 90), 7, np.uint8)

    assert find_duplicates(save(flat, other, flat)) == [[0, 2]]


def test_groups_of_different_scans_stay_apart(scans, save):
    images = [scans[0], scans[1], resized(scans[0], 0.8), resized(scans[1], 0.8)]

    assert find_duplicates(save(*images)) == [[0, 2], [1, 3]]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_have_no_duplicates(scans, save, count):
    assert find_duplicates(save(*scans[:count])) == []


def test_progress_ends_with_all(scans, save):
    calls = []
    find_duplicates(save(*scans), lambda *step: calls.append(step))

    done = [step[0] for step in calls]
    assert done == sorted(done)
    assert calls[-1] == (9, 9)


def test_what_was_found_is_remembered(scans, save, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    paths = save(scans[0], scans[1], resized(scans[0], 0.8))
    assert remembered_duplicates(paths) == [[0, 2]]

    with monkeypatch.context() as patch:
        patch.setattr(duplicates, "find_duplicates", lambda *_: pytest.fail("again"))
        assert remembered_duplicates(paths) == [[0, 2]]

    save(scans[0], scans[1], scans[2])
    assert remembered_duplicates(paths) == []


def test_what_was_found_is_remembered_by_content(scans, save, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    small = resized(scans[0], 0.8)
    assert remembered_duplicates(save(scans[0], scans[1], small)) == [[0, 2]]

    monkeypatch.setattr(duplicates, "find_duplicates", lambda *_: pytest.fail("again"))
    moved = [
        path.rename(path.with_stem(f"moved {path.stem}"))
        for path in save(small, scans[1], scans[0])
    ]
    assert remembered_duplicates(moved) == [[0, 2]]
    assert remembered_duplicates([moved[1], moved[2], moved[0]]) == [[1, 2]]
    (memory,) = (tmp_path / "cache" / "keras-efsnet").iterdir()
    monkeypatch.setattr(duplicates, "find_duplicates", lambda *_: [[0, 1]])
    for damage in ("[[1]]", "{", '[["gone"]]', "3"):
        memory.write_text(damage)
        assert remembered_duplicates(moved) == [[0, 1]]


def test_a_copy_is_found_among_many(scans, save):
    others = [make_phantom("normal", seed, (96, 128)).image for seed in range(30)]
    images = [scans[0], *others, resized(scans[0][20:, 30:], 0.9)]

    assert find_duplicates(save(*images)) == [[0, 31]]


def test_a_line_of_text_alone_lays_no_image_on_another():
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.normal(60, 6, SIZE).astype(np.uint8)) for _ in "ab"]
    for image in images:
        ImageDraw.Draw(image).text(
            (20, 200), "RIGHT BREAST 3 H", fill=255, font_size=24
        )

    one, other = (describe(np.asarray(image)) for image in images)

    assert correlate(one, other) == 0
