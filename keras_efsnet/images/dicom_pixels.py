"""Stored pixels of DICOM frames: grey values and palette indices, or RGB.

JPEG and JPEG 2000 codestreams say themselves how many samples and bits they hold and
which colours. Where the tags say something else, the codestream is right about its
colours; a frame is refused if it does not tell them or contradicts itself.
"""

import io
import math
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image

from keras_efsnet.images.dicom_tags import COLOURS, GREYS, PALETTE, Refusal, Tags

if TYPE_CHECKING:
    from pydicom import Dataset

_AGAIN = "export the image again, uncompressed."
_SIZE, _CODING, _TILE = b"\xff\x51", b"\xff\x52", b"\xff\x90"  # JPEG 2000's markers
_START = b"\xff\x4f" + _SIZE
_SRGB, _SYCC = 16, 18
_YBR = ("YBR_FULL", "YBR_FULL_422")


def read_pixels(file: BinaryIO, tags: Tags, number: int) -> np.ndarray:
    """Reads one frame.

    Args:
        file: the open file.
        tags: its tags, checked by `check_layout`.
        number: the frame, from 1.

    Returns:
        Integers `(height, width)` as stored, signed if the tags say so; or RGB
        `(height, width, 3)`, uint8 or uint16 of the bits stored.

    Raises:
        Refusal: the pixels do not fit the tags, or no decoder is there.
        Exception: pydicom and Pillow raise any on a damaged frame.
    """
    from pydicom import uid

    syntax = tags.values.file_meta.TransferSyntaxUID
    if syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit):
        return _decode_jpeg(_read_frame(file, tags, number), tags.values)
    if syntax in (uid.JPEG2000, uid.JPEG2000Lossless):
        return _decode_jpeg_2000(_read_frame(file, tags, number), tags.values)
    _check_decodable(tags)
    return _decode_plain(file, tags.values, number)


def _read_frame(file: BinaryIO, tags: Tags, number: int) -> bytes:
    """Reads the codestream of one frame."""
    from pydicom.encaps import get_frame

    if tags.length is not None:
        raise Refusal(f"compressed by its tags, but its pixels are not; {_AGAIN}")
    values = tags.values
    offsets, lengths = (
        values.get(f"ExtendedOffsetTable{part}") for part in ("", "Lengths")
    )
    file.seek(tags.start)
    return get_frame(
        file,
        number - 1,
        number_of_frames=tags.frames,
        extended_offsets=(offsets, lengths) if offsets and lengths else None,
    )


def _decode_jpeg(codestream: bytes, values: "Dataset") -> np.ndarray:
    try:
        image = Image.open(io.BytesIO(codestream), formats=("JPEG",))
    except OSError:
        raise Refusal(f"not a JPEG of 8 bits inside; {_AGAIN}") from None
    _check_same(image, len(image.getbands()), 8, values)
    photometric = values.PhotometricInterpretation
    if photometric == PALETTE or values.PixelRepresentation:
        raise Refusal(f"JPEG keeps no palette and no signed pixels; {_AGAIN}")
    if photometric in COLOURS:
        _check_jpeg_colours(image, photometric)
    return np.asarray(image)


def _check_jpeg_colours(image: Image.Image, photometric: str) -> None:
    """Checks that the codestream tells its colours, as libjpeg then decodes them.

    Reference: JFIF 1.02; ITU-T T.872, 6.5.3 (Adobe's marker); libjpeg's
    `default_decompress_parms` for the component identifiers.
    """
    jfif, transform = "jfif" in image.info, image.info.get("adobe_transform")
    if transform == 0 and not jfif:
        return  # RGB, whatever the identifiers are
    identifiers = bytes(layer[0] for layer in image.layer)  # type: ignore[attr-defined]
    told = {
        "YBR" if jfif else None,
        {0: "RGB", 1: "YBR"}.get(-1 if transform is None else transform),
        {b"RGB": "RGB", b"\1\2\3": "YBR"}.get(identifiers),
    } - {None}
    if not told and photometric.startswith("YBR"):
        return  # as libjpeg takes it
    if len(told) != 1:
        problem = "contradicts itself about" if told else "does not tell"
        raise Refusal(f"its JPEG {problem} its colours, RGB or YCbCr; {_AGAIN}")


def _decode_jpeg_2000(codestream: bytes, values: "Dataset") -> np.ndarray:
    start = codestream.find(_START)
    if start < 0:
        raise Refusal(f"not JPEG 2000 inside; {_AGAIN}")
    bare = codestream[start:]
    components = _j2k_components(bare)
    signed, bits = components[0][0] >> 7, components[0][0] % 128 + 1
    image = Image.open(io.BytesIO(bare), formats=("JPEG2000",))
    _check_same(image, len(components), bits, values)
    same = {(values.PixelRepresentation << 7 | bits - 1, 1, 1)}
    if set(components) != same:
        raise Refusal(f"its JPEG 2000 has other samples than its tags say; {_AGAIN}")
    transformed, reversible = _j2k_coding(bare)
    photometric = values.PhotometricInterpretation
    if photometric == PALETTE and not reversible:
        raise Refusal(f"a lossy JPEG 2000 keeps no palette; {_AGAIN}")
    if photometric not in COLOURS:
        stored = np.asarray(image) >> (8 if bits <= 8 else 16) - bits
        return stored.astype(np.int32) - (1 << bits - 1) if signed else stored
    if bits > 8:
        raise Refusal(f"JPEG 2000 in colour must have 8 bits; {_AGAIN}")
    _check_j2k_colours(photometric, transformed, codestream[:start])
    pixels = np.asarray(image)
    return _to_rgb(pixels) if photometric in _YBR else pixels


