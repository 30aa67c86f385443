"""Lesions pasted from one image into another."""

import numpy as np
import pytest

from keras_efsnet.prediction import LABELS
from keras_efsnet.training.paste import paste_lesion
from keras_efsnet.training.pipeline import ImageCache, paste_lesions

SIZE = 64
NORMAL, BENIGN, MALIGNANT = range(len(LABELS))


def image_with_lesion(row, column, radius, grey=20):
    """A bright image with one dark disc, and its mask."""
    y, x = np.ogrid[:SIZE, :SIZE]
    mask = ((y - row) ** 2 + (x - column) ** 2 <= radius**2).astype(np.uint8)
    return np.where(mask, grey, 150).astype(np.uint8), mask


EMPTY = np.full((SIZE, SIZE), 150, np.uint8), np.zeros((SIZE, SIZE), np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_the_mask_covers_what_was_pasted(seed):
    donor = image_with_lesion(30, 20, 8)
    image, mask = paste_lesion(*EMPTY, *donor, np.random.default_rng(seed))
    assert mask.any()
    assert image[mask > 0].mean() < 60
    # All that differs lies on the lesion or in the band in which it fades.
    changed = np.argwhere(np.abs(image.astype(int) - 150) > 3)
    lesion = np.argwhere(mask)
    assert (changed.min(0) >= lesion.min(0) - 6).all()
    assert (changed.max(0) <= lesion.max(0) + 6).all()


def test_a_lesion_stays_at_about_its_depth():
    donor = image_with_lesion(20, 30, 5)
    rng = np.random.default_rng(0)
    rows, columns = [], []
    for _ in range(30):
        where = np.argwhere(paste_lesion(*EMPTY, *donor, rng)[1])
        rows.append(where[:, 0].mean())
        columns.append(where[:, 1].mean())
    assert abs(np.mean(rows) - 20) < 4
    assert np.ptp(columns) > 30


def test_the_patch_takes_the_brightness_of_its_place():
    donor = image_with_lesion(30, 20, 8, grey=60)
    dark = np.full((SIZE, SIZE), 70, np.uint8), EMPTY[1]
    image, mask = paste_lesion(*dark, *donor, np.random.default_rng(1))
    assert image[mask > 0].mean() == pytest.approx(60 * (70 + 8) / (150 + 8), abs=6)


@pytest.mark.parametrize(
    ("target", "donor"),
    [
        (EMPTY, image_with_lesion(32, 32, 31)),
        (image_with_lesion(32, 32, 31), image_with_lesion(30, 20, 8)),
    ],
    ids=["too large", "on a lesion"],
)
def test_what_does_not_fit_is_left_out(target, donor):
    rng = np.random.default_rng(0)  # magnifies by 1.08
    image, mask = paste_lesion(*target, *donor, rng)
    np.testing.assert_array_equal(image, target[0])
    np.testing.assert_array_equal(mask, target[1])


@pytest.fixture
def cache():
    """One normal image; benign lesions have grey 20, malignant ones 80."""
    parts = [
        EMPTY,
        image_with_lesion(30, 12, 6, grey=20),
        image_with_lesion(30, 12, 6, grey=80),
    ]
    images, masks = (np.stack(part) for part in zip(*parts, strict=True))
    ones = np.ones(3, np.float32)
    return ImageCache(images, masks, np.arange(3), ones, ones.copy())


def paste(cache, chosen):
    chosen = np.full(20, chosen)
    rng = np.random.default_rng(3)
    return paste_lesions(cache.take(chosen), cache, 1.0, rng)


def test_a_normal_image_gets_the_class_of_its_new_lesion(cache):
    batch = paste(cache, NORMAL)
    has_lesion = batch.masks.any(axis=(1, 2))
    assert set(batch.labels[has_lesion]) == {BENIGN, MALIGNANT}
    assert (batch.labels[~has_lesion] == NORMAL).all()
    for image, mask, label in zip(batch.images, batch.masks, batch.labels, strict=True):
        if mask.any():
            assert (image[mask > 0].min() > 50) == (label == MALIGNANT)


@pytest.mark.parametrize("label", [BENIGN, MALIGNANT])
def test_no_image_gets_both_kinds_of_tumour(cache, label):
    batch = paste(cache, label)
    assert (batch.labels == label).all()
    assert (batch.masks.sum(axis=(1, 2)) > cache.masks[label].sum()).any()
    greys = batch.images[batch.masks > 0]
    assert (greys.min() > 50) == (label == MALIGNANT)


def test_images_without_known_mask_or_class_are_left_alone(cache):
    cache.mask_weight[NORMAL] = 0
    cache.class_weight[BENIGN] = 0
    for chosen in (NORMAL, BENIGN):
        np.testing.assert_array_equal(
            paste(cache, chosen).images, cache.take(np.full(20, chosen)).images
        )
