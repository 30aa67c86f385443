"""DICOM files whose tags and pixels agree or not: right, or one line of refusal."""

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.images.grey import to_grey
from keras_efsnet.images.reading import read_frames
from keras_efsnet.phantoms import make_phantom

pydicom = pytest.importorskip("pydicom")
from dicom_files import (  # noqa: E402
    check_refused,
    check_same,
    compressed,
    dataset,
    found_in,
    jpeg,
    jpeg_2000,
    save,
)
from pydicom import uid  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402

JPEG_8, JPEG_12 = uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit
J2K, J2K_LOSSLESS = uid.JPEG2000, uid.JPEG2000Lossless


@pytest.fixture
def grey():
    return make_phantom("benign", seed=1, size=(48, 64)).image


@pytest.fixture
def colour(grey):
    """RGB of smooth colours that are not grey."""
    rows, columns = np.indices(grey.shape)
    return np.dstack([grey, rows * 4, 255 - columns * 3]).astype(np.uint8)


YBR, RGB = {}, {"keep_rgb": True, "identifiers": b"RGB"}
TELLING = [
    YBR,
    {"jfif": True},
    {"adobe": 1},
    {"jfif": True, "adobe": 1},
    {"adobe": 1, "identifiers": b"\0\1\2"},
    {"jfif": True, "identifiers": b"\0\1\2"},
    {"subsampling": "4:2:0"},
    {"subsampling": "4:2:2", "jfif": True},
    {"progressive": True},
    RGB,
    {**RGB, "adobe": 0},
    {**RGB, "adobe": 0, "identifiers": b"\1\2\3"},
    {**RGB, "adobe": 0, "identifiers": b"\0\1\2"},
]
"""JPEG codestreams that tell their colours."""


@pytest.mark.parametrize("syntax", [JPEG_8, JPEG_12])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("markers", TELLING, ids=str)
def test_a_jpeg_tells_its_colours_whatever_the_tag_says(
    tmp_path, colour, markers, photometric, syntax
):
    made = compressed(colour, photometric, jpeg(colour, **markers), syntax)
    check_same(found_in(made, tmp_path), to_grey(colour), 6)


@pytest.mark.parametrize(
    ("markers", "photometric", "problem"),
    [
        ({"identifiers": b"\0\1\2"}, "RGB", "does not tell"),
        ({**RGB, "identifiers": b"\0\1\2"}, "RGB", "does not tell"),
        ({**RGB, "jfif": True}, "RGB", "contradicts itself"),
        ({"jfif": True, "adobe": 0}, "YBR_FULL", "contradicts itself"),
        ({"adobe": 1, "identifiers": b"RGB"}, "RGB", "contradicts itself"),
    ],
)
def test_a_jpeg_of_unknown_colours_is_refused(
    tmp_path, colour, markers, photometric, problem
):
    made = compressed(colour, photometric, jpeg(colour, **markers), JPEG_8)
    check_refused(made, tmp_path, f"{problem}.*uncompressed")


def test_a_jpeg_of_unknown_colours_follows_a_tag_of_ycbcr(tmp_path, colour):
    content = jpeg(colour, identifiers=b"\0\1\2")
    made = compressed(colour, "YBR_FULL_422", content, JPEG_8)
    check_same(found_in(made, tmp_path), to_grey(colour), 6)


@pytest.mark.parametrize(
    ("photometric", "options"),
    [
        ("RGB", {}),
        ("RGB", {"mct": 1}),
        ("YBR_RCT", {}),
        ("YBR_RCT", {"mct": 1}),
        ("YBR_ICT", {"mct": 1, "irreversible": True}),
        ("RGB", {"mct": 1, "no_jp2": False}),
        ("RGB", {"no_jp2": False}),
        ("YBR_RCT", {"mct": 1, "no_jp2": False}),
    ],
    ids=str,
)
def test_jpeg_2000_in_rgb(tmp_path, colour, photometric, options):
    content = jpeg_2000(colour, **options)
    made = compressed(colour, photometric, content, J2K)
    check_same(found_in(made, tmp_path), to_grey(colour), 2)


def test_jpeg_2000_in_ycbcr(tmp_path, colour):
    ybr = np.asarray(Image.fromarray(colour).convert("YCbCr"))
    made = compressed(colour, "YBR_FULL", jpeg_2000(ybr), J2K_LOSSLESS)
    check_same(found_in(made, tmp_path), to_grey(colour), 2)
    made = compressed(colour, "YBR_FULL", jpeg_2000(ybr, mct=1), J2K_LOSSLESS)
    check_refused(made, tmp_path, "tagged YBR_FULL, but .* says other colours")
    file = jpeg_2000(Image.fromarray(colour).convert("YCbCr"), no_jp2=False)
    made = compressed(colour, "RGB", file, J2K_LOSSLESS)
    check_refused(made, tmp_path, "tagged RGB, but .* says other colours")


