"""Tags of a DICOM file: those that are asked for by name, and no others.

`check_layout` refuses what the tags say in contradiction to one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal

from PIL import Image

if TYPE_CHECKING:
    from pydicom import Dataset

COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
GREYS = ("MONOCHROME1", "MONOCHROME2")
PALETTE = "PALETTE COLOR"
PHOTOMETRIC = (*GREYS, *COLOURS, PALETTE)

_LAYOUT = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
_DISPLAY = (
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "VOILUTFunction",
    "WindowCenter",
    "WindowWidth",
    "PresentationLUTShape",
    "PixelPresentation",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
_PALETTES = tuple(
    f"{kind}{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue")
    for kind, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
)
_TIMES = ("FrameTime", "CineRate", "RecommendedDisplayFrameRate")
_NAMES = (
    *_LAYOUT,
    *_DISPLAY,
    *_PALETTES,
    *_TIMES,
    "PlanarConfiguration",
    "NumberOfFrames",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "SequenceOfUltrasoundRegions",
)
_PIXEL_DATA = 0x7FE00010
_ITEM = b"\xfe\xff\x00\xe0"
_STARTS = (  # JPEG and JPEG-LS, JPEG 2000, JP2, and RLE after its number of segments
    (0, b"\xff\xd8\xff"),
    (0, b"\xff\x4f\xff\x51"),
    (0, b"\0\0\0\x0cjP  "),
    (1, b"\0\0\0\x40\0\0\0"),
)
HIGHEST_FPS = 1000


class Refusal(ValueError):
    """A reason to refuse a file in our own words, without its name."""


@dataclass(frozen=True, eq=False)
class Tags:
    """What a file says of its pixels.

    Attributes:
        values: the tags.
        start: the file's offset of the pixel data's value.
        length: its bytes; None if it is encapsulated.
    """

    values: "Dataset"
    start: int
    length: int | None

    @property
    def frames(self) -> int:
        return int(self.values.get("NumberOfFrames") or 1)

    @property
    def fps(self) -> float | None:
        """Frames per second, at most `HIGHEST_FPS`; None if no tag states them."""
        time, *rates = map(self._number, _TIMES)
        rates = [1000 / time if time > 0 else 0, *rates]
        return next((rate for rate in rates if 0 < rate <= HIGHEST_FPS), None)

    def _number(self, name: str) -> float:
        """A tag's number; 0 without one, as an image is whole without it too."""
        try:
            return float(self.values.get(name) or 0)
        except Exception:  # pydicom raises any
            return 0.0


def read_tags(file: BinaryIO) -> Tags:
    """Reads the tags for pixels and calibration of an open file.

    Raises:
        Refusal, Exception: as `read_values`, or the pixels are missing.
    """
    values = read_values(file, _NAMES)
    return Tags(values, *_find_pixels(file, values))


def read_values(file: BinaryIO, names: Sequence[str]) -> "Dataset":
    """Reads the tags of an open file that have these keywords, up to the pixel data.

    Raises:
        Refusal: it holds no image, or is deflated.
        Exception: pydicom raises any on a damaged file.
    """
    import pydicom
    from pydicom.filereader import read_dataset, read_preamble

    read_preamble(file, force=False)
    meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    file.seek(0)
    # pydicom would inflate it whole, to any size.
    if meta.get("TransferSyntaxUID") == pydicom.uid.DeflatedExplicitVRLittleEndian:
        raise Refusal("deflated DICOM is not supported; save it uncompressed.")
    wanted = ["Rows", "Columns", *names]
    values = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=wanted)
    if not values.get("Rows") or not values.get("Columns"):
        raise Refusal("no image in this DICOM file; give one with pixels.")
    return values


