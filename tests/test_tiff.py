"""TIFF files of any layout: right, or one line of refusal."""

import numpy as np
import PIL
import pytest
from packaging.version import Version
from PIL import Image
from tiff_files import (
    BLACK_IS_ZERO,
    CMYK,
    DEFLATE,
    LAB,
    MASK,
    NONE,
    PACKBITS,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    Layout,
    grey_of,
    write_tiff,
)

from keras_efsnet.images.frame import DamagedFrame
from keras_efsnet.images.reading import read_frames, read_image

SIZE = (37, 45)
GREY_AND_MORE = pytest.mark.skipif(
    Version(PIL.__version__) < Version("13"), reason="refused by Pillow before 13"
)
ORDERS = pytest.mark.parametrize("order", "<>", ids=["little", "big"])


def make_samples(bits, count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 1 << min(bits, 16), (*SIZE, count))


def check(path, layout, count=1):
    samples = make_samples(layout.bits, count)
    found = read_image(write_tiff(path, (samples, layout))).astype(int)
    assert np.abs(found - grey_of(samples, layout)).max() <= 1


def check_refused(path, layout, count=1, message="save it as"):
    write_tiff(path, (make_samples(layout.bits, count), layout))
    with pytest.raises(ValueError, match=rf"a\.tif: .*{message}") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("compression", [NONE, DEFLATE, PACKBITS])
@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
def test_grey(tmp_path, photometric, bits, tile, compression):
    layout = Layout(
        photometric, bits, compression=compression, tile=tile, rows=tile or 7
    )
    # Pillow cannot read 12 bits of WhiteIsZero.
    if (photometric, bits) == (WHITE_IS_ZERO, 12):
        check_refused(tmp_path / "a.tif", layout, message="not supported")
    else:
        check(tmp_path / "a.tif", layout)


@pytest.mark.parametrize(("order", "big"), [("<", False), ("<", True), (">", False)])
def test_sixteen_bits_of_both_orders(tmp_path, order, big):
    check(tmp_path / "a.tif", Layout(bits=16, order=order, big=big))


def test_deep_grey_is_stretched_whichever_is_white(tmp_path):
    path = tmp_path / "a.tif"
    samples = np.linspace(0, 4095, 1665, dtype=int).reshape(*SIZE, 1)
    for photometric, expected in (
        (0, 255 - samples / 4095 * 255),
        (1, samples / 4095 * 255),
    ):
        write_tiff(path, (samples, Layout(photometric, 16)))
        found = read_image(path, "minmax")
        assert np.abs(found - expected[..., 0]).max() <= 1


@ORDERS
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("highest", [255, 65535])
@pytest.mark.parametrize("compression", [NONE, PACKBITS])
def test_colour_maps_of_bytes_and_words(tmp_path, bits, highest, order, compression):
    colours = np.random.default_rng(1).integers(0, highest + 1, (3, 1 << bits))
    colours[:, 0] = highest
    layout = Layout(
        PALETTE, bits, order=order, compression=compression, colours=colours
    )
    check(tmp_path / "a.tif", layout)


@ORDERS
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("compression", [NONE, DEFLATE])
@pytest.mark.parametrize(("photometric", "count"), [(RGB, 3), (CMYK, 4)])
def test_colours(tmp_path, photometric, count, bits, planar, compression, order):
    layout = Layout(photometric, bits, order, planar=planar, compression=compression)
    if (planar, bits, compression) == (2, 16, NONE):
        check_refused(tmp_path / "a.tif", layout, count, "in planes; save it as")
    else:
        check(tmp_path / "a.tif", layout, count)


@pytest.mark.parametrize(
    ("photometric", "count", "extra"),
    [
        pytest.param(BLACK_IS_ZERO, 1, (0,), marks=GREY_AND_MORE),
        (BLACK_IS_ZERO, 1, (2,)),
        (RGB, 3, (0,)),
        (RGB, 3, (2,)),
    ],
)
def test_alpha_is_ignored(tmp_path, photometric, count, extra):
    check(tmp_path / "a.tif", Layout(photometric, extra=extra), count + 1)


@pytest.mark.parametrize(
    ("photometric", "count"),
    [pytest.param(BLACK_IS_ZERO, 1, marks=GREY_AND_MORE), (RGB, 3)],
)
def test_colours_multiplied_by_alpha_are_divided(tmp_path, photometric, count):
    samples = np.full((*SIZE, count + 1), 100)
    samples[..., -1] = 200
    path = tmp_path / "a.tif"
    write_tiff(path, (samples, Layout(photometric, extra=(1,))))
    np.testing.assert_allclose(read_image(path), 127, atol=1)