@pytest.mark.parametrize("stored", [9, 12, 16])
def test_deep_jpeg_2000(tmp_path, grey, stored):
    deep = (grey.astype(np.uint16) << stored - 8) + 1
    content = bytearray(jpeg_2000(deep))
    content[42] = 15  # Pillow writes 16 bits
    made = compressed(grey, "MONOCHROME2", bytes(content), J2K_LOSSLESS)
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
    check_same(found_in(made, tmp_path), deep >> 8)
    made.BitsStored, made.HighBit = 12, 11
    check_refused(made, tmp_path, "of 12 bits, but the compressed .* of 16")


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        ({"Rows": 40}, "tags say 64 x 40 pixels"),
        ({"BitsStored": 7, "HighBit": 6}, "of 8 to 16 bits"),
        ({"PhotometricInterpretation": "MONOCHROME2"}, "cannot have 3 samples"),
        (
            {"PhotometricInterpretation": "MONOCHROME2", "SamplesPerPixel": 1},
            "tags say 64 x 48 pixels of 1 samples",
        ),
        ({"PixelRepresentation": 1}, "colours must be unsigned"),
    ],
)
@pytest.mark.parametrize("encode", [jpeg, jpeg_2000])
def test_a_codestream_of_another_layout_is_refused(
    tmp_path, colour, tags, problem, encode
):
    syntax = JPEG_8 if encode is jpeg else J2K
    made = compressed(colour, "RGB", encode(colour), syntax, **tags)
    check_refused(made, tmp_path, problem)


@pytest.mark.parametrize(
    ("syntax", "content"),
    [(JPEG_8, jpeg_2000), (J2K, jpeg), (JPEG_8, lambda _: b"1234")],
)
def test_another_compression_inside_is_refused(tmp_path, grey, syntax, content):
    made = compressed(grey, "MONOCHROME2", content(grey), syntax)
    check_refused(made, tmp_path, "not (a )?JPEG.* inside; .*uncompressed")


def test_a_lossy_palette_is_refused(tmp_path, grey):
    for content, syntax in (
        (jpeg(grey), JPEG_8),
        (jpeg_2000(grey, irreversible=True), J2K),
    ):
        made = compressed(grey, "PALETTE COLOR", content, syntax)
        check_refused(made, tmp_path, "keeps no palette")


def laid_out(values, allocated, stored, high, signed=False, waste=0):
    """Grey `values` of `stored` bits up to bit `high`, with `waste` in the others."""
    kind = np.uint16 if allocated == 16 else np.uint8
    mask = (1 << stored) - 1
    shift = high + 1 - stored
    bits = (values & mask) << shift | waste & ~(mask << shift)
    made = dataset(bits.astype(kind), stored=allocated)
    made.BitsStored, made.HighBit, made.PixelRepresentation = stored, high, int(signed)
    return made


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("allocated", "stored", "high"),
    [
        *((8, 8, 7), (8, 6, 5), (8, 4, 7), (8, 1, 0), (8, 7, 6)),
        *((16, 8, 7), (16, 8, 15), (16, 9, 8), (16, 10, 9), (16, 12, 11)),
        *((16, 12, 15), (16, 12, 13), (16, 16, 15)),
    ],
)
def test_every_layout_of_bits(
    tmp_path, grey, allocated, stored, high, signed, photometric
):
    top = (1 << stored) - 1
    values = grey.astype(np.int64) * top // 255
    kept = values - (1 << stored - 1) if signed else values
    made = laid_out(kept, allocated, stored, high, signed, waste=0x5AA5)
    made.PhotometricInterpretation = photometric
    shown = values >> stored - 8 if stored > 8 else np.rint(values * 255 / top)
    expected = 255 - shown if photometric == "MONOCHROME1" else shown
    check_same(found_in(made, tmp_path), expected)


def test_packed_bits(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2, (2, 5, 7), np.uint8)
    made = dataset(bits * 255)
    made.BitsAllocated = made.BitsStored = 1
    made.HighBit = 0
    packed = np.packbits(bits, bitorder="little").tobytes()
    made.PixelData = packed + b"\0" * (len(packed) % 2)
    frames = [f.pixels for f in read_frames(save(made, tmp_path / "a.dcm"))]
    np.testing.assert_array_equal(frames, bits * 255)


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        ({"BitsStored": 12}, "12 bits stored up to bit 7"),
        ({"HighBit": 3}, "8 bits stored up to bit 3"),
        ({"HighBit": 9}, "do not fit into 8 bits"),
        ({"BitsAllocated": 32}, "1, 8 or 16 bits allocated"),
        ({"BitsAllocated": 16}, "6144 bytes of pixels, but there are 3072"),
        ({"Rows": 24}, "1536 bytes of pixels, but there are 3072"),
        ({"SamplesPerPixel": 3}, "MONOCHROME2 cannot have 3 samples"),
        ({"PhotometricInterpretation": "RGB"}, "RGB cannot have 1 samples"),
        ({"PhotometricInterpretation": "YBR_PARTIAL_422"}, "is none of"),
        ({"PresentationLUTShape": "INVERSE"}, "contradict each other"),
        ({"PixelPresentation": "MIXED"}, "supplemental palettes"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "slope of 0"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "its palette must have"),
    ],
    ids=str,
)
def test_tags_that_contradict_the_pixels_are_refused(tmp_path, grey, tags, problem):
    made = dataset(grey)
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    check_refused(made, tmp_path, problem)


