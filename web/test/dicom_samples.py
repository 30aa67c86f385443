"""Writes DICOM files of all kinds that the page reads.

Args: the folder. `read/*.dcm` has the files that `readDicom` shall read as Python does,
`expected.json` their sizes, grey values and regions, `jpeg/*.dcm` those that a browser
must decode. `dicom_refused.py` writes those that are not read.
"""

import base64
import io
import json
import sys
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from dicom_files import compressed, dataset, jpeg, jpeg_2000, region, save  # noqa: E402

from keras_efsnet.images.reading import read_frames  # noqa: E402
from keras_efsnet.phantoms import make_phantom  # noqa: E402

LEVELS = 255 - np.arange(256)
GREY = make_phantom("benign", seed=1, size=(48, 64)).image
ROWS, COLUMNS = np.indices(GREY.shape)
COLOUR = np.dstack([GREY, ROWS * 4, 255 - COLUMNS * 3]).astype(np.uint8)


def tagged(made, **tags):
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


def deep(stored=12, **tags):
    return tagged(dataset(GREY.astype(np.uint16) << stored - 8, stored=stored), **tags)


def implicit(made):
    made.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
    return made


def run_length(made):
    made.compress(uid.RLELossless)
    return made


def windows():
    window = {"WindowCenter": 1000, "WindowWidth": 600}
    yield "linear", deep(**window)
    for function in ("LINEAR_EXACT", "SIGMOID"):
        yield function, deep(**window, VOILUTFunction=function)
    yield "several", deep(WindowCenter=[900, 5], WindowWidth=[1200, 9])
    yield "threshold", deep(WindowCenter=1000.5, WindowWidth=1)
    slope = {"RescaleSlope": 0.5, "RescaleIntercept": -100}
    yield "rescaled", deep(WindowCenter=400, WindowWidth=900, **slope)
    yield "inverse", deep(RescaleSlope=-1, RescaleIntercept=4095)
    inverted = {"PhotometricInterpretation": "MONOCHROME1"}
    yield "monochrome1", deep(**window, **inverted)
    yield "of 8 bits", tagged(dataset(GREY), **window)
    yield "implicit", implicit(deep(**window))
    item, group = Dataset(), Dataset()
    item.WindowCenter, item.WindowWidth = 800, 700
    group.FrameVOILUTSequence = [item]
    for place in ("PerFrame", "Shared"):
        sequence = {f"{place}FunctionalGroupsSequence": [group]}
        yield f"{place} group", deep(NumberOfFrames=1, **window, **sequence)


def table(count, first, bits, entries, kind="OW"):
    item = Dataset()
    item.LUTDescriptor = [count % 2**16, first, bits]
    item.add_new("LUTData", kind, entries)
    return [item]


