"""TIFF and DICOM files of random layouts: right, or refused in one line.

TIFF is compared with what was written, DICOM with pydicom's own display pipeline. Some
files get another value in a tag afterwards; these may be read in any way, or refused.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from dicom_files import compressed, dataset, jpeg, jpeg_2000, save
from hypothesis import strategies as st
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut
from tiff_files import CMYK, DEFLATE, NONE, PACKBITS, PALETTE, RGB, Layout, grey_of
from tiff_files import write_tiff as write

from keras_efsnet.images.grey import to_grey
from keras_efsnet.images.reading import read_image

SYNTAXES = [
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.RLELossless,
]
LAYOUT_TAGS = (
    *("Rows", "Columns", "SamplesPerPixel", "PlanarConfiguration", "NumberOfFrames"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422")


class Random:
    """Draws that a seed fixes."""

    def __init__(self, data: st.DataObject) -> None:
        self.rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def integers(self, low, high, shape=None):
        return self.rng.integers(low, high, shape)


def read(path: Path) -> np.ndarray | None:
    """The file's grey values; None if it is refused as it should be."""
    try:
        return read_image(path).astype(int)
    except ValueError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error), error
        return None


def fuzz_tiff(data: st.DataObject, folder: Path) -> str:
    random = Random(data)
    layout, count = _tiff_layout(random)
    size = random.integers(1, 60, 2)
    samples = random.integers(0, 1 << min(layout.bits, 16), (*size, count))
    for place, kind in enumerate(reversed(layout.extra), start=1):
        if kind:  # opaque
            samples[..., -place] = (1 << layout.bits) - 1
    is_changed = random.pick(False, False, True)
    if is_changed:
        tag = random.pick(258, 259, 262, 266, 277, 278, 284, 317, 320, 338, 339)
        layout = replace(layout, more={tag: ("H", random.pick([0], [1], [2], [8, 8]))})
    grey = read(write(folder / "a.tif", (samples, layout)))
    if grey is None:
        return "refused"
    if not is_changed:
        assert np.abs(grey - grey_of(samples, layout)).max() <= 1, layout
    return "read"


def _tiff_layout(random: Random) -> tuple[Layout, int]:
    photometric = random.pick(0, 0, 1, 1, RGB, PALETTE, CMYK)
    deep = (8, 8, 16) if photometric in (RGB, CMYK) else (1, 2, 4, 8, 8, 12, 16, 10)
    bits = int(random.pick(*(deep if photometric != PALETTE else (1, 2, 4, 8))))
    extra = random.pick((), (), (), (), (0,), (1,), (2,))
    count = {RGB: 3, CMYK: 4}.get(photometric, 1) + len(extra)
    compression = random.pick(NONE, NONE, DEFLATE, PACKBITS)
    tile = random.pick(None, None, 16, 32)
    predictor = 2 if compression == DEFLATE and bits in (8, 16) else 1
    highest = random.pick(255, 65535)
    layout = Layout(
        photometric,
        bits,
        random.pick("<", ">"),
        extra=extra,
        planar=random.pick(1, 1, 1, 2),
        fill_order=random.pick(1, 1, 1, 1, 2),
        compression=compression,
        predictor=random.pick(1, predictor),
        rows=16 if tile else random.pick(None, 5, 7, 16),
        tile=tile,
        big=random.pick(False, False, True),
        colours=random.integers(0, highest + 1, (3, 1 << bits))
        if photometric == PALETTE
        else None,
        sample_format=random.pick(1, 1, 1, 1, 1, 1, 2, 3),
    )
    return layout, count


def fuzz_dicom(data: st.DataObject, folder: Path) -> str:
    random = Random(data)
    make = random.pick(_grey, _grey, _grey, _palette, _colour, _codestream)
    made, expected, tolerance = make(random)
    is_changed = random.pick(False, False, True)
    if is_changed:
        _change(random, made)
    grey = read(save(made, folder / "a.dcm"))
    if grey is None:
        assert is_changed or make is _codestream, made
        return "refused"
    if not is_changed:
        assert np.abs(grey - expected).max() <= tolerance, made
    return "read"


