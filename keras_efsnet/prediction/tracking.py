"""Numbers that stay with the lesions of a clip from frame to frame.

Each lesion's box is moved on by the lesion's mean motion and paired with the box of the
next frame that fits best, by the distance-IoU: overlap, less the distance of the
centres. Pairs are taken greedily, the best first. An optimal assignment would differ
only where two lesions compete for one box: a frame has few lesions, which move by less
than their size. SciPy, which has one, is not needed to predict.

Reference: Zheng et al. (2020), "Distance-IoU loss", AAAI 34(07), section 3.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from keras_efsnet.images.components import Box

GAP = 10
"""Most frames in a row without a lesion that are bridged; 0.4 s at 25 a second."""

SEEN, SEEN_BESIDE = 3, 10
"""Frames in which a lesion must be seen before it has a number; more of them beside
another lesion, as a mask may fall apart for some frames."""

BESIDE = 0.25
"""Largest distance of such lesions, as a fraction of the other one's longer side."""

LOWEST_SCORE = -0.2
"""Distance-IoU of two equal boxes side by side."""

COVERED = 0.5
"""Smallest part of a missing lesion's box in another lesion's box that tells that both
have become one component, as when lesions cross."""

JUMP = 1.4
"""A box whose area grows or shrinks more from one frame to the next says nothing of the
motion: a part of the lesion is lost, or it is one component with something else."""

LONGEST_JUMP, LONGEST_COVER = 5, 3 * GAP
"""Frames after which such a box is the lesion's: of one alone, and of lesions that have
become one component."""

SLOWEST = 0.2
"""Weight of the newest motion in the mean motion, after the first frames."""


@dataclass(eq=False)
class Track:
    """One lesion of a clip.

    Attributes:
        number: from 1, in the order in which lesions were found; None until the lesion
            was seen often enough.
        frames: number of frames in which it was seen.
        first, last: the first and last of these.
        is_steady: whether its box in the last frame fits those before; not if it is one
            component with another lesion.
    """

    number: int | None = None
    frames: int = 0
    first: int = 0
    last: int = 0
    is_steady: bool = True
    _box: np.ndarray = field(default_factory=lambda: np.zeros(4))
    _box_frame: int = 0
    _velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    _present: int = 0  # the last frame in which it was seen or covered
    _is_joined: bool = False  # with another lesion, in a frame after that of the box

    def predict(self, frame: int) -> np.ndarray:
        """Returns the box, float `(4,)`, moved on to a frame."""
        return self._box + np.tile(self._velocity, 2) * (frame - self._box_frame)

    def score(self, frame: int, boxes: np.ndarray) -> np.ndarray:
        """Distance-IoU with each box, if the lesion moved on or if it stopped."""
        moved = _distance_iou(self.predict(frame), boxes)
        if self._is_joined:  # it may have moved on unseen
            return moved
        return np.maximum(moved, _distance_iou(self._box, boxes))

    def see(self, frame: int, box: np.ndarray, is_covering: bool) -> None:
        """Takes the lesion's box in a frame.

        Args:
            frame: the frame's number.
            box: float `(4,)`.
            is_covering: whether another lesion is missing where the box is.
        """
        self.last = self._present = frame
        self.frames += 1
        self._is_joined |= is_covering
        if self.frames == 1:
            self.first = frame
        else:
            jump = abs(math.log(_area(box) / _area(self._box)))
            age = frame - self._box_frame
            longest = LONGEST_COVER if self._is_joined else LONGEST_JUMP
            self.is_steady = jump <= math.log(JUMP) or age > longest
            if not self.is_steady:
                return
            motion = (_centre(box) - _centre(self._box)) / age
            weight = max(1 / self.frames, SLOWEST)
            self._velocity = self._velocity + weight * (motion - self._velocity)
        self._box, self._box_frame, self._is_joined = box, frame, False

    def cover(self, frame: int) -> None:
        """Notes that another lesion's component holds the lesion."""
        self._present, self._is_joined = frame, True

    def has_left(self, frame: int) -> bool:
        """Whether the lesion is missing for too long."""
        is_lost = frame - self._present > GAP + 1
        return is_lost or frame - self.last > LONGEST_COVER


