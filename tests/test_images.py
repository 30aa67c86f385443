import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.images import reading
from keras_efsnet.images.frame import DamagedFrame
from keras_efsnet.images.grey import (
    resize_image,
    resize_mask,
    resize_probability,
    to_grey,
)
from keras_efsnet.images.reading import read_frames, read_image

COLOURS = np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]]])
GREYS = np.uint8([[76, 150, 29, 90]])  # 0.299 R + 0.587 G + 0.114 B
DEEP = np.uint16([[0, 255, 256, 65535], [257 * 128, 1000, 40000, 50000]])


def _save(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize("ending", ["png", "bmp", "tif"])
def test_colour_files_become_itu_601_grey(tmp_path, mode, ending):
    image = Image.fromarray(COLOURS).convert(mode, palette=Image.Palette.ADAPTIVE)
    path = _save(image, tmp_path / f"scan.{ending}")
    np.testing.assert_array_equal(read_image(path), GREYS)


@pytest.mark.parametrize(("mode", "white"), [("L", 200), ("LA", 200), ("1", 255)])
def test_grey_files_keep_their_values(tmp_path, mode, white):
    pixels = np.uint8([[0, 200], [200, 0]])
    path = _save(Image.fromarray(pixels).convert(mode), tmp_path / "scan.png")
    np.testing.assert_array_equal(read_image(path), pixels // 200 * white)


def test_jpeg_is_read(tmp_path, scan):
    path = _save(Image.fromarray(scan), tmp_path / "scan.jpg")
    assert np.abs(read_image(path).astype(int) - scan).mean() < 3


@pytest.mark.parametrize("name", ["scan.png", "scan.tif"])
def test_sixteen_bits_keep_the_high_byte(tmp_path, name):
    path = _save(Image.fromarray(DEEP), tmp_path / name)
    np.testing.assert_array_equal(read_image(path), DEEP // 256)


def test_sixteen_bits_of_a_big_endian_file(tmp_path):
    path = _save(Image.fromarray(DEEP.astype(">u2")), tmp_path / "scan.tif")
    np.testing.assert_array_equal(read_image(path), DEEP // 256)


def test_min_max_stretches_a_twelve_bit_image(tmp_path):
    path = _save(Image.fromarray(np.uint16([[1000, 2000, 3000]])), tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(path, "minmax"), [[0, 128, 255]])
    np.testing.assert_array_equal(to_grey(np.full((2, 2), 9, np.uint16), "minmax"), 0)


def test_image_is_turned_as_viewers_show_it(tmp_path):
    image = Image.fromarray(np.uint8([[1, 2, 3]]))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    image.save(tmp_path / "scan.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "scan.png"), [[1], [2], [3]])


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (GREYS[:, :, None], GREYS),
        (COLOURS, GREYS),
        (np.dstack([COLOURS, np.zeros((1, 4), np.uint8)]), GREYS),
        (COLOURS.astype(np.uint16) * 257, GREYS),
        (COLOURS[:, ::-1], GREYS[:, ::-1]),
    ],
)
def test_arrays_follow_the_rule_of_files(pixels, expected):
    np.testing.assert_array_equal(to_grey(pixels), expected)


@pytest.mark.parametrize(
    ("pixels", "rule"),
    [
        (np.zeros((4, 4), np.float32), "8 or 16 bits"),
        (np.zeros((4, 4, 2), np.uint8), "1, 3 or 4 channels"),
        (np.zeros((2, 4, 4, 1), np.uint8), r"got \(2, 4, 4, 1\)"),
        (np.zeros((0, 4), np.uint8), r"got \(0, 4\)"),
    ],
)
def test_other_arrays_are_refused(pixels, rule):
    with pytest.raises(ValueError, match=rule):
        to_grey(pixels)


def test_text_named_png_is_refused(tmp_path):
    path = tmp_path / "scan.png"
    path.write_text("no image")
    with pytest.raises(ValueError, match=r"scan\.png: not an image; give a PNG"):
        read_image(path)


def test_truncated_png_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80), np.uint8)
    path = _save(Image.fromarray(noise), tmp_path / "scan.png")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"scan\.png: damaged image file"):
        read_image(path)


def test_each_page_is_a_frame(tmp_path, scan):
    path = tmp_path / "cine.tif"
    pages = [scan, 255 - scan, scan[:40]]
    first, *others = map(Image.fromarray, pages)
    first.save(path, save_all=True, append_images=others)
    frames = list(read_frames(path))
    for frame, page in zip(frames, pages, strict=True):
        np.testing.assert_array_equal(frame.pixels, page)
    assert [(frame.number, frame.count) for frame in frames] == [(1, 3), (2, 3), (3, 3)]
    assert {frame.source for frame in frames} == {path}
    with pytest.raises(ValueError, match=r"cine\.tif: one image a file .* got 3"):
        read_image(path)


