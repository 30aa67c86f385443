"""From stored DICOM pixels to 8-bit grey, as a viewer first shows them.

Stored values go through the modality transform, then through the first window. Palettes
give colours.

Reference: DICOM PS3.3, C.7.6.3.1.5 and 6 (palettes), C.11.1 (modality), C.11.2 (VOI).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from keras_efsnet.images.dicom_tags import PALETTE, Refusal
from keras_efsnet.images.grey import apply_window, scale_bits, to_grey

if TYPE_CHECKING:
    from pydicom import Dataset

_COLOURS = ("Red", "Green", "Blue")


@dataclass(frozen=True, eq=False)
class _Table:
    """A lookup table.

    Attributes:
        entries: unsigned integers.
        first: the value that the first entry is for; values outside take the nearest.
        bits: of an entry.
    """

    entries: np.ndarray
    first: int
    bits: int

    def look_up(self, values: np.ndarray) -> np.ndarray:
        places = np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[places])

    def to_8_bits(self, values: np.ndarray) -> np.ndarray:
        return scale_bits(self.look_up(values), self.bits)


def take_frame(values: "Dataset", number: int) -> "Dataset":
    """Returns the tags with those of one frame's functional groups, if any."""
    shared = values.get("SharedFunctionalGroupsSequence") or ()
    own = (values.get("PerFrameFunctionalGroupsSequence") or ())[number - 1 : number]
    if not shared and not own:
        return values
    merged = values.copy()
    for group in (*shared, *own):
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in group.get(name) or ():
                merged.update(item)
    return merged


def to_display(pixels: np.ndarray, values: "Dataset") -> np.ndarray:
    """Turns a frame into 8-bit grey.

    Windows (VOI) apply to values of more than 8 bits; without one, the range of the
    bits stored is used.

    Args:
        pixels: from `dicom_pixels.read_pixels`.
        values: the frame's tags.

    Raises:
        Refusal: a table or a window is none.
    """
    if pixels.ndim == 3:
        return to_grey(scale_bits(pixels, values.BitsStored))
    if values.PhotometricInterpretation == PALETTE:
        return _apply_palette(pixels, values)
    grey = _show(pixels, values)
    return 255 - grey if values.PhotometricInterpretation == "MONOCHROME1" else grey


def _show(stored: np.ndarray, values: "Dataset") -> np.ndarray:
    slope, intercept = _rescale(values)
    modality = _first_table(values, "ModalityLUTSequence")
    is_deep = values.BitsStored > 8
    window = _first_window(values) if is_deep else None
    voi = _first_table(values, "VOILUTSequence") if is_deep else None
    if not (modality or window or voi):
        grey = _show_range(stored, values)
        return 255 - grey if slope < 0 else grey
    shown = modality.look_up(stored) if modality else stored * slope + intercept
    if window:
        return apply_window(shown, *window)
    if voi:
        return voi.to_8_bits(np.rint(shown))
    return scale_bits(shown, modality.bits if modality else values.BitsStored)


def _show_range(stored: np.ndarray, values: "Dataset") -> np.ndarray:
    bits = values.BitsStored
    if values.PixelRepresentation:
        stored = stored.astype(np.int32) + (1 << bits - 1)
    return scale_bits(stored, bits)


def _rescale(values: "Dataset") -> tuple[float, float]:
    slope = float(_first(values.get("RescaleSlope"), 1))
    intercept = float(_first(values.get("RescaleIntercept"), 0))
    if not slope or not math.isfinite(slope * intercept):
        raise Refusal(f"a rescale slope of {slope} is none; export the image again.")
    return slope, intercept


def _first_window(values: "Dataset") -> tuple[float, float, str] | None:
    centre, width = (values.get(f"Window{part}") for part in ("Center", "Width"))
    if centre is None or width is None:
        return None
    centre, width = float(_first(centre, 0)), float(_first(width, 0))
    function = str(values.get("VOILUTFunction") or "LINEAR")
    smallest = 1 if function == "LINEAR" else math.ulp(0)
    known = function in ("LINEAR", "LINEAR_EXACT", "SIGMOID")
    if not known or not smallest <= width < math.inf or not math.isfinite(centre):
        raise Refusal(
            f"its window is none (width {width}); export the image again without it."
        )
    return centre, width, function


def _first(value: object, default: float) -> float:
    """The first of one or several numbers."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if value else None
    return default if value is None else value  # type: ignore[return-value]


def _first_table(values: "Dataset", name: str) -> _Table | None:
    for item in values.get(name) or ():
        return _read_table(item.LUTDescriptor, item.LUTData, _is_big_endian(values))
    return None


def _apply_palette(pixels: np.ndarray, values: "Dataset") -> np.ndarray:
    tables = [_read_palette(values, colour) for colour in _COLOURS]
    # Some writers store 8-bit colours in 16-bit entries; dcmtk and libtiff see it too.
    highest = max(int(table.entries.max()) for table in tables)
    colours = np.stack([table.look_up(pixels) for table in tables], axis=-1)
    return to_grey(scale_bits(colours, 8 if highest < 256 else 16))


def _read_palette(values: "Dataset", colour: str) -> _Table:
    descriptor = values.get(f"{colour}PaletteColorLookupTableDescriptor")
    data = values.get(f"{colour}PaletteColorLookupTableData")
    if not descriptor or descriptor[2] not in (8, 16):
        raise Refusal("its palette must have entries of 8 or 16 bits; save it as RGB.")
    if data:
        return _read_table(descriptor, data, _is_big_endian(values))
    return _make_table(descriptor, _expand_segments(values, colour, descriptor))


def _expand_segments(
    values: "Dataset", colour: str, descriptor: Sequence[int]
) -> np.ndarray:
    from pydicom.pixels import apply_color_lut

    count, first, bits = descriptor[0] or 2**16, descriptor[1], descriptor[2]
    if count > 1 << bits or _is_big_endian(values):  # pydicom would be wrong
        raise Refusal("its segmented palette is not supported; save it as RGB.")
    colours = apply_color_lut(np.arange(first, first + count), values)
    return np.asarray(colours[..., _COLOURS.index(colour)])


def _read_table(
    descriptor: Sequence[int], data: bytes | int | Sequence[int], big_endian: bool
) -> _Table:
    """Reads a table of 8-bit entries, alone or two in a word, or of 16-bit ones."""
    count = descriptor[0] or 2**16
    if not isinstance(data, bytes):
        return _make_table(descriptor, np.atleast_1d(np.asarray(data, np.int64)))
    words = np.frombuffer(data[: len(data) // 2 * 2], ">u2" if big_endian else "<u2")
    if count > 1 and len(words) == (count + 1) // 2:
        halves = np.stack([words & 255, words >> 8], axis=-1).ravel()
        return _make_table(descriptor, halves[:count])
    return _make_table(descriptor, words)


def _make_table(descriptor: Sequence[int], entries: np.ndarray) -> _Table:
    count, first, bits = descriptor[0] or 2**16, descriptor[1], descriptor[2]
    if len(entries) != count or not 8 <= bits <= 16 or entries.max() >> bits:
        raise Refusal(
            f"a lookup table must have {count} entries of {bits} bits; export the "
            "image again."
        )
    return _Table(entries.astype(np.uint16), first, bits)


def _is_big_endian(values: "Dataset") -> bool:
    return not values.file_meta.TransferSyntaxUID.is_little_endian