class Tracker:
    """Numbers the lesions of one clip; equal boxes give equal numbers."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self._count = 0

    def end_tracks(self, frame: int) -> list[Track]:
        """Forgets the lesions that have left before a frame, and returns them."""
        left = [track for track in self.tracks if track.has_left(frame)]
        self.tracks = [track for track in self.tracks if not track.has_left(frame)]
        return left

    def end_all(self) -> list[Track]:
        """Forgets all lesions, and returns them."""
        left, self.tracks = self.tracks, []
        return left

    def update(self, frame: int, boxes: Sequence[Box]) -> list[Track]:
        """Finds the track of each box.

        A track may get its number in a later frame.

        Args:
            frame: number of the frame, higher than the last one's; numbers that are
                left out count as frames without a lesion.
            boxes: `(left, top, right, bottom)` of the lesions.
        """
        edges = np.array(boxes, float).reshape(-1, 4)
        pairs = self._pair(frame, edges)
        covering = self._cover(frame, edges, pairs)
        found = []
        for index, box in enumerate(edges):
            track = pairs.get(index)
            if track is None:
                track = Track()
                self.tracks.append(track)
            track.see(frame, box, index in covering)
            found.append(track)
        for track in found:
            if track.number is None and track.frames >= self._needed(track, frame):
                self._count += 1
                track.number = self._count
        return found

    def _pair(self, frame: int, edges: np.ndarray) -> dict[int, Track]:
        """The track of each box that has one, numbered tracks first."""
        scores = [track.score(frame, edges) for track in self.tracks]
        table = np.array(scores).reshape(len(scores), len(edges))
        rows, columns = np.nonzero(table > LOWEST_SCORE)
        new = np.array([track.number is None for track in self.tracks], bool)
        order = np.lexsort((columns, rows, -table[rows, columns], new[rows]))
        pairs: dict[int, Track] = {}
        taken: set[int] = set()
        for row, column in np.stack([rows, columns], axis=1)[order].tolist():
            if row not in taken and column not in pairs:
                pairs[column] = self.tracks[row]
                taken.add(row)
        return pairs

    def _cover(
        self, frame: int, edges: np.ndarray, pairs: dict[int, Track]
    ) -> set[int]:
        """Finds missing lesions in others' boxes; returns these boxes' indices."""
        covering = set()
        found = set(pairs.values())
        missing = [track for track in self._numbered() if track not in found]
        numbered = [i for i, track in pairs.items() if track.number is not None]
        for track in missing:
            box = track.predict(frame)
            for index in numbered:
                if _overlap(box, edges[index]) >= COVERED * _area(box):
                    track.cover(frame)
                    covering.add(index)
        return covering

    def _needed(self, track: Track, frame: int) -> int:
        """Frames in which a lesion must be seen before it has a number."""
        box = track.predict(frame)
        beside = any(
            _distance(box, (theirs := other.predict(frame)))
            <= BESIDE * (theirs[2:] - theirs[:2]).max()
            for other in self._numbered()
        )
        return SEEN_BESIDE if beside else SEEN

    def _numbered(self) -> list[Track]:
        return [track for track in self.tracks if track.number is not None]


def _centre(box: np.ndarray) -> np.ndarray:
    return (box[..., :2] + box[..., 2:]) / 2


def _area(box: np.ndarray) -> np.ndarray:
    return np.prod(box[..., 2:] - box[..., :2], axis=-1)


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Area that is in both boxes."""
    start = np.maximum(box[:2], boxes[..., :2])
    end = np.minimum(box[2:], boxes[..., 2:])
    return np.prod((end - start).clip(0), axis=-1)


def _distance(box: np.ndarray, other: np.ndarray) -> float:
    """Distance between two boxes' sides; 0 if they overlap."""
    apart = np.maximum(box[:2] - other[2:], other[:2] - box[2:])
    return float(apart.max().clip(0))


def _distance_iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Distance-IoU of a box with each of `(n, 4)` others, in (-1, 1]."""
    both = _overlap(box, boxes)
    iou = both / (_area(box) + _area(boxes) - both)
    start = np.minimum(box[:2], boxes[:, :2])
    end = np.maximum(box[2:], boxes[:, 2:])
    distance = np.square(_centre(box) - _centre(boxes)).sum(axis=1)
    return iou - distance / np.square(end - start).sum(axis=1)
