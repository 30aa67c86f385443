"""Phantoms: repeatable, exact masks, and the physics that tells the classes apart."""

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom, write_phantoms
from keras_efsnet.phantoms.scan import envelope as scan_envelope
from keras_efsnet.training.datasets.masks import read_mask_file

SMALL = (160, 200)


def bounds(mask):
    """Top, bottom, left, right of the mask's box, ends excluded."""
    rows, columns = np.nonzero(mask)
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def below_minus_beside(phantom):
    """Mean grey behind the lesion's middle less that at its sides, same depth."""
    _, bottom, left, right = bounds(phantom.mask)
    third, depth = max(1, (right - left) // 3), max(2, (right - left) // 4)
    band = phantom.image[bottom + 2 : bottom + 2 + depth].astype(float)
    sides = band[:, max(0, left - third) : left], band[:, right : right + third]
    beside = np.concatenate([side.ravel() for side in sides])
    behind = band[:, left + third : right - third]
    return behind.mean() - beside.mean() if behind.size and beside.size else None


def widths(mask):
    top, bottom, left, right = bounds(mask)
    return bottom - top, right - left


def roughness(mask):
    """Squared border length over area: about 16 for an upright square."""
    border = np.sum(mask[1:] != mask[:-1]) + np.sum(mask[:, 1:] != mask[:, :-1])
    return border**2 / mask.sum()


@pytest.mark.parametrize("label", LABELS)
def test_equal_arguments_give_equal_pixels(label):
    first, again = make_phantom(label, 7, SMALL), make_phantom(label, 7, SMALL)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)
    other = make_phantom(label, 8, SMALL)
    assert np.mean(first.image != other.image) > 0.5


def test_no_lesion_touches_all_four_borders(tmp_path):
    """The first drawing of the third malignant phantom of seed 3 would."""
    folder = write_phantoms(tmp_path, {"malignant": 3}, seed=3)

    for path in sorted(folder.glob("*/*_mask.png")):
        assert read_mask_file(path).any()


@pytest.mark.parametrize("size", [(32, 32), (33, 150), (150, 47), (400, 500)])
@pytest.mark.parametrize("label", LABELS)
def test_size_types_and_label(label, size):
    phantom = make_phantom(label, 0, size)
    assert phantom.image.shape == phantom.mask.shape == size
    assert phantom.image.dtype == np.uint8 and phantom.mask.dtype == np.bool_
    assert phantom.label == label
    assert phantom.image.std() > 5


@pytest.mark.parametrize("label", LABELS)
def test_mask_is_empty_for_normal_alone(label):
    found = {bool(make_phantom(label, seed, (40, 52)).mask.any()) for seed in range(60)}
    assert found == {label != "normal"}


def test_lesions_range_from_tiny_to_half_the_image():
    areas = [make_phantom("benign", seed, (64, 80)).mask.mean() for seed in range(100)]
    areas += [make_phantom("malignant", s, (64, 80)).mask.mean() for s in range(100)]
    assert min(areas) < 0.01
    assert max(areas) > 0.45
    assert 0.04 < np.median(areas) < 0.12


def test_mask_lies_exactly_on_the_lesion():
    """Shifted by 4 pixels to any side, masks take in brighter pixels."""
    gains = {(axis, shift): [] for axis in (0, 1) for shift in (-4, 4)}
    for seed in range(40):
        phantom = make_phantom("benign", seed, SMALL)
        inside = phantom.image[phantom.mask].mean()
        for axis, shift in gains:
            moved = np.roll(phantom.mask, shift, axis)
            gains[axis, shift].append(phantom.image[moved].mean() - inside)
    assert min(np.mean(values) for values in gains.values()) > 2.5


def test_shapes_tell_the_classes_apart():
    benign = [make_phantom("benign", seed, SMALL).mask for seed in range(40)]
    malignant = [make_phantom("malignant", seed, SMALL).mask for seed in range(40)]
    wider = [np.less(*widths(mask)) for mask in benign]
    taller = [np.greater(*widths(mask)) for mask in malignant]
    assert np.mean(wider) > 0.85
    assert 0.2 < np.mean(taller) < 0.75
    smooth = np.median([roughness(mask) for mask in benign])
    assert np.median([roughness(mask) for mask in malignant]) > 1.25 * smooth


