"""Live prediction of the frames of a video, a DICOM file, a folder or a camera."""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from keras_efsnet.images.frame import Frame, UltrasoundRegion
from keras_efsnet.images.grey import Size
from keras_efsnet.images.reading import SUFFIXES, is_dicom
from keras_efsnet.images.screen_region import ScreenRegion, find_screen_region
from keras_efsnet.live.camera import open_camera
from keras_efsnet.live.recording import Write
from keras_efsnet.live.sources import (
    FrameSource,
    LiveFrame,
    open_dicom,
    open_folder,
    open_video,
)
from keras_efsnet.prediction.cine import Cine
from keras_efsnet.prediction.measurements import measure_lesions
from keras_efsnet.prediction.overlay import draw_numbers, draw_overlay
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.prediction.predictor import Predictor, predict_frame


def open_source(source: str, fps: float | None = None) -> FrameSource:
    """Opens a video or DICOM file, a folder of images or a camera.

    Args:
        source: a file, a folder, or a camera's index in digits. A folder's images play
            in natural order, `2.png` before `10.png`.
        fps: frames per second. Files then skip late frames; cameras are set to this
            rate. None plays every frame of a file, and a camera at its own rate.

    Raises:
        OSError: the source cannot be read.
        ValueError: the source is missing or no video, `fps` is out of range, or OpenCV
            is not installed (`MissingPackage`).
    """
    if fps is not None and not 0 < fps <= 1000:
        raise ValueError(f"fps must be more than 0 and at most 1000, got {fps}.")
    if source.isdecimal():
        return open_camera(int(source), fps)
    path = Path(source)
    if path.is_dir():
        return open_folder(path, fps)
    if not path.exists():
        raise ValueError(
            f"{source}: no such file or folder; give a video, a folder of images or a "
            "camera index, such as 0."
        )
    if not path.is_file():
        raise ValueError(
            f"{source}: neither a file nor a folder; give a video, a folder of images "
            "or a camera index, such as 0."
        )
    if path.suffix.lower() in SUFFIXES:
        raise ValueError(
            f"{source}: one image, not a video; give its folder, or use efsnet predict."
        )
    return open_dicom(path, fps) if is_dicom(path) else open_video(path, fps)


class Smoothed:
    """A predictor with exponential smoothing over the frames of one stream.

    Mask and class probabilities are `weight` times the previous result plus
    `1 - weight` times the network's output.

    Args:
        predictor: the network.
        weight: in [0, 1); 0 switches smoothing off.

    Raises:
        ValueError: `weight` is outside [0, 1).
    """

    def __init__(self, predictor: Predictor, weight: float) -> None:
        if not 0 <= weight < 1:
            raise ValueError(
                f"smooth must be at least 0 and less than 1, got {weight}; 0 is off."
            )
        self.size: Size = predictor.size
        self.rules: Postprocess = predictor.rules
        self._predictor = predictor
        self._weight = weight
        self._previous: dict[str, np.ndarray] | None = None

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the network on the next frame, `(1, height, width, 1)`."""
        outputs = self._predictor(images)
        if self._previous is not None:
            old, new = np.float32(self._weight), np.float32(1 - self._weight)
            outputs = {
                name: old * self._previous[name] + new * output
                for name, output in outputs.items()
            }
        self._previous = outputs
        return outputs


TIMED = 10_000
"""Number of the last frames whose latencies are kept."""


@dataclass(frozen=True)
class StreamReport:
    """Counts and speed of a stream.

    Attributes:
        frames: frames predicted.
        referred: predicted frames that a person should review.
        dropped: late frames skipped.
        fps: frames predicted per second, including waiting time.
        latency_ms: median time from a frame's arrival to its overlay, in milliseconds,
            of the last `TIMED` frames; 0 before the first frame.
        latency_p95_ms: its 95th percentile.
    """

    frames: int
    referred: int
    dropped: int
    fps: float
    latency_ms: float
    latency_p95_ms: float

    def __str__(self) -> str:
        return (
            f"{self.frames} frames, {self.dropped} dropped, {self.referred} referred, "
            f"{self.fps:.1f} a second, median latency {self.latency_ms:.1f} ms, "
            f"p95 {self.latency_p95_ms:.1f} ms"
        )


class Meter:
    """Counts the frames of a stream and times them."""

    def __init__(self) -> None:
        self._latencies: deque[float] = deque(maxlen=TIMED)
        self._frames = self._referred = 0
        self._start = self._end = 0.0

    def add(self, frame: LiveFrame, referred: bool) -> None:
        """Records that the frame's overlay is ready, and whether it was referred."""
        self._frames += 1
        self._referred += referred
        self._end = time.perf_counter()
        if not self._latencies:
            self._start = frame.arrival
        self._latencies.append(self._end - frame.arrival)

    def report(self, dropped: int) -> StreamReport:
        """Returns the results so far; `dropped` is the source's count."""
        count = self._frames
        latencies = self._latencies.copy()  # the stream may still run
        median, p95 = np.percentile(latencies, (50, 95)) if latencies else (0, 0)
        seconds = self._end - self._start
        return StreamReport(
            frames=count,
            referred=self._referred,
            dropped=dropped,
            fps=count / seconds if seconds else 0.0,
            latency_ms=1000 * float(median),
            latency_p95_ms=1000 * float(p95),
        )


def choose_region(
    source: FrameSource, wanted: str = "auto"
) -> tuple[ScreenRegion, str]:
    """Returns the region of interest and a text that describes it.

    Args:
        source: an open source; a camera loses its first second of frames.
        wanted: `left,top,width,height` in pixels, or "auto": find the ultrasound image
            on a scanner's screen, else use the whole frame.

    Raises:
        ValueError: `wanted` is neither or not in the frame, or there is no frame.
    """
    given = None if wanted == "auto" else ScreenRegion.parse(wanted)
    frames = source.sample()
    if not frames:
        raise ValueError(
            f"{source.name}: no frame can be read; check it in another program."
        )
    size = frames[0].shape
    if given:
        given.check_inside(size)
        return given, f"{given} (given)"
    whole = ScreenRegion.whole(size)
    found = find_screen_region(frames)
    if found is None:
        return whole, f"{whole} (the whole frame: no image stands out; set it by --roi)"
    return found, f"{found} ({'the whole frame' if found == whole else 'found'})"


def run_stream(
    source: Iterable[LiveFrame],
    predictor: Predictor,
    region: ScreenRegion,
    regions: tuple[UltrasoundRegion, ...],
    write: Write,
    meter: Meter,
    cine: Cine,
) -> None:
    """Predicts the region of every frame and records its overlay.

    Args:
        source: the frames.
        predictor: the network, `Smoothed` or not.
        region: the part of each frame that the network sees.
        regions: the parts that show ultrasound; empty if unknown.
        write: takes the overlays, with the lesions' numbers.
        meter: counts and times the frames.
        cine: follows the lesions.
    """
    for live in source:
        frame = Frame(live.grey, regions=regions, scan=region)
        prediction = predict_frame(predictor, frame)
        lesions = measure_lesions(frame, prediction)
        plain = draw_overlay(frame, prediction, lesions)
        tracks = cine.add(
            live.number, lesions, prediction.probabilities, partial(_same, plain)
        )
        boxes = {
            track.number: lesion["box"]
            for track, lesion in zip(tracks, lesions, strict=True)
            if track.number is not None
        }
        picture = draw_numbers(plain, boxes)
        meter.add(live, bool(prediction.refer))
        write(picture, live.number)


def _same(picture: Image.Image) -> Image.Image:
    return picture
