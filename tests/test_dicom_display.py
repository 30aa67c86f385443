"""Windows, lookup tables and palettes of DICOM files."""

import numpy as np
import pytest

from keras_efsnet.images.reading import read_frames
from keras_efsnet.phantoms import make_phantom

pytest.importorskip("pydicom")
from dicom_files import check_refused, check_same, dataset, found_in, save  # noqa: E402
from pydicom.dataset import Dataset  # noqa: E402


@pytest.fixture
def grey():
    return make_phantom("benign", seed=1, size=(48, 64)).image


def windowed(grey, stored=12, **tags):
    made = dataset(grey.astype(np.uint16) << stored - 8, stored=stored)
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


def by_window(values, centre, width):
    """PS3.3, C.11.2.1.2, word by word."""
    shown = ((values - (centre - 0.5)) / (width - 1) + 0.5) * 255
    shown[values <= centre - 0.5 - (width - 1) / 2] = 0
    shown[values > centre - 0.5 + (width - 1) / 2] = 255
    return np.rint(shown)


@pytest.mark.parametrize(
    ("tags", "centre", "width"),
    [
        ({"WindowCenter": 1000, "WindowWidth": 600}, 1000, 600),
        ({"WindowCenter": [900, 5], "WindowWidth": [1200, 9]}, 900, 1200),
        (
            {
                "WindowCenter": 400,
                "WindowWidth": 900,
                "RescaleSlope": 0.5,
                "RescaleIntercept": -100,
            },
            1000,
            1799,
        ),
    ],
)
def test_deep_pixels_go_through_the_first_window(tmp_path, grey, tags, centre, width):
    values = grey.astype(float) * 16
    made = windowed(grey, **tags)
    if "RescaleSlope" in tags:
        expected = by_window(values * 0.5 - 100, 400, 900)
    else:
        expected = by_window(values, centre, width)
    check_same(found_in(made, tmp_path), expected)
    made.PhotometricInterpretation = "MONOCHROME1"
    check_same(found_in(made, tmp_path), 255 - expected)


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_other_window_functions(tmp_path, grey, function):
    made = windowed(grey, WindowCenter=1000, WindowWidth=600, VOILUTFunction=function)
    place = (grey.astype(float) * 16 - 1000) / 600
    if function == "SIGMOID":
        share = 1 / (1 + np.exp(-4 * place))
    else:
        share = (place + 0.5).clip(0, 1)
    check_same(found_in(made, tmp_path), np.rint(255 * share))


def test_a_window_of_width_one_is_a_threshold(tmp_path, grey):
    made = windowed(grey, WindowCenter=1000.5, WindowWidth=1)
    check_same(found_in(made, tmp_path), np.where(grey * 16.0 > 1000, 255, 0))


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowWidth": 0.5},
        {"WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
        {"WindowWidth": 9, "VOILUTFunction": "CUBIC"},
    ],
)
def test_a_window_that_is_none_is_refused(tmp_path, grey, tags):
    check_refused(
        windowed(grey, WindowCenter=9, **tags), tmp_path, "its window is none"
    )


def test_pixels_of_eight_bits_keep_their_values(tmp_path, grey):
    made = dataset(grey)
    made.WindowCenter, made.WindowWidth = 60, 20
    check_same(found_in(made, tmp_path), grey)


def test_a_negative_slope_inverts(tmp_path, grey):
    made = windowed(grey, RescaleSlope=-1, RescaleIntercept=4095)
    check_same(found_in(made, tmp_path), 255 - grey)


def table(count, first, bits, entries, kind="OW"):
    item = Dataset()
    item.LUTDescriptor = [count % 2**16, first, bits]
    item.add_new("LUTData", kind, entries)
    return [item]