@pytest.mark.parametrize("label", ["benign", "malignant"])
def test_lesion_is_darker_than_its_surround(label):
    darker = []
    for seed in range(30):
        phantom = make_phantom(label, seed, SMALL)
        top, bottom, left, right = bounds(phantom.mask)
        reach = max(4, (right - left) // 4)
        around = np.zeros_like(phantom.mask)
        around[top:bottom, max(0, left - reach) : right + reach] = True
        around &= ~phantom.mask
        inside = phantom.image[phantom.mask].mean()
        darker.append(inside < phantom.image[around].mean())
    assert np.mean(darker) > 0.85


def test_enhancement_behind_benign_and_shadow_behind_malignant():
    contrast = {}
    for label in ("benign", "malignant"):
        phantoms = (make_phantom(label, seed, SMALL) for seed in range(40))
        values = [below_minus_beside(phantom) for phantom in phantoms]
        contrast[label] = np.mean([value for value in values if value is not None])
    assert contrast["benign"] > 15
    assert contrast["malignant"] < -5


def even_envelope(looks, lateral=3.0, mirror=0.0, scatter=1.0):
    shape = (320, 320)
    return scan_envelope(
        np.random.default_rng(5),
        np.full(shape, scatter, np.float32),
        np.full(shape, mirror, np.float32),
        axial=1.2,
        lateral=np.broadcast_to(np.float32(lateral), (shape[0], 1)),
        looks=looks,
    )


def test_one_look_is_fully_developed_speckle():
    envelope = even_envelope(looks=1)
    assert envelope.mean() / envelope.std() == pytest.approx(1.91, abs=0.06)
    assert np.mean(envelope**2) == pytest.approx(1.0, abs=0.05)
    borders = np.concatenate([envelope[:2].ravel(), envelope[:, :2].ravel()])
    assert np.mean(borders**2) == pytest.approx(1.0, abs=0.25)


def test_looks_reduce_speckle():
    one, four = even_envelope(looks=1), even_envelope(looks=4)
    assert four.std() / four.mean() < 0.6 * one.std() / one.mean()


def test_mirror_echo_passes_at_unit_gain():
    envelope = even_envelope(looks=1, scatter=0.0, mirror=2.0)
    np.testing.assert_allclose(envelope, 2.0, rtol=1e-4)


def test_speckle_is_wider_than_tall_and_widens_with_the_beam():
    def correlation(image, step, axis):
        parts = (
            np.delete(image, range(step), axis),
            np.delete(image, range(-step, 0), axis),
        )
        return np.corrcoef(parts[0].ravel(), parts[1].ravel())[0, 1]

    lateral = np.repeat(np.float32([2.0, 6.0]), 160)[:, None]
    envelope = even_envelope(looks=1, lateral=2.0)
    shape = (320, 320)
    assert correlation(envelope, 3, axis=1) > correlation(envelope, 3, axis=0) + 0.2
    varied = scan_envelope(
        np.random.default_rng(6),
        np.ones(shape, np.float32),
        np.zeros(shape, np.float32),
        axial=1.2,
        lateral=lateral,
        looks=1,
    )
    narrow, wide = varied[:150], varied[170:]
    assert correlation(wide, 5, axis=1) > correlation(narrow, 5, axis=1) + 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cyst", 0, SMALL), "label must be one of normal, benign, malignant"),
        (("benign", -1, SMALL), "seed must be 0 or more"),
        (("benign", 0, (31, 200)), "size must be .height, width., each at least 32"),
        (("benign", 0, (64,)), "size must be"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_phantom(*arguments)


def test_folder_has_the_layout_of_busi(tmp_path):
    counts = {"normal": 1, "benign": 2, "malignant": 1}
    folder = write_phantoms(tmp_path / "new" / "data", counts, seed=4)
    assert folder == tmp_path / "new" / "data"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    stems = [f"{k}/{k} ({n + 1})" for k, count in counts.items() for n in range(count)]
    suffixes = ".png", "_mask.png"
    assert names == {stem + suffix for stem in stems for suffix in suffixes}
    for stem in stems:
        image = np.asarray(Image.open(folder / f"{stem}.png"))
        mask = np.asarray(Image.open(folder / f"{stem}_mask.png"))
        assert image.shape == mask.shape and image.dtype == mask.dtype == np.uint8
        assert 300 <= image.shape[0] <= 600 and 400 <= image.shape[1] <= 700
        values = {0} if stem.startswith("normal") else {0, 255}
        assert set(np.unique(mask)) == values


def test_larger_set_begins_with_the_smaller_one(tmp_path):
    one = write_phantoms(tmp_path / "one", {"benign": 1}, seed=4)
    two = write_phantoms(tmp_path / "two", {"benign": 2}, seed=4)
    other = write_phantoms(tmp_path / "other", {"benign": 1}, seed=5)
    name = "benign/benign (1).png"
    assert (one / name).read_bytes() == (two / name).read_bytes()
    assert (two / name).read_bytes() != (two / "benign/benign (2).png").read_bytes()
    assert (one / name).read_bytes() != (other / name).read_bytes()


def test_one_number_means_every_class(tmp_path):
    folder = write_phantoms(tmp_path, 1, seed=0)
    assert sorted(path.name for path in folder.iterdir()) == sorted(LABELS)


def test_interrupted_write_leaves_no_half_image(tmp_path, monkeypatch):
    def fail(self, path, **options):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_phantoms(tmp_path, {"normal": 1}, seed=0)
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize(
    ("per_class", "seed", "message"),
    [
        ({"cyst": 1}, 0, "label must be one of"),
        ({"benign": -1}, 0, "per_class of 'benign' must be 0 or more"),
        (1, -1, "seed must be 0 or more"),
    ],
)
def test_nothing_is_written_after_a_wrong_argument(tmp_path, per_class, seed, message):
    with pytest.raises(ValueError, match=message):
        write_phantoms(tmp_path / "data", per_class, seed)
    assert not (tmp_path / "data").exists()
