"""What counts as a mask file, and what its pixels mean."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from tiff_files import PALETTE, WHITE_IS_ZERO, Layout, write_tiff

from keras_efsnet.images.mask_names import is_mask_name, mask_owner
from keras_efsnet.training.datasets.masks import (
    mask_problems,
    read_mask_file,
)

LESION = np.zeros((40, 60), bool)
LESION[10:30, 20:45] = True
WHITE = np.where(LESION, 255, 0).astype(np.uint8)


@pytest.fixture
def save(tmp_path):
    def write(image, name="a_mask.png", **options) -> Path:
        if isinstance(image, np.ndarray):
            image = Image.fromarray(image)
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    "name",
    [
        *("a_mask.png", "a_mask_1.png", "a_Mask.png", "a_mask (1).png", "a-mask.tif"),
        *("a_mask - Copy.png", "a_mask2.png", "a_mask - Copy (2).png", "a_MASK.PNG"),
        *("a mask.png", "a.mask.png", "a_masks.png", "a_mask_2 - Copy.png"),
        *("a_mask_1_2.png", "a_mask_final.png", "a(mask).png", "a_[mask].png"),
        *("a - mask.png", "a\u2013mask.png", "mask_a.png", "Mask-a.png", "masks a.png"),
        *("a_Maske.png", "a_masque.tif", "a_M\xe1scara.png", "a_ma\u0301scara.png"),
    ],
)
def test_names_of_masks(name):
    assert is_mask_name(Path(name))
    assert mask_owner(Path(name), {"a", "b"}) == "a"
    assert mask_owner(Path(name), {"b"}) is None


@pytest.mark.parametrize(
    "name",
    [
        *("a.png", "unmask.png", "a_masked.png", "mask.png", "masked a.png"),
        *("damask_a.png", "a_maskA.png", "a_unmasked.png"),
    ],
)
def test_names_of_images(name):
    assert not is_mask_name(Path(name))
    assert mask_owner(Path(name), {"a"}) is None


def test_mask_belongs_to_the_image_before_the_last_mask():
    assert mask_owner(Path("b (4)_mask_1.png"), {"b", "b (4)"}) == "b (4)"
    assert mask_owner(Path("a_mask_b_mask.png"), {"a", "a_mask_b"}) == "a_mask_b"
    assert mask_owner(Path("mask_(4) b.png"), {"b", "(4) b"}) == "(4) b"
    assert mask_owner(Path("4mask.png"), {"4"}) == "4"


def colours(lesion, background, mode="RGB") -> Image.Image:
    pixels = np.where(LESION[..., None], lesion, background).astype(np.uint8)
    return Image.fromarray(pixels, mode)


def palette(index_of_white: int) -> Image.Image:
    indices = np.where(LESION, index_of_white, 1 - index_of_white).astype(np.uint8)
    image = Image.fromarray(indices, "P")
    white_first = [255, 255, 255, 0, 0, 0]
    image.putpalette(white_first if index_of_white == 0 else white_first[::-1])
    return image


READ = {
    "grey": Image.fromarray(WHITE),
    "one bit": Image.fromarray(LESION),
    "sixteen bits": Image.fromarray(WHITE.astype(np.uint16) * 257),
    "one": Image.fromarray(LESION.astype(np.uint8)),
    "dark background": Image.fromarray(np.where(LESION, 200, 40).astype(np.uint8)),
    "green": colours((0, 255, 0), (0, 0, 0)),
    "red": colours((255, 0, 0), (0, 0, 0)),
    "white on transparent white": colours((255,) * 4, (255, 255, 255, 0), "RGBA"),
    "half transparent red": colours((255, 0, 0, 128), (0, 0, 0, 0), "RGBA"),
    "opaque": colours((255,) * 4, (0, 0, 0, 255), "RGBA"),
    "grey with opacity": colours((255, 255), (255, 0), "LA"),
    "palette, white first": palette(0),
    "palette, white second": palette(1),
}


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", READ)
def test_the_brighter_of_two_values_is_lesion(save, kind):
    path = save(READ[kind])

    np.testing.assert_array_equal(read_mask_file(path), LESION)
    assert mask_problems(path) == []


def test_both_colours_of_bus_uclm_are_lesion(save):
    pixels = np.zeros((*LESION.shape, 3), np.uint8)
    pixels[10:30, 20:30, 1] = 255
    pixels[10:30, 30:45, 0] = 255

    np.testing.assert_array_equal(read_mask_file(save(pixels)), LESION)


def test_black_is_an_empty_mask(save):
    path = save(WHITE * 0)

    assert not read_mask_file(path).any()
    assert mask_problems(path) == []


@pytest.mark.parametrize(
    ("name", "options"),
    [("a_mask.jpg", {}), ("a_mask.tif", {"compression": "jpeg"})],
)
def test_a_dark_jpeg_mask_is_cut_at_half_as_others(save, name, options):
    soft = Image.fromarray(WHITE // 255 * 20).filter(ImageFilter.GaussianBlur(0.5))
    file = save(soft, name, quality=60, **options)
    found = read_mask_file(file)
    assert np.count_nonzero(found != LESION) <= 0.02 * LESION.sum()
    assert [problem.kind for problem in mask_problems(file)] == ["grey mask"]


def test_class_numbers_are_lesion_and_reported(save):
    numbers = LESION.astype(np.uint8)
    numbers[10:30, 30:45] = 2
    path = save(numbers)

    np.testing.assert_array_equal(read_mask_file(path), LESION)
    (problem,) = mask_problems(path)
    assert problem.kind == "class numbers" and "1, 2" in problem.detail
    assert not problem.fix


def test_jpeg_is_cut_at_half(save):
    path = save(WHITE, "a_mask.jpg", quality=60)

    np.testing.assert_array_equal(read_mask_file(path), LESION)
    assert [problem.kind for problem in mask_problems(path)] == ["grey mask"]


def test_smooth_edges_are_cut_at_half(save):
    soft = Image.fromarray(WHITE).filter(ImageFilter.GaussianBlur(1.5))
    mask = read_mask_file(save(soft))

    assert (mask != LESION).sum() <= 4  # The four corners.


def third_value() -> np.ndarray:
    pixels = WHITE.copy()
    pixels[10:30, 20:28] = 128
    return pixels


def photograph() -> np.ndarray:
    ramp = np.linspace(0, 255, LESION.size).reshape(LESION.shape)
    return ramp.astype(np.uint8)


NEARLY_ALL = np.full((40, 60), 255, np.uint8)
NEARLY_ALL[5:8, 5:8] = 0
REFUSED = {
    "inverted mask": 255 - WHITE,
    "third value": third_value(),
    "one value": WHITE * 0 + 255,
    "invisible mask": Image.merge(
        "LA", [Image.fromarray(WHITE * 0), Image.fromarray(WHITE)]
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_ambiguous_masks_are_refused_in_one_line(save, kind):
    path = save(REFUSED[kind])

    with pytest.raises(ValueError) as error:
        read_mask_file(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value) and "draw the lesion" in str(error.value)
    assert kind in [problem.kind for problem in mask_problems(path)]


WHITE_FRAME = Image.fromarray(WHITE * 0 + 255)
INVERTED = {
    "a_mask.bmp": Image.fromarray(~LESION),
    "a_mask.jpg": Image.fromarray(255 - WHITE),
    "a_mask.png": Image.merge(
        "LA", [WHITE_FRAME, Image.fromarray(np.where(LESION, 0, 255).astype(np.uint8))]
    ),
    "a_mask.tif": Image.fromarray((~LESION).astype(np.uint16) * 65535),
}


@pytest.mark.parametrize("name", INVERTED)
def test_inverted_masks_of_every_kind_are_refused(save, name):
    path = save(INVERTED[name], name)

    with pytest.raises(ValueError, match="lesion touches all four borders"):
        read_mask_file(path)
    assert "inverted mask" in [problem.kind for problem in mask_problems(path)]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_tiffs_of_other_numbers_are_refused(save, dtype):
    path = save(LESION.astype(dtype), "a_mask.tif")

    with pytest.raises(ValueError, match="32-bit numbers; save it as RGB or grey of 8"):
        read_mask_file(path)
    assert [problem.kind for problem in mask_problems(path)] == ["unreadable"]


@pytest.mark.parametrize("highest", [255, 65535])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_tiff_masks_with_a_colour_map_of_bytes_or_words(tmp_path, bits, highest):
    colours = np.zeros((3, 2**bits), int)
    colours[:, 1] = highest
    layout = Layout(PALETTE, bits, colours=colours)
    path = write_tiff(tmp_path / "a_mask.tif", (LESION[..., None].astype(int), layout))

    np.testing.assert_array_equal(read_mask_file(path), LESION)


def test_a_deep_tiff_mask_whose_white_is_zero(tmp_path):
    stored = np.where(LESION, 0, 65535)[..., None]
    path = write_tiff(tmp_path / "a_mask.tif", (stored, Layout(WHITE_IS_ZERO, 16)))

    assert mask_problems(path) == []
    np.testing.assert_array_equal(read_mask_file(path), LESION)


@pytest.mark.parametrize("third", [1, 2, 40, 63, 128, 190])
def test_a_third_value_of_any_grey_is_refused(save, third):
    pixels = np.where(LESION, third, 0).astype(np.uint8)
    pixels[0:2] = 255

    with pytest.raises(ValueError, match=f"third value, such as {third}, between"):
        read_mask_file(save(pixels))


def test_black_that_jpeg_made_grey_is_background(save):
    pixels = np.where(LESION, 255, 1).astype(np.uint8)
    pixels[:2, :40] = np.arange(40) // 4  # the greys of ringing

    np.testing.assert_array_equal(read_mask_file(save(pixels)), LESION)


def test_a_photograph_is_no_mask(save):
    with pytest.raises(ValueError, match="areas of a third value"):
        read_mask_file(save(photograph()))


def test_a_mask_of_nearly_all_is_refused(save):
    with pytest.raises(ValueError, match=r"100% of it is lesion, more than 90%"):
        read_mask_file(save(NEARLY_ALL))


def test_size_is_checked_against_the_image(save):
    (problem,) = mask_problems(save(WHITE), (40, 61))

    assert problem.kind == "size of mask"
    assert problem.detail == "the mask has 40 x 60, its image 40 x 61 (height x width)"


def test_what_is_no_image_is_refused(tmp_path):
    path = tmp_path / "a_mask.png"
    path.write_bytes(b"no image")

    with pytest.raises(ValueError, match=r"a_mask\.png: not an image"):
        read_mask_file(path)
    assert [problem.kind for problem in mask_problems(path)] == ["unreadable"]


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        read_mask_file(tmp_path / "nowhere.png")