@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_bits_in_the_other_order(tmp_path, photometric, bits):
    layout = Layout(photometric, bits, fill_order=2)
    path = tmp_path / "a.tif"
    if photometric == WHITE_IS_ZERO:
        check_refused(path, layout, message="fill order 2|not supported")
    else:
        check(path, layout)


@pytest.mark.parametrize(
    ("layout", "count", "message"),
    [
        (Layout(LAB), 3, "photometric interpretation 8"),
        (Layout(MASK, 1), 1, "not supported"),
        (Layout(YCBCR), 3, "YCbCr without JPEG"),
        (Layout(YCBCR, more={530: ("H", [1, 1])}), 3, "YCbCr without JPEG"),
        (Layout(YCBCR, compression=DEFLATE), 3, "YCbCr without JPEG"),
        (Layout(sample_format=2), 1, "signed, floating-point or 32-bit"),
        (Layout(bits=16, sample_format=2), 1, "signed, floating-point or 32-bit"),
        (Layout(bits=32, sample_format=3), 1, "signed, floating-point or 32-bit"),
        (Layout(bits=16, sample_format=3), 1, "not supported"),
        (Layout(bits=32), 1, "32-bit"),
        (Layout(bits=10), 1, "not supported"),
        (Layout(bits=14), 1, "not supported"),
        (Layout(bits=12, order=">"), 1, "not supported"),
        (Layout(WHITE_IS_ZERO, 16, ">"), 1, "not supported"),
        (Layout(bits=16, extra=(2,)), 2, "not supported"),
        (Layout(RGB, 4), 3, "not supported"),
        (Layout(WHITE_IS_ZERO, planar=2), 1, "in planes"),
        (Layout(RGB, planar=2, extra=(1,)), 4, "in planes"),
        (Layout(RGB, planar=2, fill_order=2), 3, "in planes"),
        (Layout(CMYK, more={332: ("H", [2])}), 4, "other inks"),
        (Layout(PALETTE), 1, "not supported"),
        (
            Layout(PALETTE, colours=np.zeros((3, 200), int)),
            1,
            "without a whole colour map",
        ),
        (Layout(PALETTE, 16, colours=np.zeros((3, 65536), int)), 1, "not supported"),
        (Layout(more={262: None}), 1, "photometric interpretation None"),
        (Layout(compression=34712), 1, "not supported"),
    ],
    ids=str,
)
def test_other_kinds_are_refused(tmp_path, layout, count, message):
    check_refused(tmp_path / "a.tif", layout, count, message)


@pytest.mark.parametrize("options", [{}, {"quality": 90}])
def test_ycbcr_in_jpeg(tmp_path, options, scan):
    colours = Image.fromarray(np.dstack([scan, 255 - scan, scan // 2]))
    for mode in ("RGB", "YCbCr", "L"):
        path = tmp_path / "a.tif"
        colours.convert(mode).save(path, compression="jpeg", **options)
        expected = np.asarray(colours.convert("L")).astype(int)
        assert np.abs(read_image(path) - expected).mean() < 4


def test_pages_of_several_kinds(tmp_path):
    samples, colour = make_samples(16, 1), make_samples(8, 3)
    pages = [(samples, Layout(WHITE_IS_ZERO, 16)), (colour, Layout(RGB))]
    path = write_tiff(tmp_path / "a.tif", *pages, (colour, Layout(LAB)))
    grey, rgb, lab = read_frames(path)
    np.testing.assert_array_equal(grey.pixels, grey_of(*pages[0]))
    np.testing.assert_array_equal(rgb.pixels, grey_of(*pages[1]))
    assert isinstance(lab, DamagedFrame)
    assert "save it as" in lab.problem
    # Pillow cannot count the pages behind one of an unknown kind.
    write_tiff(path, *pages, (make_samples(10, 1), Layout(bits=10)))
    with pytest.raises(ValueError, match=r"a\.tif: .* not supported; save it as"):
        list(read_frames(path))


def test_a_turned_page_is_shown_upright(tmp_path):
    samples = make_samples(16, 1)
    turned = Layout(WHITE_IS_ZERO, 16, more={274: ("H", [6])})
    found = read_image(write_tiff(tmp_path / "a.tif", (samples, turned)))
    np.testing.assert_array_equal(found, np.rot90(grey_of(samples, turned), -1))
