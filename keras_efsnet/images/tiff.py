"""TIFF pages as pixels: refused, or set right, where Pillow reads a kind wrongly."""

from typing import Any

import numpy as np
from PIL import Image

MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_KINDS = (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR)
_UNCOMPRESSED, _JPEG = 1, 7
_COMPRESSION, _PHOTOMETRIC, _BITS, _FILL_ORDER = 259, 262, 258, 266
_PLANAR, _COLOUR_MAP, _INKS, _EXTRA, _FORMAT = 284, 320, 332, 338, 339
_FIX = "save it as RGB or grey of 8 or 16 bits, in the usual order."
UNKNOWN = f"a TIFF that is damaged, or of a kind that is not supported; {_FIX}"


def check_page(tags: Any) -> None:
    """Checks that Pillow reads a page's kind rightly, before it is decoded.

    Args:
        tags: Pillow's `tag_v2`.

    Raises:
        ValueError: it does not.
    """
    kind = tags.get(_PHOTOMETRIC)
    if kind not in _KINDS:
        raise ValueError(f"TIFF of photometric interpretation {kind}; {_FIX}")
    if set(tags.get(_FORMAT, (1,))) != {1}:
        raise ValueError(f"TIFF of signed, floating-point or 32-bit numbers; {_FIX}")
    if tags.get(_INKS, 1) != 1:
        raise ValueError(f"TIFF of other inks than CMYK; {_FIX}")
    compression, bits = tags.get(_COMPRESSION, 1), tags.get(_BITS, (1,))
    in_planes = tags.get(_PLANAR, 1) != 1
    if kind == _YCBCR and (compression != _JPEG or in_planes):
        raise ValueError(f"TIFF of YCbCr without JPEG; {_FIX}")
    if compression == _UNCOMPRESSED:
        _check_order(tags, kind, set(bits), in_planes)
    if kind == _PALETTE and len(tags.get(_COLOUR_MAP, ())) != 3 * 2 ** bits[0]:
        raise ValueError(f"TIFF without a whole colour map; {_FIX}")


def _check_order(tags: Any, kind: int, bits: set[int], in_planes: bool) -> None:
    reversed_bits = tags.get(_FILL_ORDER, 1) != 1
    has_planes = kind in (_RGB, _CMYK) and bits == {8}
    if in_planes and (not has_planes or reversed_bits or 1 in tags.get(_EXTRA, ())):
        raise ValueError(f"uncompressed TIFF in planes; {_FIX}")
    if reversed_bits and kind in (_WHITE_IS_ZERO, _PALETTE):
        raise ValueError(f"uncompressed TIFF of fill order 2; {_FIX}")


def to_pixels(image: Image.Image, tags: Any) -> np.ndarray | None:
    """Sets right what Pillow leaves as stored: deep grey, and colour maps.

    Args:
        image: the decoded page.
        tags: its tags, checked.

    Returns:
        uint16 grey of the full range, or uint8 RGB or RGBA; None if Pillow reads it
        rightly.
    """
    if image.mode.startswith("I;16"):
        grey: np.ndarray = np.asarray(image, np.uint16) << 16 - tags[_BITS][0]
        return np.invert(grey) if tags[_PHOTOMETRIC] == _WHITE_IS_ZERO else grey
    if image.mode in ("P", "PA"):
        colours: np.ndarray = np.array(tags[_COLOUR_MAP], np.uint16).reshape(3, -1).T
        # Some writers store 8-bit colours; libtiff sees it too.
        colours = colours if colours.max() < 256 else colours >> 8
        shown = colours.astype(np.uint8)[np.asarray(image.getchannel(0))]
        if image.mode == "PA":
            return np.dstack([shown, np.asarray(image.getchannel("A"))])
        return shown
    return None