def _find_pixels(file: BinaryIO, values: "Dataset") -> tuple[int, int | None]:
    """Reads the head of the pixel data, where pydicom stopped."""
    syntax = values.file_meta.TransferSyntaxUID
    order: Literal["little", "big"] = "little" if syntax.is_little_endian else "big"
    group, element = (int.from_bytes(file.read(2), order) for _ in range(2))
    if group << 16 | element != _PIXEL_DATA:
        raise Refusal("no integer pixels in this DICOM file; give one with Pixel Data.")
    if not syntax.is_implicit_VR:
        file.seek(4, 1)
    length = int.from_bytes(file.read(4), order)
    return file.tell(), None if length == 2**32 - 1 else length


def check_frames(file: BinaryIO, tags: Tags) -> None:
    """Checks that compressed pixels are not more frames than the tags say.

    A frame may be in several fragments, so those count that start a codestream. Fewer
    frames are found when they are read.

    Raises:
        Refusal: they are more.
    """
    if tags.length is not None:
        return
    found, place = 0, tags.start
    while file.seek(place) and file.read(4) == _ITEM:
        length = int.from_bytes(file.read(4), "little")
        head = file.read(min(length, 8))
        # The first item is the table of offsets.
        is_start = any(head.startswith(mark, at) for at, mark in _STARTS)
        found += place > tags.start and is_start
        place += 8 + length
    if found > tags.frames:
        raise Refusal(
            f"its number of frames is {tags.frames}, but there are {found}; export the "
            "image again."
        )


def check_layout(tags: Tags) -> None:
    """Checks that the tags describe pixels that exist, and the same ones.

    Raises:
        Refusal: they do not.
    """
    values = tags.values
    missing = [name for name in _LAYOUT if values.get(name) is None]
    if missing:
        raise Refusal(f"the tag {missing[0]} is missing; export the image again.")
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and values.Rows * values.Columns > limit:
        raise Refusal(
            f"{values.Columns} x {values.Rows} pixels are more than {limit}; scale it "
            "down."
        )
    if values.PhotometricInterpretation not in PHOTOMETRIC:
        raise Refusal(
            f"photometric interpretation is none of {', '.join(PHOTOMETRIC)}; convert "
            "the file."
        )
    _check_bits(values)
    _check_colour(values)
    is_native_colour = values.SamplesPerPixel == 3 and tags.length is not None
    if is_native_colour and values.get("PlanarConfiguration") is None:
        raise Refusal("the tag PlanarConfiguration is missing; export the image again.")


def _check_bits(values: "Dataset") -> None:
    allocated, stored, high = values.BitsAllocated, values.BitsStored, values.HighBit
    if allocated not in (1, 8, 16) or values.PixelRepresentation not in (0, 1):
        raise Refusal(
            "pixels must be integers of 1, 8 or 16 bits allocated; convert the file."
        )
    if not 1 <= stored <= high + 1 <= allocated:
        raise Refusal(
            f"{stored} bits stored up to bit {high} do not fit into {allocated} bits "
            "allocated; export the image again."
        )


def _check_colour(values: "Dataset") -> None:
    photometric = values.PhotometricInterpretation
    is_colour = photometric in COLOURS
    if values.SamplesPerPixel != (3 if is_colour else 1):
        raise Refusal(
            f"{photometric} cannot have {values.SamplesPerPixel} samples a pixel; "
            "export the image again."
        )
    if is_colour and (values.PixelRepresentation or values.BitsStored < 8):
        raise Refusal("colours must be unsigned, of 8 to 16 bits; convert the file.")
    if photometric.startswith("YBR") and values.BitsStored > 8:
        raise Refusal(f"{photometric} must have 8 bits; convert the file to RGB.")
    inverse = values.get("PresentationLUTShape") == "INVERSE"
    if inverse and photometric == "MONOCHROME2":
        raise Refusal(
            "MONOCHROME2 and an inverse presentation LUT contradict each other; "
            "export the image again."
        )
    if photometric in GREYS and values.get("PixelPresentation") in ("COLOR", "MIXED"):
        raise Refusal("supplemental palettes are not supported; save it as RGB.")