def _change(random: Random, made: Dataset) -> None:
    if random.pick(True, False):
        made.PhotometricInterpretation = random.pick(*PHOTOMETRIC, "PALETTE COLOR")
    else:
        values = (0, 1, 2, 3, 7, 8, 11, 12, 16, 255)
        setattr(made, random.pick(*LAYOUT_TAGS), random.pick(*values))


def _grey(random: Random) -> tuple[Dataset, np.ndarray, int]:
    stored_values, made = _stored(random)
    signed, stored = made.PixelRepresentation, made.BitsStored
    rescale = _add_rescale(random, made)
    shown = apply_modality_lut(stored_values, made)
    if stored > 8 and (voi := random.pick(None, _add_window, _add_table)):
        voi(random, made, shown)
        if voi is _add_table:  # pydicom wraps what needs more than 16 bits
            shown = np.rint(shown).clip(None, 2**16 - 1)
        grey = _to_bytes(apply_voi_lut(shown, made), made, rescale, voi)
    else:
        top = (1 << stored) - 1
        places = stored_values + (1 << stored - 1 if signed else 0)
        grey = places >> stored - 8 if stored > 8 else np.rint(places * (255 / top))
    made.PhotometricInterpretation = random.pick("MONOCHROME1", "MONOCHROME2")
    is_inverse = made.PhotometricInterpretation == "MONOCHROME1"
    return made, 255 - grey if is_inverse else grey, 1


def _stored(random: Random) -> tuple[np.ndarray, Dataset]:
    """Values, and an object that stores them with rubbish in its other bits."""
    allocated = random.pick(8, 16, 16)
    stored = int(random.integers(1, allocated + 1))
    high = int(random.integers(stored - 1, allocated))
    signed = int(random.pick(0, 0, 1))
    low = -(1 << stored - 1) if signed else 0
    values = random.integers(low, low + (1 << stored), random.integers(2, 40, 2))
    mask, shift = (1 << stored) - 1, high + 1 - stored
    waste = random.integers(0, 1 << allocated, values.shape) & ~(mask << shift)
    bits = (values & mask) << shift | waste
    syntax = random.pick(*SYNTAXES)
    made = dataset(bits.astype(f"u{allocated // 8}"), stored=allocated)
    _encode(made, syntax)
    made.BitsStored, made.HighBit, made.PixelRepresentation = stored, high, signed
    return values, made


def _encode(made: Dataset, syntax: uid.UID) -> None:
    if syntax == uid.RLELossless:
        made.compress(syntax)
        return
    made.file_meta.TransferSyntaxUID = syntax
    if syntax == uid.ExplicitVRBigEndian and made.BitsAllocated == 16:
        made.PixelData = np.frombuffer(made.PixelData, "<u2").astype(">u2").tobytes()


def _add_rescale(random: Random, made: Dataset) -> tuple[float, float]:
    slope, intercept = random.pick((1, 0), (1, 0), (2, -100), (0.5, 7))
    if (slope, intercept) != (1, 0):
        made.RescaleSlope, made.RescaleIntercept = slope, intercept
    return slope, intercept


def _add_window(random: Random, made: Dataset, shown: np.ndarray) -> None:
    made.WindowCenter = round(float(shown.mean()), 2)
    made.WindowWidth = round(float(np.ptp(shown)) / 2 + 2, 2)
    made.VOILUTFunction = random.pick("LINEAR", "LINEAR_EXACT", "SIGMOID")


def _add_table(random: Random, made: Dataset, shown: np.ndarray) -> None:
    item, bits = Dataset(), int(random.pick(10, 12, 16))
    count = int(random.integers(2, 3000))
    first = int(np.clip(np.rint(shown.min()) + 1, 0, 30000))
    item.LUTDescriptor = [count, first, bits]
    big = made.file_meta.TransferSyntaxUID == uid.ExplicitVRBigEndian
    entries = random.integers(0, 1 << bits, count).astype(">u2" if big else "<u2")
    item.add_new("LUTData", "OW", entries.tobytes())
    made.VOILUTSequence = [item]


