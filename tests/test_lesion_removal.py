"""Normal images made of tumour images."""

from pathlib import Path

import numpy as np

from keras_efsnet.training.datasets.sample import Sample
from keras_efsnet.training.lesion_removal import MARGIN, remove_lesion, remove_lesions

SIDE = 64


def layers(brightness=0):
    """Tissue that changes with depth alone, with speckle."""
    depth = np.linspace(60, 180, SIDE)[:, None] + brightness
    noise = np.random.default_rng(brightness).normal(0, 4, (SIDE, SIDE))
    return (depth + noise).astype(np.uint8)


def with_lesion(image, radius=8, column=24):
    y, x = np.ogrid[:SIDE, :SIDE]
    mask = (np.hypot(y - 30, x - column) < radius).astype(np.uint8)
    return np.where(mask == 1, np.uint8(5), image), mask


def test_the_lesion_gives_way_to_tissue_of_its_depth():
    tissue = layers()
    image, mask = with_lesion(tissue)
    found = remove_lesion(image, mask)
    lesion = mask == 1
    expected = np.linspace(60, 180, SIDE)[:, None] * np.ones(SIDE)
    apart = (found - expected)[lesion]
    assert abs(apart).max() < 20  # nothing of the lesion shines through
    assert abs(apart.mean()) < 3
    assert 2 < apart.std() < 8  # speckle, not a blurred patch


def test_what_lies_beside_the_lesion_stays():
    image, mask = with_lesion(layers())
    found = remove_lesion(image, mask)
    columns = np.flatnonzero(mask.any(axis=0))
    reach = int(np.ceil(MARGIN * SIDE)) + 1
    kept = np.ones(SIDE, bool)
    kept[columns[0] - reach : columns[-1] + reach + 1] = False
    assert np.array_equal(found[:, kept], image[:, kept])
    above = slice(0, np.flatnonzero(mask.any(axis=1))[0] - reach)
    assert np.array_equal(found[above], image[above])


def test_a_lesion_as_wide_as_the_image_needs_a_donor():
    image, mask = with_lesion(layers(), radius=16, column=32)
    assert remove_lesion(image, mask) is None
    donor = layers(3), np.zeros_like(mask)
    found = remove_lesion(image, mask, [donor])
    assert abs(found.astype(int) - layers())[mask == 1].max() < 25


def test_nothing_is_made_where_nothing_fits():
    image, mask = with_lesion(layers(), radius=16, column=32)
    strange = np.where(np.arange(SIDE) % 32 < 16, 0, 255) * np.ones((SIDE, 1))
    donor = strange.astype(np.uint8), np.zeros_like(mask)
    assert remove_lesion(image, mask, [donor]) is None
    assert remove_lesion(image, np.ones_like(mask)) is None


def test_only_named_sources_and_images_with_lesions_are_changed():
    image, mask = with_lesion(layers())
    empty = np.zeros_like(mask)
    rows = [("a", mask), ("b", mask), ("a", empty), ("a", mask)]
    samples = [
        Sample(f"{i}", "benign", Path(f"{i}.png"), source=source)
        for i, (source, _) in enumerate(rows)
    ]
    images = np.stack([image] * len(rows))
    masks = np.stack([lesion for _, lesion in rows])
    made, originals = remove_lesions(images, masks, samples, ("a",), seed=0)
    assert originals.tolist() == [0, 3]
    assert made.shape == (2, SIDE, SIDE)
    assert made.dtype == np.uint8
    none, nowhere = remove_lesions(images, masks, samples, ("c",), seed=0)
    assert none.shape == (0, SIDE, SIDE)
    assert len(nowhere) == 0
