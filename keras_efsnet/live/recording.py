"""Writing overlays as a video file, whole or not at all, or as a folder of PNGs, and
the lesions that were followed."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from keras_efsnet.extras import quiet_start
from keras_efsnet.files import prepare_output
from keras_efsnet.live.video import import_video
from keras_efsnet.prediction.cine import Cine, write_cine
from keras_efsnet.prediction.writing import (
    CINE_NAME,
    list_files,
    read_records,
    remove_files,
    write_image,
)

CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".webm": "VP90"}
"""Video formats and their codecs, which every build of OpenCV can write. Of these,
browsers play VP9 in WebM alone."""

_FRAME = re.compile(r"frame_\d{6,}\.png")

Write = Callable[[Image.Image, int], object]
"""Takes an RGB overlay and the number of its frame."""


@contextmanager
def open_recording(out: Path | None, fps: float, source: str) -> Iterator[Write]:
    """Yields a function that records overlays.

    Args:
        out: a video file (see `CODECS`), a folder, or None to record nothing. The video
            is complete when the context ends.
        fps: frames per second of a video.
        source: the stream's source, which `out` must not overwrite.

    Raises:
        ValueError: `out` is another kind of file or lies in the source, or OpenCV is
            not installed (`MissingPackage`).
        OSError: the folder cannot be written to.
    """
    if out is None:
        yield lambda picture, number: None
        return
    if out.resolve().is_relative_to(Path(source).resolve()):
        raise ValueError(f"{out}: lies in the source {source}; choose another output.")
    if out.is_dir() or not out.suffix:
        prepare_output(out)
        frames = FrameFolder(out)
        try:
            yield frames.write
        except KeyboardInterrupt:
            frames.complete()
            raise
        frames.complete()
        return
    if out.suffix.lower() not in CODECS or out.exists() and not out.is_file():
        raise ValueError(
            f"{out}: the output must be a {', '.join(CODECS)} file or a folder; "
            "choose such a name."
        )
    prepare_output(out.parent)
    video = VideoFile(out, fps)
    try:
        yield video.write
    except KeyboardInterrupt:
        video.complete()
        raise
    else:
        video.complete()
    finally:
        video.close()


@contextmanager
def open_cine(name: str, out: Path | None) -> Iterator[Cine]:
    """Yields what follows a stream's lesions.

    At the end, or on Ctrl-C, its rows and pictures replace those of an earlier run: in
    a folder cine.json, cine.csv and `best_track<number>.png`, beside a video
    `<stem>_cine.json`, `<stem>_cine.csv` and `<stem>_track<number>.png`.

    Args:
        name: the source's name.
        out: as in `open_recording`, which is open.

    Raises:
        OSError: a file cannot be written.
    """
    if out is None:
        yield Cine(name, None)
        return
    is_folder = out.is_dir() or not out.suffix
    folder, stem = (out, "best") if is_folder else (out.parent, out.stem)
    with TemporaryDirectory(dir=folder, prefix=".cine") as part:
        cine = Cine(name, Path(part, stem), Path(part))
        try:
            yield cine
        except KeyboardInterrupt:
            _replace_cine(cine, Path(part), folder, "" if is_folder else f"{stem}_")
            raise
        _replace_cine(cine, Path(part), folder, "" if is_folder else f"{stem}_")


def _replace_cine(cine: Cine, part: Path, folder: Path, prefix: str) -> None:
    if cine.frames == 0:
        return
    rows = cine.finish()
    old = read_records(folder, f"{prefix}{CINE_NAME}")
    for row in old:
        remove_files(list_files(row, folder), ())
    for file in part.iterdir():
        file.replace(folder / file.name)
    write_cine(folder, rows, prefix)


class FrameFolder:
    """A folder of overlays, `frame_000000.png` and so on, of one run alone.

    Args:
        folder: exists. With a cine.json it holds an earlier run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written = False
        self._earlier: set[Path] = set()
        if (folder / CINE_NAME).exists():
            self._earlier = {
                file for file in folder.iterdir() if _FRAME.fullmatch(file.name)
            }

    def write(self, picture: Image.Image, number: int) -> None:
        """Writes an RGB picture as that of a frame's number."""
        file = self._folder / f"frame_{number:06}.png"
        write_image(file, picture)
        self._written = True
        self._earlier.discard(file)

    def complete(self) -> None:
        """Removes the earlier run's other frames, if this run has a frame."""
        if self._written:
            remove_files(self._earlier, ())


class VideoFile:
    """A video file in the source's timing: the previous frame replaces a dropped one.

    It has a temporary name until it is complete. Odd sizes get a black line, as codecs
    need even ones.

    Args:
        path: the file, of a suffix in `CODECS`.
        fps: frames per second.

    Raises:
        ValueError: OpenCV cannot write it.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._cv2 = import_video()
        self._path = path
        self._part = path.with_name(f".{path.stem}.part{path.suffix}")
        self._fps = fps
        self._writer: Any = None
        self._last: tuple[np.ndarray, int] | None = None
        self._written = 0

    def write(self, picture: Image.Image, number: int) -> None:
        """Adds an RGB picture; all must have the first one's size."""
        pixels = self._cv2.cvtColor(np.asarray(picture), self._cv2.COLOR_RGB2BGR)
        height, width = pixels.shape[:2]
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)))
        if self._writer is None:
            self._writer = self._open(pixels)
        if self._last is not None:
            before, last = self._last
            for _ in range(number - last - 1):
                self._add(before)
        self._add(pixels)
        self._last = pixels, number

    def complete(self) -> None:
        """Closes the file and gives it its name, if it has a frame.

        Raises:
            OSError: a frame is missing, as on a full disk, which OpenCV does not tell.
        """
        if self._writer is None:
            return
        self._writer.release()
        capture = self._cv2.VideoCapture(str(self._part))
        found = max(int(capture.get(self._cv2.CAP_PROP_FRAME_COUNT)), 0)
        capture.release()
        if found != self._written:
            raise OSError(
                f"{self._path}: OpenCV wrote {found} of {self._written} frames; make "
                "room on the disk, or choose a folder."
            )
        self._part.replace(self._path)

    def close(self) -> None:
        """Removes an incomplete file."""
        if self._writer is not None:
            self._writer.release()
        self._part.unlink(missing_ok=True)

    def _add(self, pixels: np.ndarray) -> None:
        self._writer.write(pixels)
        self._written += 1

    def _open(self, pixels: np.ndarray) -> Any:
        height, width = pixels.shape[:2]
        codec = self._cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        with quiet_start():  # OpenCV says that WebM has other names of codecs
            writer = self._cv2.VideoWriter(
                str(self._part), codec, self._fps, (width, height)
            )
        if not writer.isOpened():
            formats = ", ".join(CODECS)
            raise ValueError(
                f"{self._path}: OpenCV cannot write this video of {width} x {height} "
                f"pixels and {self._fps:g} frames a second; try {formats}, or a folder."
            )
        return writer