@pytest.mark.parametrize(
    "name", ["BitsStored", "PixelRepresentation", "SamplesPerPixel", "HighBit"]
)
def test_a_missing_tag_is_named(tmp_path, grey, name):
    made = dataset(grey)
    delattr(made, name)
    check_refused(made, tmp_path, f"the tag {name} is missing; export")


def test_colours_of_unknown_planes_are_refused(tmp_path, colour):
    made = dataset(colour, "RGB")
    del made.PlanarConfiguration
    check_refused(made, tmp_path, "the tag PlanarConfiguration is missing; export")


def test_ycbcr_in_full_tagged_as_halved_is_refused(tmp_path, colour):
    made = dataset(colour, "YBR_FULL")
    made.PhotometricInterpretation = "YBR_FULL_422"
    check_refused(made, tmp_path, "6144 bytes of pixels, but there are 9216")


def test_colour_of_jpeg_2000_without_jpeg_2000_is_refused(tmp_path, colour):
    made = dataset(colour, "RGB")
    made.PhotometricInterpretation = "YBR_RCT"
    check_refused(made, tmp_path, "YBR_RCT is for JPEG 2000 alone")


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("stored", [8, 12, 16])
@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRBigEndian, uid.ImplicitVRLittleEndian]
)
def test_colour_of_more_bits_and_planes(tmp_path, colour, stored, planar, syntax):
    deep = colour if stored == 8 else colour.astype(np.uint16) << stored - 8
    made = dataset(deep, "RGB", stored)
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    planes = deep.transpose(2, 0, 1) if planar else deep
    made.PixelData = planes.astype(deep.dtype.newbyteorder(order)).tobytes()
    made.PlanarConfiguration = planar
    made["PixelData"].VR = "OB" if stored == 8 else "OW"
    made.file_meta.TransferSyntaxUID = syntax
    check_same(found_in(made, tmp_path), to_grey(colour))


def test_overlays_are_not_drawn(tmp_path, grey):
    made = laid_out(grey.astype(np.int64) << 4, 16, 12, 11, waste=0xF000)
    made.add_new(0x60000010, "US", 48)
    made.add_new(0x60000011, "US", 64)
    made.add_new(0x60000100, "US", 16)
    made.add_new(0x60000102, "US", 12)
    check_same(found_in(made, tmp_path), grey)


def clip_of_three(grey, syntax, frames, **layout):
    """Three frames in a codestream each, whose tag says another number of them."""
    made = dataset(np.stack([grey, 255 - grey, grey.T.reshape(grey.shape)]))
    if syntax == uid.RLELossless:
        made.compress(syntax)
    else:
        encode = jpeg if syntax == JPEG_8 else jpeg_2000
        codestreams = [encode(frame) for frame in made.pixel_array]
        made.PixelData = encapsulate(codestreams, **layout)
        made["PixelData"].VR = "OB"
        made.file_meta.TransferSyntaxUID = syntax
    made.NumberOfFrames = frames
    return made


@pytest.mark.parametrize("frames", [None, 1, 2])
@pytest.mark.parametrize("syntax", [JPEG_8, J2K_LOSSLESS, uid.RLELossless])
def test_more_compressed_frames_than_the_tags_say_are_refused(
    tmp_path, grey, syntax, frames
):
    path = save(clip_of_three(grey, syntax, frames), tmp_path / "a.dcm")
    with pytest.raises(ValueError, match=f"frames is {frames or 1}, but there are 3"):
        list(read_frames(path))


@pytest.mark.parametrize("syntax", [JPEG_8, J2K_LOSSLESS])
@pytest.mark.parametrize("has_bot", [True, False])
def test_frames_in_several_fragments_are_counted_once(tmp_path, grey, syntax, has_bot):
    made = clip_of_three(grey, syntax, 3, fragments_per_frame=2, has_bot=has_bot)
    frames = list(read_frames(save(made, tmp_path / "a.dcm")))
    for frame, expected in zip(frames, made.pixel_array, strict=True):
        check_same(frame.pixels.astype(int), expected, 4)
