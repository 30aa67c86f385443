"""Writes DICOM files that the page refuses.

Args: the folder. `refused.json` has the words of each refusal, by the name of its file
in `refused/`.
"""

import json
import sys
from pathlib import Path

import numpy as np
from dicom_samples import COLOUR, GREY, LEVELS, deep, tagged, with_palette
from pydicom import uid

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from dicom_files import compressed, dataset, jpeg, jpeg_2000, save  # noqa: E402


def refused():
    j2k, big = jpeg_2000(GREY), dataset(GREY)
    big.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
    yield (
        "Explicit VR Big Endian .1.2.840.10008.1.2.2., is not read here; "
        ".efsnet predict. reads it",
        big,
    )
    lossless = uid.JPEG2000Lossless
    content = jpeg_2000(COLOUR, mct=1)
    made = compressed(COLOUR, "YBR_FULL", content, lossless)
    yield "tagged YBR_FULL, but .* says other colours", made
    lossy = jpeg_2000(GREY, irreversible=True)
    yield "keeps no palette", compressed(GREY, "PALETTE COLOR", lossy, uid.JPEG2000)
    yield "not JPEG 2000", compressed(GREY, "MONOCHROME2", jpeg(GREY), lossless)
    deep_stream = jpeg_2000(GREY.astype(np.uint16) << 8)
    made = compressed(GREY, "MONOCHROME2", deep_stream, lossless)
    yield "of 8 bits, but the compressed .* of 16", made
    made = tagged(dataset(COLOUR, "RGB"), PhotometricInterpretation="YBR_RCT")
    yield "YBR_RCT is for JPEG 2000 alone", made
    yield (
        "JPEG-LS Lossless .*save it uncompressed",
        compressed(GREY, "MONOCHROME2", b"12", uid.JPEGLSLossless),
    )
    yield "it cannot hold 90000", tagged(dataset(GREY), NumberOfFrames=90000)
    yield "its window is none", deep(WindowCenter=9, WindowWidth=0.5)
    palette = (LEVELS * 257).astype("<u2").tobytes()
    yield "8 or 16 bits", with_palette(GREY, 8, [256, 0, 12], palette)
    yield "must have 300 entries", with_palette(GREY, 8, [300, 0, 16], palette)
    yield "12 bits stored up to bit 7", tagged(dataset(GREY), BitsStored=12)
    yield "1, 8 or 16 bits allocated", tagged(dataset(GREY), BitsAllocated=32)
    yield "1536 bytes .* are 3072", tagged(dataset(GREY), Rows=24)
    yield "RGB cannot have 1", tagged(dataset(GREY), PhotometricInterpretation="RGB")
    yield "contradict each", tagged(dataset(GREY), PresentationLUTShape="INVERSE")
    yield "supplemental", tagged(dataset(GREY), PixelPresentation="MIXED")
    yield "slope of 0", tagged(dataset(GREY), RescaleSlope=0, RescaleIntercept=0)
    missing = dataset(GREY)
    del missing.BitsStored
    yield "the tag BitsStored is missing", missing
    mixed = dataset(COLOUR, "YBR_FULL")
    mixed.PhotometricInterpretation = "YBR_FULL_422"
    yield "6144 bytes .* are 9216", mixed
    jpeg_8 = uid.JPEGBaseline8Bit
    unknown = jpeg(COLOUR, identifiers=b"\0\1\2")
    yield "does not tell", compressed(COLOUR, "RGB", unknown, jpeg_8)
    both = jpeg(COLOUR, jfif=True, adobe=0)
    yield "contradicts itself", compressed(COLOUR, "RGB", both, jpeg_8)
    other = compressed(GREY, "MONOCHROME2", jpeg(GREY), jpeg_8, Rows=40)
    yield "64 x 40 pixels .* are 64 x 48", other
    yield "not a JPEG of", compressed(GREY, "MONOCHROME2", j2k, jpeg_8)
    yield "keeps no palette", compressed(GREY, "PALETTE COLOR", jpeg(GREY), jpeg_8)
    damaged = compressed(GREY, "MONOCHROME2", b"\0" * 70, uid.RLELossless)
    yield "0 RLE segments", damaged
    nothing = dataset(GREY)
    del nothing.PixelData
    yield "no integer pixels", nothing
    empty = dataset(GREY)
    del empty.Rows
    yield "no image in this DICOM", empty


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "refused").mkdir()
    words = {}
    for at, (problem, made) in enumerate(refused()):
        save(made, folder / "refused" / f"{at}.dcm")
        words[f"{at}.dcm"] = problem
    (folder / "refused.json").write_text(json.dumps(words), encoding="utf-8")
