"""How many frames a video file must have by its own header.

OpenCV's number of frames is of little use alone. In AVI and MP4 files the header states
it, but an MP4 file may have frames that it says to leave out. In other files it is an
estimate from the duration, and the sound may be longer than the pictures.

Reference: RFC 8794 (EBML) and RFC 9559 (Matroska).
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT, _TRACKS = 0x1A45DFA3, 0x18538067, 0x1654AE6B
_TRACK, _KIND, _VIDEO = 0xAE, 0x83, 1


def promised_frames(path: Path, told: float, fps: float) -> int | None:
    """Returns the number of frames that must be in a file, or None if unknown.

    Args:
        path: an AVI, MP4, MOV, Matroska or WebM file; unknown for others.
        told: OpenCV's number of frames.
        fps: OpenCV's frames per second.
    """
    if not 0 < told < 2**31:
        return None
    with path.open("rb") as file:
        start = file.read(4)
        if start == b"RIFF":
            known = True
        elif start == _EBML.to_bytes(4):
            known = _is_segment_cut(file) or _is_video_alone(file)
        else:  # nothing is left out
            known = _movie_seconds(file) * fps > told - 1
    return int(told) if known else None


def _is_segment_cut(file: BinaryIO) -> bool:
    """Says whether a Matroska file ends before its segment does."""
    size = os.fstat(file.fileno()).st_size
    ends = [end for name, _, end in _elements(file, 0, size) if name == _SEGMENT]
    return bool(ends) and ends[0] is not None and ends[0] > size


def _is_video_alone(file: BinaryIO) -> bool:
    """Says whether a Matroska file has tracks of pictures alone, so ends with one."""
    places = [(0, os.fstat(file.fileno()).st_size)]
    for wanted in (_SEGMENT, _TRACKS, _TRACK, _KIND):
        places = [
            (start, places[0][1] if end is None else end)
            for outer in places
            for name, start, end in _elements(file, *outer)
            if name == wanted
        ]
    kinds = []
    for start, end in places:
        file.seek(start)
        kinds.append(int.from_bytes(file.read(min(end - start, 8))))
    return bool(kinds) and set(kinds) == {_VIDEO}


def _elements(
    file: BinaryIO, start: int, end: int
) -> Iterator[tuple[int, int, int | None]]:
    """Yields the elements of a part of a Matroska file, up to one of unknown size.

    Yields:
        Name, start and end of the content; the end is None if it is not known.
    """
    while start < end:
        file.seek(start)
        head = file.read(12)
        name_length = _length(head[:1])
        length = _length(head[name_length : name_length + 1])
        if not name_length or not length or len(head) < name_length + length:
            return
        name = int.from_bytes(head[:name_length])
        size = int.from_bytes(head[name_length : name_length + length])
        size -= 1 << 7 * length  # the bit that says how long the number is
        start += name_length + length
        if size == (1 << 7 * length) - 1:
            yield name, start, None
            return
        yield name, start, start + size
        start += size


def _length(first: bytes) -> int:
    """The length of a number by its first byte: the zeros before its first 1; or 0."""
    return 9 - first[0].bit_length() if first and first[0] else 0


def _movie_seconds(file: BinaryIO) -> float:
    """Reads the duration from an MP4 file's header; 0 if it has none."""
    at = 0
    while True:
        file.seek(at)
        head = file.read(16)
        if len(head) < 16:
            return 0
        size, name = struct.unpack_from(">I4s", head)
        if name == b"moov":
            return _header_seconds(head + file.read(256))
        if size == 1:
            (size,) = struct.unpack_from(">Q", head, 8)
        if size < 8:
            return 0
        at += size


def _header_seconds(movie: bytes) -> float:
    at = movie.find(b"mvhd") + 4
    if at < 4 or at + 32 > len(movie):
        return 0
    layout, skipped = (">IQ", 20) if movie[at] == 1 else (">II", 12)
    scale, duration = struct.unpack_from(layout, movie, at + skipped)
    return duration / scale if scale else 0