def test_a_damaged_page_leaves_the_others(tmp_path, scan):
    path = tmp_path / "cine.tif"
    first, *others = map(Image.fromarray, [scan, 255 - scan, scan])
    first.save(path, save_all=True, append_images=others, compression="tiff_deflate")
    content = bytearray(path.read_bytes())
    with Image.open(path) as image:
        image.seek(1)
        start = image.tag_v2[273][0]
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    one, damaged, three = read_frames(path)
    assert (one.number, damaged.number, three.number) == (1, 2, 3)
    assert isinstance(damaged, DamagedFrame)
    assert damaged.problem.startswith(f"{path}: damaged image file")
    np.testing.assert_array_equal(three.pixels, scan)


def test_a_picture_is_one_frame_of_no_number(tmp_path, scan):
    (frame,) = read_frames(_save(Image.fromarray(scan), tmp_path / "scan.png"))
    assert (frame.number, frame.count, frame.regions) == (None, 1, ())


def test_moving_pictures_are_refused(tmp_path, scan):
    page, other = Image.fromarray(scan), Image.fromarray(255 - scan)
    page.save(tmp_path / "a.png", save_all=True, append_images=[other])
    with pytest.raises(ValueError, match=r"a\.png: one image a file is read, got 2"):
        read_image(tmp_path / "a.png")


def test_thirty_two_bits_are_refused(tmp_path):
    path = _save(Image.fromarray(np.zeros((4, 4), np.float32)), tmp_path / "scan.tif")
    with pytest.raises(ValueError, match="32-bit"):
        read_image(path)


def test_cmyk_is_read(tmp_path):
    colours = Image.fromarray(COLOURS).convert("CMYK")
    path = _save(colours, tmp_path / "scan.tif")
    np.testing.assert_array_equal(read_image(path), GREYS)


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (1, 1)])
def test_an_image_one_pixel_wide_is_read(tmp_path, shape):
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    path = _save(Image.fromarray(pixels), tmp_path / "scan.png")
    np.testing.assert_array_equal(read_image(path), pixels)


@pytest.mark.parametrize("limit", ["MAX_PIXELS", "MAX_SIDE"])
def test_too_large_images_are_refused_before_they_are_decoded(
    tmp_path, monkeypatch, limit
):
    path = _save(Image.new("L", (30, 20)), tmp_path / "scan.png")
    monkeypatch.setattr(reading, limit, 29)
    path.write_bytes(path.read_bytes()[:-20])  # decoding would fail
    with pytest.raises(ValueError, match=r"scan\.png: more than .* scale the image"):
        read_image(path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_small_file_of_a_huge_image_is_refused(tmp_path, side):
    path = _save(Image.new("1", (side, 1)), tmp_path / "scan.bmp")
    content = bytearray(path.read_bytes())
    content[22:26] = side.to_bytes(4, "little")  # the header's height
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"scan\.bmp: more than 33,554,432 pixels"):
        read_image(path)


def test_an_animated_png_is_refused(tmp_path, scan):
    frames = [Image.fromarray(scan), Image.fromarray(255 - scan)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"a\.png: one image a file is read, got 2"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"", b"GIF89a", bytes(1000), b"\x89PNG\r\n\x1a\n"])
def test_bytes_that_are_no_image_are_refused(tmp_path, content):
    (tmp_path / "scan.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"scan\.png: (not an image|damaged image)"):
        read_image(tmp_path / "scan.png")


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "scan.png")
    with pytest.raises(ValueError, match=r"scan\.png: not a file"):
        read_image(tmp_path / "scan.png")


def test_whatever_a_damaged_file_raises_is_one_error(tmp_path, monkeypatch, scan):
    path = _save(Image.fromarray(scan), tmp_path / "scan.png")

    def fail(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(ValueError, match=r"damaged image file \(ZeroDivisionError\)"):
        read_image(path)


def test_missing_file_keeps_its_own_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.png")


def test_image_is_antialiased_when_it_shrinks():
    stripes = np.tile(np.uint8([0, 200]), (64, 32))
    small = resize_image(stripes, (8, 16))
    assert small.shape == (8, 16)
    assert small.dtype == np.uint8
    assert np.abs(small[:, 1:-1].astype(int) - 100).max() <= 1


def test_probability_grows_bilinearly_between_pixel_centres():
    grown = resize_probability(np.float32([[0, 1]]), (1, 4))
    np.testing.assert_allclose(grown, [[0, 0.25, 0.75, 1]], atol=1e-6)


def test_mask_takes_its_nearest_neighbours():
    grown = resize_mask(np.array([[True, False], [False, True]]), (4, 6))
    expected = np.kron([[1, 0], [0, 1]], np.ones((2, 3)))
    np.testing.assert_array_equal(grown, expected.astype(bool))
