"""The lesions of a clip: a row and a picture of its best frame for each one."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from PIL import Image

from keras_efsnet.images.reading import is_dicom
from keras_efsnet.prediction.formats.csv_table import write_rows
from keras_efsnet.prediction.measurements import Lesion, unit_of
from keras_efsnet.prediction.overlay import draw_numbers
from keras_efsnet.prediction.tracking import Track, Tracker
from keras_efsnet.prediction.writing import (
    CINE_NAME,
    Record,
    list_files,
    read_records,
    remove_files,
    write_image,
    write_records,
)

CLEAR = 0.95
"""Mean probability of lesion inside a mask above which the mask is trusted. Chosen on
the validation fold of BUSI (fold 1)."""

MOST_LESIONS = 100
"""Rows kept for a clip: those of the lesions that were seen in most frames."""

LoadPicture = Callable[[], Image.Image]


@dataclass
class _Summary:
    """What is known of a track so far: sums over its frames, and its best frame."""

    probabilities: dict[str, float]
    rank: tuple
    frame: int
    lesion: Lesion
    picture: LoadPicture


class Cine:
    """Follows the lesions of one clip. Its memory does not grow with the clip's length.

    The best frame of a lesion is the one with the largest longest diameter, among the
    frames where it is measured in millimetres if there are any, where its box fits
    those of the frames before (see `Track.is_steady`), and where the mean probability
    inside the mask is at least `CLEAR`. If no frame has all of these, millimetres count
    most, then the box. Of unclear frames the one with the highest mean probability is
    taken.

    Args:
        path: the clip's name in the rows.
        target: where pictures are written, without `_track<number>.png`; None writes
            none.
        out: the folder of cine.json.
    """

    def __init__(self, path: str, target: Path | None, out: Path = Path()) -> None:
        self.frames = 0
        """Number of frames so far."""
        self.left_out = 0
        """Number of lesions whose rows were not kept."""
        self._path = path
        self._target = target
        self._out = out
        self._tracker = Tracker()
        self._summaries: dict[Track, _Summary] = {}
        self._rows: list[Record] = []

    def add(
        self,
        frame: int,
        lesions: Sequence[Lesion],
        probabilities: Mapping[str, float],
        picture: LoadPicture,
    ) -> list[Track]:
        """Takes the next frame and returns the track of each lesion.

        Args:
            frame: its number, higher than that of the last one.
            lesions: from `measure_lesions`.
            probabilities: of the classes, by label.
            picture: gives the frame's overlay; kept until a better frame comes.

        Raises:
            OSError: the picture of a lesion that has left cannot be read or written.
        """
        self.frames += 1
        self._end(self._tracker.end_tracks(frame))
        boxes = [(*lesion["box"],) for lesion in lesions]
        tracks = self._tracker.update(frame, boxes)
        for track, lesion in zip(tracks, lesions, strict=True):
            rank = _rank(track, lesion)
            old = self._summaries.get(track)
            sums = old.probabilities if old else dict.fromkeys(probabilities, 0.0)
            sums = {label: sums[label] + p for label, p in probabilities.items()}
            if old and rank <= old.rank:
                old.probabilities = sums
            else:
                new = _Summary(sums, rank, frame, lesion, picture)
                self._summaries[track] = new
        return tracks

    def finish(self) -> list[Record]:
        """Ends the clip and returns the rows of its lesions, by number.

        Raises:
            OSError: as in `add`.
        """
        self._end(self._tracker.end_all())
        return sorted(self._rows, key=lambda row: row["track"])

    def _end(self, tracks: Sequence[Track]) -> None:
        for track in tracks:
            summary = self._summaries.pop(track)
            if track.number is not None:
                row = _describe(track, summary)
                file = self._write_picture(track.number, summary)
                self._rows.append({"path": self._path, **row, **file})
        while len(self._rows) > MOST_LESIONS:
            row = min(self._rows, key=lambda row: row["frames_seen"])
            self._rows.remove(row)
            self.left_out += 1
            remove_files(list_files(row, self._out), ())

    def _write_picture(self, number: int, summary: _Summary) -> Record:
        if self._target is None:
            return {}
        file = self._target.with_name(f"{self._target.name}_track{number}.png")
        box = summary.lesion["box"]
        write_image(file, draw_numbers(summary.picture(), {number: box}))
        return {"track_file": file.relative_to(self._out).as_posix()}


def _rank(track: Track, lesion: Lesion) -> tuple[bool, bool, bool, float]:
    """The higher, the better the frame."""
    unit, mean = unit_of(lesion), lesion["mean_probability"]
    is_clear = mean >= CLEAR
    size = lesion[f"longest_diameter_{unit}"] if is_clear else mean
    return unit == "mm", track.is_steady, is_clear, size


def _describe(track: Track, summary: _Summary) -> Record:
    lesion, unit = summary.lesion, unit_of(summary.lesion)
    means = {
        label: round(total / track.frames, 6)
        for label, total in summary.probabilities.items()
    }
    names = [f"{name}_diameter_{unit}" for name in ("longest", "perpendicular")]
    return {
        "track": track.number,
        "class": max(means, key=lambda label: means[label], default=None),
        "probabilities": means,
        "frames_seen": track.frames,
        "first_frame": track.first,
        "last_frame": track.last,
        "best_frame": summary.frame,
        **{name: lesion[name] for name in (*names, "mean_probability")},
    }


def write_cines(out: Path, records: Sequence[Record]) -> None:
    """Follows the lesions of the DICOM files of several frames among the records.

    Each entry of `lesions` gets `track`, the lesion's number or None. The best frames
    are written as `<stem>_track<number>.png`, with the overlays written before, and
    the rows as cine.json and cine.csv, if there is such a file or was in an earlier
    run.

    Args:
        out: the folder of predictions.json.
        records: its entries, a file's frames in order.

    Raises:
        OSError: a file cannot be read or written.
    """
    rows = []
    for path, group in groupby(records, lambda record: record["path"]):
        frames = [record for record in group if "lesions" in record]
        if len(frames) > 1 and is_dicom(Path(path)):
            rows += _follow_cine(out, path, frames)
    if rows or (out / CINE_NAME).exists():
        write_cine(out, rows)


def _follow_cine(out: Path, path: str, frames: Sequence[Record]) -> list[Record]:
    overlay = out / frames[0]["overlay_file"]
    stem = re.sub(r"_frame\d+(_\d+)?_overlay\.png$", "", overlay.name)
    cine = Cine(path, overlay.with_name(stem), out)
    return follow_lesions(frames, cine, out)


def follow_lesions(
    frames: Sequence[Record], cine: Cine, out: Path = Path()
) -> list[Record]:
    """Gives each entry of `lesions` its `track`: the lesion's number or None.

    Args:
        frames: records of a clip, in order.
        cine: of the clip.
        out: the folder of the overlays, if `cine` writes pictures.

    Returns:
        The rows of the lesions.

    Raises:
        OSError: a file cannot be read or written.
    """
    tracks = [
        cine.add(
            record["frame"],
            record["lesions"],
            record["probabilities"],
            partial(Image.open, out / record.get("overlay_file", "")),
        )
        for record in frames
    ]
    rows = cine.finish()
    for record, found in zip(frames, tracks, strict=True):
        for lesion, track in zip(record["lesions"], found, strict=True):
            lesion["track"] = track.number
    return rows


def write_cine(out: Path, rows: Sequence[Record], prefix: str = "") -> None:
    """Writes rows of lesions as `<prefix>cine.json` and `<prefix>cine.csv`.

    Rows of an earlier run follow if their pictures are still there.

    Raises:
        OSError: a file cannot be written.
    """
    name = f"{prefix}{CINE_NAME}"
    write_records(out, rows, name)
    write_rows((out / name).with_suffix(".csv"), read_records(out, name))