def tables():
    for name in ("VOILUTSequence", "ModalityLUTSequence"):
        for bits in (8, 10, 12, 16):
            entries = (np.arange(2000) * ((1 << bits) - 1) // 1999).astype("<u2")
            made = table(2000, 500, bits, entries.tobytes())
            yield f"{name} {bits}", deep(**{name: made})
            yield f"{name} {bits} implicit", implicit(deep(**{name: made}))
            words = table(2000, 500, bits, entries.tolist(), "US")
            yield f"{name} {bits} words", deep(**{name: words})
    packed = LEVELS.astype(np.uint8).tobytes()
    yield "packed", deep(VOILUTSequence=table(256, 0, 8, packed))
    scale = table(256, 0, 8, packed)
    yield "modality of 8 bits", tagged(dataset(GREY), ModalityLUTSequence=scale)
    halves = {"RescaleSlope": 0.5, "RescaleIntercept": 0.25}
    entries = np.arange(2048).astype("<u2").tobytes()
    yield "halves", deep(VOILUTSequence=table(2048, 0, 11, entries), **halves)


def laid_out(values, allocated, stored, high, signed):
    """Values of `stored` bits up to bit `high`, with waste in the others."""
    kind = np.uint16 if allocated == 16 else np.uint8
    mask, shift = (1 << stored) - 1, high + 1 - stored
    bits = (values & mask) << shift | 0x5AA5 & ~(mask << shift)
    made = dataset(bits.astype(kind), stored=allocated)
    return tagged(
        made, BitsStored=stored, HighBit=high, PixelRepresentation=int(signed)
    )


def layouts():
    for allocated, stored, high in (
        *((8, 8, 7), (8, 6, 5), (8, 4, 7), (8, 1, 0), (8, 7, 6)),
        *((16, 8, 7), (16, 8, 15), (16, 9, 8), (16, 10, 9), (16, 12, 11)),
        *((16, 12, 15), (16, 12, 13), (16, 16, 15)),
    ):
        values = GREY.astype(np.int64) * ((1 << stored) - 1) // 255
        for signed in (False, True):
            kept = values - (1 << stored - 1) if signed else values
            name = f"{allocated} {stored} {high} {signed}"
            made = laid_out(kept, allocated, stored, high, signed)
            yield name, made
            if stored == 12 and signed:
                window = {"WindowCenter": -300, "WindowWidth": 2000}
                again = laid_out(kept, allocated, stored, high, signed)
                yield f"{name} window", tagged(again, **window)
    bits = np.random.default_rng(0).integers(0, 2, (5, 7), np.uint8)
    packed = np.packbits(bits, bitorder="little").tobytes()
    made = dataset(bits * 255)
    made.PixelData = packed + b"\0" * (len(packed) % 2)
    yield "packed bits", tagged(made, BitsAllocated=1, BitsStored=1, HighBit=0)


def with_palette(pixels, stored, descriptor, packed, signed=False):
    made = tagged(dataset(pixels, stored=stored), PixelRepresentation=int(signed))
    made.PhotometricInterpretation = "PALETTE COLOR"
    for at, name in enumerate(("Red", "Green", "Blue")):
        keyword = f"{name}PaletteColorLookupTable"
        made.add_new(f"{keyword}Descriptor", "SS" if signed else "US", descriptor)
        # Colours that differ, so that their order counts.
        turned = packed if at else packed[::-1]
        setattr(made, f"{keyword}Data", turned)
    return made


def palettes():
    for bits, entries in (
        (8, LEVELS.astype(np.uint8)),
        (8, LEVELS.astype("<u2")),
        (16, (LEVELS * 257).astype("<u2")),
        (16, (LEVELS * 256).astype("<u2")),
        (16, LEVELS.astype("<u2")),
        (16, LEVELS.astype(np.uint8)),
    ):
        name = f"{bits} bits, {entries.dtype} to {entries.max()}"
        made = with_palette(GREY, 8, [256, 0, bits], entries.tobytes())
        if entries.dtype == np.uint8 or bits == 16 and entries.max() > 255:
            yield name, made
            yield f"{name}, implicit", implicit(made.copy())
    odd = LEVELS[:201].astype(np.uint8).tobytes() + b"\0"
    yield "odd", with_palette(GREY, 8, [201, 20, 8], odd)
    entries = (np.arange(4096) // 16).astype(np.uint8).tobytes()
    yield "deep", with_palette(deep_indices(), 12, [4096, 0, 8], entries)
    packed = LEVELS.astype(np.uint8).tobytes()
    yield "signed", with_palette(GREY ^ 128, 8, [256, -128, 8], packed, signed=True)


def deep_indices():
    return GREY.astype(np.uint16) << 4


def colours():
    for stored in (8, 12, 16):
        for planar in (0, 1):
            pixels = COLOUR if stored == 8 else COLOUR.astype("<u2") << stored - 8
            made = dataset(pixels, "RGB", stored)
            planes = pixels.transpose(2, 0, 1) if planar else pixels
            made.PixelData = np.ascontiguousarray(planes).tobytes()
            yield f"rgb {stored} {planar}", tagged(made, PlanarConfiguration=planar)
    yield "ybr full", dataset(COLOUR, "YBR_FULL")
    made = dataset(COLOUR, "YBR_FULL")
    halved = np.dstack([COLOUR[:, ::2, :1], COLOUR[:, 1::2, :1], COLOUR[:, ::2, 1:]])
    made.PixelData = halved.tobytes()
    yield "ybr full 422", tagged(made, PhotometricInterpretation="YBR_FULL_422")


def run_lengths():
    yield "8 bits", run_length(dataset(GREY))
    yield "16 bits", run_length(deep(WindowCenter=1000, WindowWidth=600))
    yield "colour", run_length(dataset(COLOUR, "RGB"))
    yield "deep colour", run_length(dataset(COLOUR.astype("<u2") << 4, "RGB", 12))
    yield "ybr full", run_length(dataset(COLOUR, "YBR_FULL"))


def jpeg_2000s():
    lossless, lossy = uid.JPEG2000Lossless, uid.JPEG2000
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        made = compressed(GREY, photometric, jpeg_2000(GREY), lossless)
        yield photometric, made
    content = jpeg_2000(GREY, irreversible=True)
    yield "lossy", compressed(GREY, "MONOCHROME2", content, lossy)
    deep_stream = jpeg_2000((GREY.astype(np.uint16) << 8) + 1)
    made = compressed(GREY, "MONOCHROME2", deep_stream, lossless)
    yield "16 bits", tagged(made, BitsAllocated=16, BitsStored=16, HighBit=15)
    for photometric, options in (
        ("RGB", {}),
        ("RGB", {"mct": 1, "no_jp2": False}),
        ("YBR_RCT", {"mct": 1}),
    ):
        content = jpeg_2000(COLOUR, **options)
        made = compressed(COLOUR, photometric, content, lossy)
        yield f"{photometric} {len(options)}", made
    content = jpeg_2000(COLOUR, mct=1, irreversible=True)
    yield "YBR_ICT", compressed(COLOUR, "YBR_ICT", content, lossy)
    ybr = np.asarray(Image.fromarray(COLOUR).convert("YCbCr"))
    yield "YBR_FULL", compressed(COLOUR, "YBR_FULL", jpeg_2000(ybr), lossless)


def regions():
    whole, right = (0, 0, 63, 47), (32, 0, 63, 47)
    for name, items in {
        "one": [region(*whole)],
        "flow inside": [region(*whole), region(*right, data=2)],
        "other scale": [region(*whole), region(*right, 0.03)],
        "spectrum": [region(*whole), region(*right, kind=3, data=3)],
        "seconds": [region(*whole, units=4)],
        "none": [region(*whole, delta=0)],
    }.items():
        yield name, dataset(GREY, regions=items)
        yield f"{name}, implicit", implicit(dataset(GREY, regions=items))


def clips():
    frames = np.stack([GREY, 255 - GREY, GREY // 2])
    yield "plain", dataset(frames)
    yield "run length", run_length(dataset(frames))
    yield "colour", dataset(np.stack([COLOUR, COLOUR[::-1]]), "RGB")
    split = dataset(frames)
    whole = run_length(dataset(frames)).PixelData
    parts = list(generate_frames(whole, number_of_frames=len(frames)))
    split.PixelData = encapsulate(parts, fragments_per_frame=2)
    split["PixelData"].VR = "OB"
    split.file_meta.TransferSyntaxUID = uid.RLELossless
    yield "in fragments", split
    bits = np.random.default_rng(0).integers(0, 2, (2, 5, 7), np.uint8)
    made = dataset(bits * 255)
    packed = np.packbits(bits, bitorder="little").tobytes()
    made.PixelData = packed + b"\0" * (len(packed) % 2)
    yield "bits", tagged(made, BitsAllocated=1, BitsStored=1, HighBit=0)
    groups = []
    for centre in (800, 1600):
        item, group = Dataset(), Dataset()
        item.WindowCenter, item.WindowWidth = centre, 700
        group.FrameVOILUTSequence = [item]
        groups.append(group)
    deep_frames = np.stack([GREY, GREY]).astype(np.uint16) << 4
    windowed = dataset(deep_frames, stored=12)
    yield "windows", tagged(windowed, PerFrameFunctionalGroupsSequence=groups)


def jpegs():
    phantom = make_phantom("malignant", seed=3).image
    yield "grey", phantom, "MONOCHROME2", jpeg(phantom)
    yield "inverse", phantom, "MONOCHROME1", jpeg(255 - phantom)
    turned = Image.Exif()
    turned[0x0112] = 6  # which Python does not follow inside a DICOM file
    file = io.BytesIO()
    Image.fromarray(phantom).save(file, "JPEG", quality=95, exif=turned)
    yield "turned", phantom, "MONOCHROME2", file.getvalue()
    tinted = np.dstack([phantom, np.roll(phantom, 9, axis=1), phantom[::-1]])
    rgb = {"keep_rgb": True, "identifiers": b"RGB"}
    for name, markers in {
        "ybr": {},
        "jfif": {"jfif": True},
        "adobe": {"adobe": 1, "identifiers": b"\0\1\2"},
        "halved": {"subsampling": "4:2:2", "jfif": True},
        "quartered": {"subsampling": "4:2:0"},
        "progressive": {"progressive": True},
        "rgb": rgb,
        "adobe rgb": {**rgb, "adobe": 0, "identifiers": b"\1\2\3"},
    }.items():
        yield name, tinted, "YBR_FULL_422", jpeg(tinted, **markers)


def jpeg_clip():
    frames = [make_phantom(name, 3).image for name in ("benign", "normal", "malignant")]
    codestreams = [jpeg(grey) for grey in frames]
    syntax = uid.JPEGBaseline8Bit
    made = compressed(frames[0], "MONOCHROME2", codestreams[0], syntax)
    made.PixelData = encapsulate(codestreams)
    return tagged(made, NumberOfFrames=len(frames))


READ = (
    windows,
    tables,
    layouts,
    palettes,
    colours,
    run_lengths,
    jpeg_2000s,
    regions,
    clips,
)


def pack(grey):
    return base64.b64encode(zlib.compress(grey.tobytes())).decode()


def write_read(folder):
    """Files of all kinds, and what Python reads in them."""
    expected = {}
    (folder / "read").mkdir()
    for group in READ:
        for name, made in group():
            file = f"{group.__name__} {name}.dcm"
            frames = list(read_frames(save(made, folder / "read" / file)))
            expected[file] = {
                "size": frames[0].pixels.shape,
                "greys": [pack(frame.pixels) for frame in frames],
                "regions": [asdict(region) for region in frames[0].regions],
            }
    (folder / "expected.json").write_text(json.dumps(expected), encoding="utf-8")


def write_jpegs(folder):
    (folder / "jpeg").mkdir()
    for name, pixels, photometric, codestream in jpegs():
        made = compressed(pixels, photometric, codestream, uid.JPEGBaseline8Bit)
        save(made, folder / "jpeg" / f"{name}.dcm")
    save(jpeg_clip(), folder / "jpeg" / "clip.dcm")
    grey = make_phantom("benign", 3).image
    made = compressed(grey, "MONOCHROME2", jpeg_2000(grey), uid.JPEG2000Lossless)
    save(made, folder / "jpeg" / "jpeg 2000.dcm")


if __name__ == "__main__":
    write_read(Path(sys.argv[1]))
    write_jpegs(Path(sys.argv[1]))