@pytest.mark.parametrize("name", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_tables_of_deep_pixels(tmp_path, grey, name, bits):
    top = (1 << bits) - 1
    entries = (np.arange(2000) * top // 1999).astype(np.uint16)
    made = windowed(grey)
    setattr(made, name, table(2000, 500, bits, entries.tobytes()))
    looked_up = entries[(grey.astype(int) * 16 - 500).clip(0, 1999)]
    check_same(found_in(made, tmp_path), looked_up >> bits - 8)


def test_a_table_of_packed_bytes(tmp_path, grey):
    entries = (255 - np.arange(256)).astype(np.uint8)
    made = windowed(grey)
    made.VOILUTSequence = table(256, 0, 8, entries.tobytes())
    check_same(found_in(made, tmp_path), 255 - (grey.astype(int) * 16).clip(0, 255))


def test_the_window_of_a_functional_group(tmp_path, grey):
    made = windowed(np.stack([grey, grey]), NumberOfFrames=2)
    groups = []
    for centre in (800, 1600):
        window, group = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = centre, 700
        group.FrameVOILUTSequence = [window]
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    frames = list(read_frames(save(made, tmp_path / "a.dcm")))
    for frame, centre in zip(frames, (800, 1600), strict=True):
        check_same(frame.pixels.astype(int), by_window(grey * 16.0, centre, 700))


def with_palette(pixels, stored, descriptor, packed):
    """A palette image whose three palettes are these bytes."""
    made = dataset(pixels, stored=stored)
    made.PhotometricInterpretation = "PALETTE COLOR"
    for name in ("Red", "Green", "Blue"):
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", descriptor)
        setattr(made, f"{name}PaletteColorLookupTableData", packed)
    return made


LEVELS = 255 - np.arange(256)


@pytest.mark.parametrize(
    ("bits", "packed"),
    [
        (8, LEVELS.astype(np.uint8).tobytes()),
        (8, LEVELS.astype("<u2").tobytes()),
        (16, (LEVELS * 257).astype("<u2").tobytes()),
        (16, (LEVELS * 256).astype("<u2").tobytes()),
        (16, LEVELS.astype("<u2").tobytes()),
        (16, LEVELS.astype(np.uint8).tobytes()),
    ],
    ids=["packed", "in words", "16 bits", "high bytes", "8 of 16", "packed as 16"],
)
def test_palettes_of_bytes_and_words(tmp_path, grey, bits, packed):
    made = with_palette(grey, 8, [256, 0, bits], packed)
    check_same(found_in(made, tmp_path), 255 - grey)


def test_a_palette_of_an_odd_number_of_bytes(tmp_path, grey):
    packed = LEVELS[:201].astype(np.uint8).tobytes() + b"\0"
    made = with_palette(grey, 8, [201, 20, 8], packed)
    check_same(found_in(made, tmp_path), 255 - (grey.astype(int) - 20).clip(0, 200))


def test_a_palette_of_deep_indices(tmp_path, grey):
    entries = np.arange(4096) // 16
    made = with_palette(
        grey.astype(np.uint16) << 4,
        12,
        [4096, 0, 8],
        entries.astype(np.uint8).tobytes(),
    )
    check_same(found_in(made, tmp_path), grey)


def test_a_palette_of_signed_indices(tmp_path, grey):
    made = with_palette(grey ^ 128, 8, [256, 0, 8], LEVELS.astype(np.uint8).tobytes())
    made.PixelRepresentation = 1
    for name in ("Red", "Green", "Blue"):
        keyword = f"{name}PaletteColorLookupTableDescriptor"
        made[keyword].VR = "SS"
        made[keyword].value = [256, -128, 8]
    check_same(found_in(made, tmp_path), 255 - grey)


def test_a_segmented_palette(tmp_path, grey):
    made = with_palette(grey, 8, [256, 0, 16], b"")
    segments = np.array([0, 1, 0, 1, 255, 65280], "<u2").tobytes()
    for name in ("Red", "Green", "Blue"):
        delattr(made, f"{name}PaletteColorLookupTableData")
        setattr(made, f"Segmented{name}PaletteColorLookupTableData", segments)
    check_same(found_in(made, tmp_path), grey)


@pytest.mark.parametrize(
    ("descriptor", "problem"),
    [
        ([256, 0, 12], "8 or 16 bits"),
        ([300, 0, 16], "must have 300 entries"),
        ([200, 0, 8], "must have 200 entries of 8 bits"),
    ],
)
def test_a_palette_that_contradicts_itself_is_refused(
    tmp_path, grey, descriptor, problem
):
    packed = (LEVELS * 257).astype("<u2").tobytes()
    made = with_palette(grey, 8, descriptor, packed)
    check_refused(made, tmp_path, problem)
