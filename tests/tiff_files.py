"""TIFF files of any layout for tests, and the grey values they stand for."""

import struct
import zlib
from dataclasses import dataclass, field

import numpy as np

from keras_efsnet.images.grey import to_grey

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR, LAB = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    8,
)
NONE, DEFLATE, PACKBITS = 1, 8, 32773


@dataclass(frozen=True)
class Layout:
    """How a page is stored.

    Attributes:
        bits: of a sample.
        extra: `ExtraSamples`, one for each sample beyond the colours.
        rows: of a strip, or height of a tile; None is one strip.
        tile: width of a tile; None stores strips.
        colours: the colour map, `(3, 2**bits)`.
        more: other tags, number to (type, values).
    """

    photometric: int = BLACK_IS_ZERO
    bits: int = 8
    order: str = "<"
    sample_format: int = 1
    extra: tuple[int, ...] = ()
    planar: int = 1
    fill_order: int = 1
    compression: int = NONE
    predictor: int = 1
    rows: int | None = None
    tile: int | None = None
    big: bool = False
    colours: np.ndarray | None = None
    more: dict = field(default_factory=dict)


def write_tiff(path, *pages):
    """Writes pages, each `(samples, layout)`; samples are `(height, width, n)`.

    All pages take the byte order of the first one.
    """
    order, big = pages[0][1].order, pages[0][1].big
    offset = "Q" if big else "I"
    head = (b"II" if order == "<" else b"MM") + struct.pack(
        *((order + "HHHQ", 43, 8, 0, 16) if big else (order + "HI", 42, 8))
    )
    content = bytearray(head)
    link = len(content) - struct.calcsize(offset)
    for samples, layout in pages:
        tags = _tags(content, samples, layout)
        entries = b""
        for tag, (kind, values) in sorted(tags.items()):
            entries += _entry(content, order, offset, tag, kind, values)
        content += bytes(len(content) % 2)
        struct.pack_into(order + offset, content, link, len(content))
        content += struct.pack(order + ("Q" if big else "H"), len(tags)) + entries
        link = len(content)
        content += struct.pack(order + offset, 0)
    path.write_bytes(bytes(content))
    return path


def _entry(content, order, offset, tag, kind, values):
    code, size = {"H": (3, 2), "I": (4, 4), "Q": (16, 8), "B": (1, 1)}[kind]
    data = struct.pack(f"{order}{len(values)}{kind}", *values)
    room = struct.calcsize(offset)
    if len(data) > room:
        content += bytes(len(content) % 2)
        place = len(content)
        content += data
        data = struct.pack(order + offset, place)
    return struct.pack(f"{order}HH{offset}", tag, code, len(values)) + data.ljust(
        room, b"\0"
    )


def _tags(content, samples, layout):
    height, width, count = samples.shape
    rows = layout.rows or height
    parts = [_encode(part, layout) for part in _parts(samples, layout, rows)]
    offsets = []
    for part in parts:
        offsets.append(len(content))
        content += part
    wide = "Q" if layout.big else "I"
    tags = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [layout.bits] * count),
        259: ("H", [layout.compression]),
        262: ("H", [layout.photometric]),
        277: ("H", [count]),
        284: ("H", [layout.planar]),
        339: ("H", [layout.sample_format] * count),
    }
    lengths = [len(part) for part in parts]
    if layout.tile:
        tags |= {322: ("I", [layout.tile]), 323: ("I", [rows])}
        tags |= {324: (wide, offsets), 325: (wide, lengths)}
    else:
        tags |= {278: ("I", [rows]), 273: (wide, offsets), 279: (wide, lengths)}
    if layout.fill_order != 1:
        tags[266] = ("H", [layout.fill_order])
    if layout.predictor != 1:
        tags[317] = ("H", [layout.predictor])
    if layout.extra:
        tags[338] = ("H", list(layout.extra))
    if layout.colours is not None:
        tags[320] = ("H", layout.colours.ravel().tolist())
    for tag, entry in layout.more.items():
        if entry is None:
            del tags[tag]
        else:
            tags[tag] = entry
    return tags


def _parts(samples, layout, rows):
    """Cuts samples into strips or tiles, plane after plane if they are planes."""
    planes = (
        [samples]
        if layout.planar == 1
        else [samples[..., k : k + 1] for k in range(samples.shape[2])]
    )
    for plane in planes:
        height, width = plane.shape[:2]
        if not layout.tile:
            for top in range(0, height, rows):
                yield plane[top : top + rows]
            continue
        below, beside = -height % rows, -width % layout.tile
        padded = np.pad(plane, ((0, below), (0, beside), (0, 0)))
        for top in range(0, height, rows):
            for left in range(0, width, layout.tile):
                yield padded[top : top + rows, left : left + layout.tile]


def _encode(part, layout):
    if layout.predictor == 2:
        part = np.concatenate([part[:, :1], np.diff(part, axis=1)], axis=1)
    mask = (1 << layout.bits) - 1
    part = (part.astype(np.int64) & mask).reshape(len(part), -1)
    if layout.bits in (8, 16, 32, 64):
        data = part.astype(f"{layout.order}u{layout.bits // 8}").tobytes()
    else:
        shifts = np.arange(layout.bits - 1, -1, -1)
        bits = (part[..., np.newaxis] >> shifts & 1).reshape(len(part), -1)
        data = np.packbits(bits.astype(np.uint8), axis=1).tobytes()
    if layout.compression == DEFLATE:
        data = zlib.compress(data)
    if layout.compression == PACKBITS:
        row = len(data) // len(part)
        data = b"".join(
            bytes([len(piece) - 1]) + piece
            for begin in range(0, len(data), row)
            for piece in _pieces(data[begin : begin + row])
        )
    if layout.fill_order == 2:
        flipped = np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, 8)[:, ::-1]
        data = np.packbits(flipped).tobytes()
    return data


def _pieces(row):
    return [row[k : k + 128] for k in range(0, len(row), 128)]


def grey_of(samples, layout):
    """The grey values that unsigned samples stand for; alpha is ignored."""
    if layout.photometric == PALETTE:
        colours = np.moveaxis(layout.colours[:, samples[..., 0]], 0, -1)
        return to_grey(colours.astype(np.uint16 if colours.max() > 255 else np.uint8))
    top = (1 << layout.bits) - 1
    if layout.bits > 8:
        bytes_ = samples >> layout.bits - 8
    else:
        bytes_ = np.rint(samples * (255 / top))
    bytes_ = bytes_.astype(np.uint8)
    if layout.photometric == RGB:
        return to_grey(np.ascontiguousarray(bytes_[..., :3]))
    if layout.photometric == CMYK:
        ink = 255 - bytes_[..., :4].astype(float)
        return to_grey(np.rint(ink[..., :3] * ink[..., 3:] / 255).astype(np.uint8))
    grey = bytes_[..., 0]
    return 255 - grey if layout.photometric == WHITE_IS_ZERO else grey
