"""Video and DICOM files and folders of images as sources; videos need OpenCV."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from keras_efsnet.files import describe_error, natural_order
from keras_efsnet.images.frame import DamagedFrame, Frame, UltrasoundRegion
from keras_efsnet.images.grey import Size
from keras_efsnet.images.mask_names import is_mask_name
from keras_efsnet.images.reading import SUFFIXES, read_frames, read_image
from keras_efsnet.live.video import (
    DEFAULT_FPS,
    Load,
    LostFrame,
    read_video,
    video_fps,
)

_LOGGER = logging.getLogger(__name__)

SAMPLES = 8
"""Number of frames of the first second that `sample` reads."""


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
        regions: the parts of each frame that show ultrasound; empty if unknown.
        dropped: number of late frames skipped so far.
        problems: lines on the frames so far that could not be read.
    """

    name: str
    fps: float
    regions: tuple[UltrasoundRegion, ...]
    dropped: int

    @property
    def problems(self) -> Sequence[str]: ...

    def sample(self) -> list[np.ndarray]:
        """Returns some frames of the first second; empty if there are none."""

    def __iter__(self) -> Iterator[LiveFrame]: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...


class FileFrames:
    """The frames of a video file or a folder.

    Args:
        name: the source's name in messages.
        loads: returns an iterator from the first frame. It raises a ValueError after
            the last frame if more should follow.
        own_fps: the file's frames per second.
        pace: frames per second to play at, skipping late frames; None plays every
            frame as soon as the previous one is done.
        regions: the parts of each frame that show ultrasound; empty if unknown.
    """

    def __init__(
        self,
        name: str,
        loads: Callable[[], Iterator[Load]],
        own_fps: float,
        pace: float | None = None,
        regions: tuple[UltrasoundRegion, ...] = (),
    ) -> None:
        self.name = name
        self.regions = regions
        self.fps = pace or own_fps
        self.dropped = 0
        self._loads = loads
        self._own_fps = own_fps
        self._pace = pace
        self._seen = 0
        self._lost: list[int] = []
        self._errors: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Does nothing: files are open only while their frames are read."""

    @property
    def problems(self) -> list[str]:
        """A line on the lost frames so far, and one for each other problem."""
        if not self._lost:
            return self._errors
        lost = (
            f"{self.name}: {len(self._lost)} of {self._seen} frames cannot be decoded: "
            f"{_list_ranges(self._lost)} (counted from 0); copy the file again."
        )
        return [lost, *self._errors]

    def sample(self) -> list[np.ndarray]:
        """Returns some frames of the first second; empty if there are none.

        If none of these can be read, it returns the first frame that can.
        """
        count = math.ceil(self._own_fps)
        step = math.ceil(count / SAMPLES)
        frames: list[np.ndarray] = []
        with suppress(ValueError):  # reported on playing, as each frame's
            for number, load in enumerate(self._loads()):
                if number >= count and frames:
                    break
                if number % step == 0 or not frames:
                    with suppress(OSError, ValueError):
                        frames.append(load())
        return frames

    def __iter__(self) -> Iterator[LiveFrame]:
        try:
            for number, load, due in self._play():
                grey = self._read(number, load)
                if grey is not None:
                    yield LiveFrame(grey, number, due or time.perf_counter())
        except ValueError as error:
            self._errors.append(describe_error(error))

    def _read(self, number: int, load: Load) -> np.ndarray | None:
        """Returns the frame, or None after it noted why it cannot be read."""
        try:
            return load()
        except LostFrame:
            self._lost.append(number)
        except (OSError, ValueError) as error:
            self._errors.append(describe_error(error))
        return None

    def _play(self) -> Iterator[tuple[int, Load, float | None]]:
        """Yields number, loader and due time of each frame that is not late."""
        start = time.perf_counter()
        for number, load in enumerate(self._loads()):
            self._seen = number + 1
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
        OSError: it cannot be read.
        ValueError: it is no video, or OpenCV is not installed (`MissingPackage`).
    """
    return FileFrames(str(path), partial(read_video, path), video_fps(path), pace)


def open_dicom(path: Path, pace: float | None = None) -> FileFrames:
    """Opens a DICOM file of several frames, with its frame rate and its regions.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds one frame, or none that can be decoded.
    """
    problem = f"{path}: it holds no frame."
    for frame in read_frames(path):
        if frame.count == 1:
            raise ValueError(f"{path}: one image, not a clip; use efsnet predict.")
        if isinstance(frame, Frame):
            return FileFrames(
                str(path),
                partial(_dicom_loads, path),
                frame.fps or DEFAULT_FPS,
                pace,
                frame.regions,
            )
        problem = frame.problem
    raise ValueError(problem)


def _dicom_loads(path: Path) -> Iterator[Load]:
    for frame in read_frames(path):
        yield partial(_pixels_of, frame)


def _pixels_of(frame: Frame | DamagedFrame) -> np.ndarray:
    if isinstance(frame, DamagedFrame):
        raise ValueError(f"{frame.problem} (frame {frame.number} of {frame.count})")
    return frame.pixels


def _folder_loads(files: list[Path]) -> Iterator[Load]:
    first: list[tuple[Path, Size]] = []
    for file in files:
        yield partial(_read_same_size, file, first)


def _read_same_size(file: Path, first: list[tuple[Path, Size]]) -> np.ndarray:
    """Reads an image; the first one that can be read gives the size of all."""
    grey = read_image(file)
    if not first:
        first.append((file, grey.shape))
    named, size = first[0]
    if grey.shape != size:
        raise ValueError(
            f"{file}: it is {grey.shape[1]} x {grey.shape[0]} pixels, but the first "
            f"frame, {named.name}, is {size[1]} x {size[0]}; give frames of one size."
        )
    return grey


def _list_ranges(numbers: Sequence[int]) -> str:
    """Lists ascending numbers, such as "3, 7-9"."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1] = [ranges[-1][0], number]
        else:
            ranges.append([number])
    return ", ".join("-".join(map(str, ends)) for ends in ranges)