def _j2k_components(codestream: bytes) -> list[tuple[int, int, int]]:
    """Precision and sign, and sampling across and down, of each component."""
    count = int.from_bytes(codestream[40:42], "big")
    parts = codestream[42 : 42 + 3 * count]
    return list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))


def _j2k_coding(codestream: bytes) -> tuple[bool, bool]:
    """Whether the colours are transformed, and whether the wavelet is reversible."""
    place = 2
    while (marker := codestream[place : place + 2]) not in (_CODING, _TILE, b""):
        place += 2 + int.from_bytes(codestream[place + 2 : place + 4], "big")
    if marker != _CODING:
        raise Refusal(f"not JPEG 2000 inside; {_AGAIN}")
    return codestream[place + 8] == 1, codestream[place + 13] == 1


def _check_j2k_colours(photometric: str, transformed: bool, head: bytes) -> None:
    """Checks that the codestream's colour transform and a JP2 file's head fit the tag.

    Undoing the transform gives RGB; YBR_RCT and YBR_ICT name the transform.

    Reference: DICOM PS3.5, 8.2.4; ITU-T T.800, I.5.3.3 (`colr`).
    """
    place = head.find(b"colr\1")
    space = int.from_bytes(head[place + 7 : place + 11], "big") if place >= 0 else None
    is_ybr = photometric in _YBR
    if is_ybr and transformed or space not in (None, _SYCC if is_ybr else _SRGB):
        raise Refusal(
            f"tagged {photometric}, but its JPEG 2000 says other colours; {_AGAIN}"
        )


def _check_same(image: Image.Image, samples: int, bits: int, values: "Dataset") -> None:
    """Checks a codestream's size, samples and bits against the tags."""
    found = (*image.size, samples, bits)
    told = (values.Columns, values.Rows, values.SamplesPerPixel, values.BitsStored)
    if found != told:
        raise Refusal(
            "tags say {} x {} pixels of {} samples of {} bits, but the compressed "
            "pixels are {} x {} of {} of {}; ".format(*told, *found)
            + _AGAIN
        )


def _check_decodable(tags: Tags) -> None:
    """Checks that pydicom decodes the pixels, and that the tags give their number."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import RLELossless

    values, syntax = tags.values, tags.values.file_meta.TransferSyntaxUID
    try:
        decodable = get_decoder(syntax).is_available
    except NotImplementedError:
        decodable = False
    # Other decoders disagree on who converts the colours.
    plain = not syntax.is_encapsulated or syntax == RLELossless
    photometric = values.PhotometricInterpretation
    if not decodable or not (plain or photometric in GREYS):
        raise Refusal(
            "pydicom cannot decode this compression here; save it uncompressed."
        )
    if photometric in ("YBR_RCT", "YBR_ICT"):
        raise Refusal(f"{photometric} is for JPEG 2000 alone; {_AGAIN}")
    if photometric == "YBR_FULL_422" and (
        values.get("PlanarConfiguration") or syntax.is_encapsulated
    ):
        raise Refusal(f"YBR_FULL_422 cannot be in planes; {_AGAIN}")
    if syntax.is_encapsulated != (tags.length is None):
        raise Refusal(f"its pixels are not compressed as its tags say; {_AGAIN}")
    if tags.length is not None:
        _check_length(tags, tags.length)


def _check_length(tags: Tags, length: int) -> None:
    values = tags.values
    samples = 2 if _is_halved(values) else values.SamplesPerPixel
    count = tags.frames * values.Rows * values.Columns * samples
    expected = math.ceil(count * values.BitsAllocated / 8)
    if length not in (expected, expected + expected % 2):
        raise Refusal(
            f"damaged DICOM file: tags say {expected} bytes of pixels, but there are "
            f"{length}; {_AGAIN}"
        )


def _is_halved(values: "Dataset") -> bool:
    return bool(values.PhotometricInterpretation == "YBR_FULL_422")


def _decode_plain(file: BinaryIO, values: "Dataset", number: int) -> np.ndarray:
    from pydicom.pixels import pixel_array

    pixels = pixel_array(file, index=number - 1, raw=True, correct_unused_bits=False)
    pixels = _take_stored(pixels, values)
    photometric = values.PhotometricInterpretation
    return _to_rgb(pixels) if photometric in _YBR else pixels


def _take_stored(pixels: np.ndarray, values: "Dataset") -> np.ndarray:
    """Takes the stored bits out of the allocated ones; overlays can be in others."""
    stored, signed = values.BitsStored, values.PixelRepresentation
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if stored == values.BitsAllocated:
        return pixels
    unsigned = pixels.view(f"u{pixels.itemsize}") >> values.HighBit + 1 - stored
    unsigned &= (1 << stored) - 1
    if not signed:
        return unsigned
    half = 1 << stored - 1
    return (unsigned.astype(np.int32) ^ half) - half


def _to_rgb(ybr: np.ndarray) -> np.ndarray:
    """Converts YCbCr of ITU-R 601, full range."""
    image = Image.fromarray(np.ascontiguousarray(ybr, np.uint8))
    planes = Image.merge("YCbCr", image.split())
    return np.asarray(planes.convert("RGB"))
