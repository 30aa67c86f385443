"""How many frames a video file must have by its own header.

OpenCV's number of frames is of little use alone. In AVI and MP4 files the header states
it, but an MP4 file may have frames that it says to leave out. In other files it is an
estimate from the duration, and the sound may be longer than the pictures.
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"


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
        elif start == _EBML:
            known = _is_segment_cut(file)
        else:  # nothing is left out
            known = _movie_seconds(file) * fps > told - 1
    return int(told) if known else None


def _is_segment_cut(file: BinaryIO) -> bool:
    """Says whether a Matroska file ends before its segment does."""
    file.seek(0)
    head = file.read(4096)
    at = head.find(_SEGMENT) + len(_SEGMENT)
    if at < len(_SEGMENT) or at + 8 > len(head):
        return False
    # The zeros before a number's first 1 say how many bytes follow.
    length = 9 - head[at].bit_length()
    size = int.from_bytes(head[at : at + length]) - (1 << 7 * length)
    is_known = size != (1 << 7 * length) - 1
    return is_known and at + length + size > os.fstat(file.fileno()).st_size


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
