"""Live prediction: frame after frame of a video, a folder or a camera."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_efsnet.images.frame import Frame
from keras_efsnet.images.grey import Size
from keras_efsnet.images.reading import SUFFIXES
from keras_efsnet.images.screen_region import ScreenRegion, find_screen_region
from keras_efsnet.live.camera import open_camera
from keras_efsnet.live.recording import Write
from keras_efsnet.live.sources import FrameSource, LiveFrame, open_folder, open_video
from keras_efsnet.prediction.overlay import draw_overlay
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.prediction.predictor import Predictor, predict_frame


def open_source(source: str, fps: float | None = None) -> FrameSource:
    """Opens a video file, a folder of images or a camera.

    Args:
        source: a file or folder, or digits: a camera's index. A folder's images are
            its frames in natural order, `2.png` before `10.png`.
        fps: the pace. A file then plays at that pace, and frames that would be late are
            dropped; a camera is asked for it. None: every frame of a file, each when
            the one before is done; a camera as it comes.

    Raises:
        ValueError: there is no such source, it cannot be read, or OpenCV is not
            installed (`MissingPackage`).
    """
    if source.isdecimal():
        return open_camera(int(source), fps)
    path = Path(source)
    if path.is_dir():
        return open_folder(path, fps)
    if not path.exists():
        raise ValueError(
            f"{source}: no such file or folder; give a video, a folder of images or a "
            "camera's index, such as 0."
        )
    if path.suffix.lower() in SUFFIXES:
        raise ValueError(
            f"{source}: one image, no video; give its folder, or use efsnet predict."
        )
    return open_video(path, fps)


class Smoothed:
    """A predictor whose maps follow those of the frames before, exponentially.

    Mask and class probabilities are `weight` times the previous answer plus
    `1 - weight` times the network's own. One object serves one stream.

    Args:
        predictor: the network.
        weight: in [0, 1); 0 leaves every frame on its own.

    Raises:
        ValueError: another weight.
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


@dataclass(frozen=True)
class StreamReport:
    """How a stream went.

    Attributes:
        frames: frames predicted.
        referred: of these, frames with a reason for a person to look.
        dropped: frames left out because they were late.
        fps: frames predicted a second, waiting for frames included.
        latency_ms, latency_p95_ms: median and 95th percentile of the time from a
            frame's arrival to its overlay, in milliseconds; 0 before the first one.
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
        self._latencies: list[float] = []
        self._referred = 0
        self._start = self._end = 0.0

    def add(self, frame: LiveFrame, referred: bool) -> None:
        """Notes that the frame's overlay is ready, and whether it has a reason."""
        self._referred += referred
        self._end = time.perf_counter()
        if not self._latencies:
            self._start = frame.arrival
        self._latencies.append(self._end - frame.arrival)

    def report(self, dropped: int) -> StreamReport:
        """The figures so far; `dropped` is the source's count."""
        latencies = tuple(self._latencies)  # the stream may be going on
        count = len(latencies)
        median, p95 = np.percentile(latencies, (50, 95)) if count else (0, 0)
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
    """Settles the region of interest and says in words which it is.

    Args:
        source: gives up the first second's frames for this.
        wanted: `left,top,width,height` in pixels, or "auto": where the ultrasound image
            is found on a scanner's screen, and the whole frame where none stands out.

    Raises:
        ValueError: `wanted` is neither, or is not in the frame, or there is no frame.
    """
    given = None if wanted == "auto" else ScreenRegion.parse(wanted)
    frames = source.sample()
    if not frames:
        raise ValueError(
            f"{source.name}: no frame can be read; look at it in another program."
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
    write: Write,
    meter: Meter,
) -> None:
    """Predicts every frame in the region and records its overlay.

    Args:
        source: the frames.
        predictor: the network, `Smoothed` or not.
        region: what the network sees of each frame.
        write: takes the overlays.
        meter: counts and times; it tells the figures when this was interrupted, too.
    """
    for live in source:
        frame = Frame(live.grey, scan=region)
        prediction = predict_frame(predictor, frame)
        picture = draw_overlay(frame, prediction)
        meter.add(live, bool(prediction.refer))
        write(picture, live.number)
