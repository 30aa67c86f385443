"""Frames of video files with OpenCV: their pixels, their rate, and which are lost."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from keras_efsnet.extras import import_opencv
from keras_efsnet.images.grey import to_grey
from keras_efsnet.live.containers import promised_frames

Load = Callable[[], np.ndarray]
"""Decodes the current frame; call it before advancing to the next one."""

DEFAULT_FPS = 25.0
"""Frames per second of folders, and of videos and cameras with an unknown rate."""

USUAL_FPS = 200
"""A file that states a higher rate often means its clock's."""

LONGEST_HOLE = 1000
"""So many unreadable frames in a row are the end: OpenCV tells both in the same way."""

_ENVIRONMENT = {
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "fflags;+discardcorrupt",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    "OPENCV_LOG_LEVEL": "SILENT",
}
"""Read by OpenCV: no frame that is cut off, which it would fill up with an earlier one,
and no lines of its own."""


class LostFrame(ValueError):
    """A frame of a video cannot be decoded."""


def import_video() -> Any:
    """Returns the module `cv2`, set up for videos.

    Raises:
        MissingPackage: OpenCV is not installed.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    return import_opencv()


def read_video(path: Path) -> Iterator[Load]:
    """Yields a loader for each frame; that of a lost frame raises `LostFrame`.

    Raises:
        ValueError: the file cannot be opened, or ends before its last frame.
    """
    cv2 = import_video()
    capture = open_capture(path)
    fps, told = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    number = lost = reached = 0
    try:
        while lost < LONGEST_HOLE:
            if not capture.grab():
                lost += 1
                continue
            yield from [_lose] * lost
            yield partial(_retrieve, capture)
            number, lost = number + lost + 1, 0
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            reached = max(reached, number, round(seconds * fps) + 1)
    finally:
        capture.release()
    promised = promised_frames(path, told, fps)
    pause = round(reached / max(number, 1)) - 1  # not 0 if frames are left empty
    if promised and reached + pause < promised:
        raise ValueError(
            f"{path}: it ends after {number} of {promised} frames; it is cut off or "
            "damaged, so copy it again."
        )


def open_capture(path: Path) -> Any:
    """Opens a video file as a `cv2.VideoCapture`.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no video that OpenCV can read.
    """
    cv2 = import_video()
    path.open("rb").close()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise ValueError(
            f"{path}: not a video that OpenCV can read, or cut off; copy it again, or "
            "convert it to MP4 (H.264)."
        )
    return capture


def video_fps(path: Path) -> float:
    """Returns a file's frames per second.

    It is the mean rate of the first frames if the file states none, or one that no
    scanner has; `DEFAULT_FPS` if these have no times.
    """
    cv2 = import_video()
    capture = open_capture(path)
    try:
        told = float(capture.get(cv2.CAP_PROP_FPS))
        if 0 < told <= USUAL_FPS:
            return told
        return _measured_fps(list(islice(_times(capture), 50)))
    finally:
        capture.release()


def told_fps(capture: Any) -> float:
    """Returns a camera's frames per second, or `DEFAULT_FPS` if unknown."""
    told = float(capture.get(import_video().CAP_PROP_FPS))
    return told if 0 < told <= 1000 else DEFAULT_FPS


def grey_of(pixels: np.ndarray) -> np.ndarray:
    """Converts OpenCV's BGR pixels to uint8 grey `(height, width)`."""
    cv2 = import_video()
    return to_grey(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def _lose() -> np.ndarray:
    raise LostFrame


def _retrieve(capture: Any) -> np.ndarray:
    found, pixels = capture.retrieve()
    if not found:
        raise LostFrame
    return grey_of(pixels)


def _times(capture: Any) -> Iterator[float]:
    """Yields the frames' times in milliseconds."""
    while capture.grab():
        yield capture.get(import_video().CAP_PROP_POS_MSEC)


def _measured_fps(times: list[float]) -> float:
    span = times[-1] - times[0] if times else 0
    measured = 1000 * (len(times) - 1) / span if span > 0 else 0
    return measured if 0 < measured <= 1000 else DEFAULT_FPS
