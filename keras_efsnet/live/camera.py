"""A camera as a source of frames; needs OpenCV."""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

import numpy as np

from keras_efsnet.images.frame import UltrasoundRegion
from keras_efsnet.live.sources import SAMPLES, LiveFrame
from keras_efsnet.live.video import grey_of, import_video, told_fps

PATIENCE = 5.0
"""Seconds without a frame after which a camera counts as disconnected."""


class CameraFrames:
    """Yields a camera's newest frame; frames that come in between are dropped.

    Args:
        capture: an open `cv2.VideoCapture` or an object with the same methods.
        name: the camera's name in messages.
    """

    def __init__(self, capture: Any, name: str) -> None:
        self.name = name
        self.fps = told_fps(capture)
        self.regions: tuple[UltrasoundRegion, ...] = ()
        self.dropped = 0
        self.problems: list[str] = []
        self._capture = capture
        self._newest: queue.Queue[LiveFrame | None] = queue.Queue(maxsize=1)
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.set()
        self._reader.join(PATIENCE)
        self._capture.release()

    def sample(self) -> list[np.ndarray]:
        """Returns some frames of the first second; empty if there are none."""
        frames: list[np.ndarray] = []
        start = None
        for frame in self._take():
            start = start or frame.arrival
            age = frame.arrival - start
            if age * SAMPLES >= len(frames):
                frames.append(frame.grey)
            if age >= 1:
                break
        return frames

    def __iter__(self) -> Iterator[LiveFrame]:
        last = None
        for frame in self._take():
            if last is not None:
                self.dropped += frame.number - last - 1
            last = frame.number
            yield frame
        self.problems.append(f"{self.name}: it stopped giving frames.")

    def _take(self) -> Iterator[LiveFrame]:
        with suppress(queue.Empty):
            while (frame := self._newest.get(timeout=PATIENCE)) is not None:
                yield LiveFrame(grey_of(frame.grey), frame.number, frame.arrival)

    def _read(self) -> None:
        number = 0
        found = True
        while found and not self._closing.is_set():
            found, pixels = self._capture.read()
            arrival = time.perf_counter()
            with suppress(queue.Empty):
                self._newest.get_nowait()
            self._newest.put(LiveFrame(pixels, number, arrival) if found else None)
            number += 1


def open_camera(index: int, fps: float | None = None) -> CameraFrames:
    """Opens a camera by index and requests `fps` frames per second.

    Raises:
        ValueError: it cannot be opened, or OpenCV is not installed (`MissingPackage`).
    """
    cv2 = import_video()
    name = f"camera {index}"
    capture = cv2.VideoCapture(min(index, 2**31 - 1))  # a C integer
    if not capture.isOpened():
        raise ValueError(
            f"{name}: cannot be opened; plug it in, close other programs that use it, "
            "or try another index."
        )
    if fps:
        capture.set(cv2.CAP_PROP_FPS, fps)
    return CameraFrames(capture, name)