def _to_bytes(voi, made, rescale, kind) -> np.ndarray:
    """Scales what pydicom shows, whose range depends on the kind."""
    if kind is _add_table:
        return voi.astype(int) >> made.VOILUTSequence[0].LUTDescriptor[2] - 8
    low = -(1 << made.BitsStored - 1) if made.PixelRepresentation else 0
    slope, intercept = rescale
    return (
        (voi - low * slope - intercept) / (slope * ((1 << made.BitsStored) - 1)) * 255
    )


def _palette(random: Random) -> tuple[Dataset, np.ndarray, int]:
    allocated = int(random.pick(8, 16))
    indices = random.integers(0, 1 << allocated, random.integers(2, 40, 2))
    made = dataset(indices.astype(f"u{allocated // 8}"), stored=allocated)
    made.PhotometricInterpretation = "PALETTE COLOR"
    count = int(random.integers(2, 256)) if allocated == 8 else 4096
    first = int(random.integers(0, 200))
    for name in ("Red", "Green", "Blue"):
        entries = random.integers(0, 65536, count).astype("<u2")
        keyword = f"{name}PaletteColorLookupTable"
        setattr(made, f"{keyword}Descriptor", [count, first, 16])
        setattr(made, f"{keyword}Data", entries.tobytes())
    return made, to_grey(apply_color_lut(indices, made)), 1


def _colour(random: Random) -> tuple[Dataset, np.ndarray, int]:
    bits = int(random.pick(8, 8, 12, 16))
    size = (*random.integers(2, 40, 2), 3)
    pixels = random.integers(0, 1 << bits, size).astype("u1" if bits == 8 else "u2")
    made = dataset(pixels, "RGB", bits)
    planar = int(random.pick(0, 1))
    if planar:
        made.PixelData = pixels.transpose(2, 0, 1).tobytes().ljust(len(made.PixelData))
        made.PlanarConfiguration = planar
    _encode(made, random.pick(*SYNTAXES[: None if not planar else 3]))
    return made, to_grey((pixels >> bits - 8).astype(np.uint8)), 0


def _codestream(random: Random) -> tuple[Dataset, np.ndarray, int]:
    rows, columns = np.indices(random.integers(16, 60, 2))
    waves = [128 + 100 * np.sin(rows / a + columns / b) for a, b in ((9, 7), (8, 11))]
    colour = np.dstack([*waves, 255 - 2 * columns]).astype(np.uint8)
    tag = random.pick("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
    if random.pick(True, False):
        options = {"mct": random.pick(0, 1), "no_jp2": random.pick(True, False)}
        # Of YCbCr without a transform nobody knows that these are RGB.
        tag = "YBR_FULL" if options["mct"] and tag.startswith("YBR_FULL") else tag
        tag = "RGB" if not options["mct"] and tag.startswith("YBR_FULL") else tag
        content, syntax = jpeg_2000(colour, **options), uid.JPEG2000
    else:
        is_rgb = random.pick(False, False, True)
        identifiers = random.pick(b"RGB" if is_rgb else b"\1\2\3", b"\0\1\2")
        adobe = random.pick(None, 0 if is_rgb else 1)
        # RGB that only says it is YCbCr would be a lie, not a contradiction.
        is_lie = is_rgb and adobe is None and identifiers != b"RGB"
        content = jpeg(
            colour,
            jfif=random.pick(False, not is_lie),
            adobe=adobe,
            identifiers=identifiers,
            keep_rgb=is_rgb,
            subsampling=0 if is_rgb else random.pick(0, 1, 2),
        )
        tag, syntax = "RGB" if is_rgb else tag, uid.JPEGBaseline8Bit
    return compressed(colour, tag, content, syntax), to_grey(colour), 12
