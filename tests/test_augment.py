"""Augmentation: reproducible, image and mask together, lesions kept."""

from dataclasses import fields, replace

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.training.augment import augment_batch
from keras_efsnet.training.augmentation import Augmentation
from keras_efsnet.training.geometry import mesh_nodes, resample
from keras_efsnet.training.screens import Screen, add_screen

SHAPE = (64, 80)
CHANGES = [f.name for f in fields(Augmentation) if f.name.endswith("_probability")]
GEOMETRY = ("flip_probability", "warp_probability")
NOTHING = Augmentation(**dict.fromkeys(CHANGES, 0.0))
GEOMETRY_ONLY = replace(NOTHING, **dict.fromkeys(GEOMETRY, 1.0))


def disc(center: tuple[int, int], radius: int) -> np.ndarray:
    y, x = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return (np.hypot(y - center[0], x - center[1]) < radius).astype(np.uint8)


def repeated(mask: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A dark lesion on brighter, speckled ground, and its mask, `count` times."""
    ground = np.random.default_rng(0).integers(120, 200, SHAPE, dtype=np.uint8)
    image = np.where(mask == 1, np.uint8(40), ground)
    return np.stack([image] * count), np.stack([mask] * count)


def only(change: str) -> Augmentation:
    return replace(NOTHING, **{change: 1.0})


def test_same_arguments_give_the_same_pixels():
    images, masks = repeated(disc((30, 40), 12), 6)
    first = augment_batch(images, masks, (3, 1, 4))
    second = augment_batch(images, masks, (3, 1, 4))
    other = augment_batch(images, masks, (3, 1, 5))
    for a, b, c in zip(first, second, other, strict=True):
        assert np.array_equal(a, b)
        assert not np.array_equal(a, c)
    assert len(np.unique(first[0], axis=0)) == 6


def test_an_image_does_not_depend_on_its_batch():
    images, masks = repeated(disc((30, 40), 12), 3)
    whole = augment_batch(images, masks, (7,))
    images[:2], masks[:2] = 0, 1
    changed = augment_batch(images, masks, (7,))
    assert np.array_equal(whole[0][2], changed[0][2])
    assert np.array_equal(whole[1][2], changed[1][2])


def test_types_ranges_and_inputs_are_kept():
    images, masks = repeated(disc((30, 40), 12), 8)
    given = images.copy(), masks.copy()
    new_images, new_masks = augment_batch(images, masks, (1,))
    assert new_images.shape == images.shape and new_images.dtype == np.uint8
    assert new_masks.shape == masks.shape and new_masks.dtype == np.uint8
    assert set(np.unique(new_masks)) == {0, 1}
    assert np.array_equal(images, given[0]) and np.array_equal(masks, given[1])


def test_mask_stays_aligned_with_the_image():
    mask = disc((28, 36), 14)
    images = np.stack([mask * np.uint8(255)] * 40)
    masks = np.stack([mask] * 40)
    moved, moved_masks = augment_batch(images, masks, (2,), GEOMETRY_ONLY)
    for image, moved_mask in zip(moved, moved_masks, strict=True):
        lesion = image > 127
        both = np.sum(lesion & (moved_mask == 1))
        assert 2 * both / (lesion.sum() + moved_mask.sum()) > 0.97


@pytest.mark.parametrize(
    "change", [c for c in CHANGES if c not in (*GEOMETRY, "screen_probability")]
)
def test_grey_values_change_without_the_mask(change):
    images, masks = repeated(disc((30, 40), 12), 4)
    new_images, new_masks = augment_batch(images, masks, (5,), only(change))
    assert not np.array_equal(new_images, images)
    assert np.array_equal(new_masks, masks)


def test_probability_zero_changes_nothing():
    images, masks = repeated(disc((30, 40), 12), 4)
    new_images, new_masks = augment_batch(images, masks, (5,), NOTHING)
    assert np.array_equal(new_images, images)
    assert np.array_equal(new_masks, masks)


def test_flip_mirrors_left_and_right():
    images, masks = repeated(disc((20, 20), 12), 2)
    flipped, flipped_masks = augment_batch(
        images, masks, (5,), only("flip_probability")
    )
    assert np.array_equal(flipped, images[:, :, ::-1])
    assert np.array_equal(flipped_masks, masks[:, :, ::-1])


@pytest.mark.parametrize("center", [(5, 6), (58, 75)])
def test_a_lesion_at_the_border_is_never_pushed_out(center):
    images, masks = repeated(disc(center, 5), 60)
    policy = replace(GEOMETRY_ONLY, translation=0.9)
    _, moved = augment_batch(images, masks, (9,), policy)
    assert moved.sum(axis=(1, 2)).min() > 0.2 * masks[0].sum()


def test_scale_magnifies():
    images, masks = repeated(disc((32, 40), 10), 1)
    still = {"rotation": 0, "stretch": 1, "translation": 0, "shear": 0, "elastic": 0}
    policy = replace(
        only("warp_probability"), smallest_scale=1.5, largest_scale=1.5, **still
    )
    _, larger = augment_batch(images, masks, (0,), policy)
    assert larger.sum() == pytest.approx(1.5**2 * masks.sum(), rel=0.03)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flip_probability", 1.5),
        ("speckle", -0.1),
        ("smallest_scale", 0.0),
        ("stretch", 0.5),
        ("tone", float("nan")),
    ],
)
def test_a_value_out_of_range_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must lie between"):
        Augmentation(**{name: value})


def test_crossed_scales_are_refused():
    with pytest.raises(ValueError, match="must not exceed largest_scale"):
        Augmentation(smallest_scale=1.2, largest_scale=0.8)


def test_mesh_at_rest_moves_nothing():
    pixels = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    for filter_ in (Image.Resampling.NEAREST, Image.Resampling.BILINEAR):
        assert np.array_equal(resample(pixels, mesh_nodes(SHAPE), filter_), pixels)


def test_mesh_mirrors_at_the_sides_and_is_black_above_and_below():
    pixels = np.random.default_rng(0).integers(1, 256, SHAPE, dtype=np.uint8)
    mirrored = np.pad(pixels, [(0, 0), (20, 20)], mode="symmetric")
    for shift in (-20, 20):
        source = mesh_nodes(SHAPE) + (shift, 0)
        moved = resample(pixels, source, Image.Resampling.NEAREST)
        assert np.array_equal(moved, mirrored[:, 20 + shift :][:, : SHAPE[1]])
        source = mesh_nodes(SHAPE) + (0, shift)
        moved = resample(pixels, source, Image.Resampling.NEAREST)
        black = np.pad(pixels, [(20, 20), (0, 0)])
        assert np.array_equal(moved, black[20 + shift :][: SHAPE[0]])


def test_screens_move_the_mask_with_the_scan():
    image = np.full((96, 128), 100, np.uint8)
    mask = np.zeros((96, 128), np.uint8)
    image[30:60, 40:80], mask[30:60, 40:80] = 200, 1
    nothing_else = Screen(
        border=1.0, ruler=0, bar=0, pictogram=0, text=0, calipers=0, fan=0
    )
    shrunk = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        framed, moved = add_screen(image, mask, rng, nothing_else)
        assert framed.shape == moved.shape == image.shape
        assert set(np.unique(moved)) == {0, 1}
        inside = framed[moved == 1].astype(int)
        assert np.median(inside) == 200 and (inside > 150).mean() > 0.9
        assert (framed[moved == 0] > 150).mean() < 0.05
        shrunk += moved.sum() < mask.sum()
    assert shrunk >= 15


def test_screens_draw_no_text_or_pictogram_on_a_lesion():
    image, mask = np.zeros((96, 128), np.uint8), np.zeros((96, 128), np.uint8)
    mask[20:80, 30:110] = 1
    only = Screen(border=0, ruler=0, bar=0, pictogram=1, text=1, calipers=0, fan=0)
    drawn = 0
    for seed in range(20):
        framed, same = add_screen(image, mask, np.random.default_rng(seed), only)
        assert np.array_equal(same, mask)
        assert not framed[mask == 1].any()
        drawn += framed.any()
    assert drawn >= 10


def test_screens_are_off_unless_set():
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 64), np.uint8)
    mask = np.zeros_like(image)
    plain = augment_batch(image, mask, (1, 2))[0]
    screened = augment_batch(image, mask, (1, 2), Augmentation(screen_probability=1.0))
    assert not np.array_equal(plain, screened[0])
    assert np.array_equal(plain, augment_batch(image, mask, (1, 2), Augmentation())[0])
