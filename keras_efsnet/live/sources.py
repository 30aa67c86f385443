"""Video files and folders of images as sources of frames; videos need OpenCV."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from keras_efsnet.extras import import_opencv
from keras_efsnet.files import natural_order
from keras_efsnet.images.grey import Size, to_grey
from keras_efsnet.images.mask_names import is_mask_name
from keras_efsnet.images.reading import SUFFIXES, read_image

_LOGGER = logging.getLogger(__name__)

DEFAULT_FPS = 25.0
"""Frames per second of folders, and of videos and cameras with an unknown rate."""

SAMPLES = 8
"""Number of frames of the first second that `sample` reads."""

Load = Callable[[], np.ndarray]
"""Decodes the current frame; call it before advancing to the next one."""


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """One frame of a live source.

    Attributes:
        grey: uint8 `(height, width)`.
        number: index in the source, from 0; dropped frames count too.
        arrival: when it arrived or was due, in seconds of `time.perf_counter`.
    """

    grey: np.ndarray
    number: int
    arrival: float


class FrameSource(Protocol):
    """An open source of frames of one size; leaving its context closes it.

    Attributes:
        name: the source's name in messages.
        fps: frames per second.
        dropped: number of late frames skipped so far.
        problems: a line for each frame so far that could not be read.
    """

    name: str
    fps: float
    dropped: int
    problems: list[str]

    def sample(self) -> list[np.ndarray]:
        """Returns some frames of the first second; empty if there are none."""

    def __iter__(self) -> Iterator[LiveFrame]: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...


class FileFrames:
    """The frames of a video file or a folder.

    Args:
        name: the source's name in messages.
        loads: returns an iterator from the first frame.
        own_fps: the file's frames per second.
        pace: frames per second to play at, skipping late frames; None plays every
            frame as soon as the previous one is done.
    """

    def __init__(
        self,
        name: str,
        loads: Callable[[], Iterator[Load]],
        own_fps: float,
        pace: float | None = None,
    ) -> None:
        self.name = name
        self.fps = pace or own_fps
        self.dropped = 0
        self.problems: list[str] = []
        self._loads = loads
        self._own_fps = own_fps
        self._pace = pace

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Does nothing: files are open only while their frames are read."""

    def sample(self) -> list[np.ndarray]:
        """Returns some frames of the first second; empty if there are none."""
        count = math.ceil(self._own_fps)
        frames = []
        for load in islice(self._loads(), 0, count, math.ceil(count / SAMPLES)):
            with suppress(OSError, ValueError):  # reported on playing
                frames.append(load())
        return [grey for grey in frames if grey.shape == frames[0].shape]

    def __iter__(self) -> Iterator[LiveFrame]:
        size: Size | None = None
        for number, load, due in self._play():
            try:
                grey = load()
                size = size or grey.shape
                _check_size(number, grey, size)
            except (OSError, ValueError) as error:
                self.problems.append(" ".join(str(error).split()))
            else:
                yield LiveFrame(grey, number, due or time.perf_counter())

    def _play(self) -> Iterator[tuple[int, Load, float | None]]:
        """Yields number, loader and due time of each frame that is not late."""
        start = time.perf_counter()
        for number, load in enumerate(self._loads()):
            if self._pace is None:
                yield number, load, None
                continue
            due = start + number / self._pace
            early = due - time.perf_counter()
            if early < -1 / self._pace:  # the next frame is already due
                self.dropped += 1
                continue
            time.sleep(max(early, 0))
            yield number, load, due


def open_folder(folder: Path, pace: float | None = None) -> FileFrames:
    """Opens a folder's images as frames in natural order, `2.png` before `10.png`.

    Masks by their names (see `images.mask_names`) are left out; the log says how many.

    Raises:
        ValueError: there are none.
    """
    found = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    ]
    files = [file for file in found if not is_mask_name(file)]
    if not files:
        masks = " but masks by their names" if found else ""
        raise ValueError(
            f"{folder}: no image in this folder{masks}; give {', '.join(SUFFIXES)}."
        )
    if len(files) < len(found):
        _LOGGER.info("%d left out: masks by their names", len(found) - len(files))
    files.sort(key=natural_order)
    return FileFrames(str(folder), partial(_folder_loads, files), DEFAULT_FPS, pace)


def open_video(path: Path, pace: float | None = None) -> FileFrames:
    """Opens a video file.

    Raises:
        ValueError: it cannot be read, or OpenCV is not installed (`MissingPackage`).
    """
    capture = _open_video(path)
    own_fps = told_fps(capture)
    capture.release()
    return FileFrames(str(path), partial(_video_loads, path), own_fps, pace)


def grey_of(pixels: np.ndarray) -> np.ndarray:
    """Converts OpenCV's BGR pixels to uint8 grey `(height, width)`."""
    cv2 = import_opencv()
    return to_grey(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def told_fps(capture: Any) -> float:
    """Returns a capture's frames per second, or `DEFAULT_FPS` if unknown."""
    told = float(capture.get(import_opencv().CAP_PROP_FPS))
    return told if 1 <= told <= 1000 else DEFAULT_FPS


def _folder_loads(files: list[Path]) -> Iterator[Load]:
    for file in files:
        yield partial(read_image, file)


def _video_loads(path: Path) -> Iterator[Load]:
    capture = _open_video(path)
    try:
        while capture.grab():
            yield lambda: _retrieve(path, capture)
    finally:
        capture.release()


def _retrieve(path: Path, capture: Any) -> np.ndarray:
    found, pixels = capture.retrieve()
    if not found:
        raise ValueError(f"{path}: a frame cannot be decoded; copy the file again.")
    return grey_of(pixels)


def _open_video(path: Path) -> Any:
    capture = import_opencv().VideoCapture(str(path))
    if not capture.isOpened():
        raise ValueError(
            f"{path}: not a video that OpenCV can read; convert it to MP4 (H.264)."
        )
    return capture


def _check_size(number: int, grey: np.ndarray, size: Size) -> None:
    if grey.shape != size:
        raise ValueError(
            f"frame {number}: it is {grey.shape[1]} x {grey.shape[0]} pixels, but the "
            f"first frame is {size[1]} x {size[0]}; give frames of one size."
        )
