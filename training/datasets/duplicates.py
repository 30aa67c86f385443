"""Finds images of the same scan: copies that were cropped, resized or annotated.

Copies have the same speckle; different scans do not. Images with unusually similar SIFT
features are candidate pairs. A pair is verified by aligning its images and correlating
their speckle.

Reference: Lowe, IJCV 60(2), 2004 (SIFT, ratio test); Arandjelovic and Zisserman, CVPR
2012 (RootSIFT).
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from keras_efsnet.extras import import_opencv
from keras_efsnet.images.reading import read_image

cv2 = import_opencv("train")

LONGER_SIDE = 400
"""Pixels; larger images are shrunk to this size."""

FEATURES = 400
"""Features of an image, the strongest ones."""

EVERY = 3
"""Only every third feature is used to find candidates, for speed."""

DIMENSIONS = 32
"""Principal components of the features that are used to find candidates."""

RARE = 0.6
"""A feature votes for an image if the distance to that image's nearest feature is less
than this fraction of the mean over all images."""

CANDIDATES = 5
"""Each image is compared with so many images, those with the most votes."""

RATIO = 0.85
"""Largest ratio of a match's distance to the distance of the second nearest feature."""

TOLERANCE = 4.0
"""Largest error of a match in pixels after alignment."""

MATCHES = 6
"""Least number of aligned matches; two can always be aligned."""

LARGEST_SCALE = 3.0
"""Largest ratio of the two images' scales; beyond it, too little detail is left."""

OVERLAP = 0.5
"""Least overlap, as a fraction of the smaller image."""

SPECKLE = (1.0, 8.0)
"""Speckle is the difference of Gaussians with these standard deviations in pixels."""

BLOCK = 40
"""Pixels; the median correlation of blocks of this size ignores burned-in marks."""

SAME_SCAN = 0.25
"""Least correlation of two images of one scan; see docs/reliability.md."""

Progress = Callable[[int, int], None]
"""Called with the number of finished steps and of all steps."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Scan:
    """An image shrunk to `LONGER_SIDE`, and its features.

    Attributes:
        grey: uint8 `(height, width)`.
        points: float32 `(n, 2)`, x and y in `grey`.
        features: float32 `(n, 128)`, of length 1.
        digest: hash of the original image's pixels.
    """

    grey: np.ndarray
    points: np.ndarray
    features: np.ndarray
    digest: bytes


def find_duplicates(
    images: Sequence[Path], progress: Progress = lambda done, total: None
) -> list[list[int]]:
    """Finds the images that show the same scan, including exact copies.

    Time grows with the square of the number of images.

    Returns:
        Disjoint groups of two or more positions in `images`, each in order.

    Raises:
        OSError, ValueError: an image cannot be read, or OpenCV is not installed.
    """
    count = len(images)
    with threadpool_limits(1), ThreadPoolExecutor() as pool:

        def run(part: int, work: Callable[..., _T], items: Sequence) -> Iterator[_T]:
            for number, result in enumerate(pool.map(work, items), start=1):
                progress(part * count + number * count // len(items), 3 * count)
                yield result

        scans = list(run(0, _read_scan, images))
        positions = range(count)
        votes = list(run(1, _Voters(scans).vote, positions)) if count else []
        pairs = _candidates(votes)
        verified = list(run(2, lambda pair: _same_scan(scans, *pair), pairs))
    links = [pair for pair, same in zip(pairs, verified, strict=True) if same]
    return _components(links + _exact_copies(scans), count)


def correlate(one: Scan, other: Scan) -> float:
    """Aligns two images and correlates their speckle where they overlap.

    Returns:
        1 for copies, near 0 for different scans, 0 if they cannot be aligned.
    """
    matrix = _align(one, other)
    if matrix is None:
        return 0.0
    height, width = other.grey.shape
    scale = np.sqrt(np.linalg.det(matrix[:, :2]))
    if not 1 / LARGEST_SCALE < scale < LARGEST_SCALE:
        return 0.0
    moved = cv2.warpAffine(one.grey, matrix, (width, height))
    shown = cv2.warpAffine(np.ones(one.grey.shape, np.float32), matrix, (width, height))
    # Without the edge, where the filters see pixels from outside.
    shown = (cv2.erode(shown, np.ones((9, 9))) > 0.99).astype(np.float32)
    if shown.sum() < OVERLAP * min(other.grey.size, one.grey.size * scale**2):
        return 0.0
    return _block_correlation(_speckle(moved), _speckle(other.grey), shown)


def describe(grey: np.ndarray) -> Scan:
    """Shrinks an image, uint8 `(height, width)`, and finds its features."""
    digest = hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).digest()
    factor = min(1.0, LONGER_SIDE / max(grey.shape))
    height, width = (max(round(side * factor), 1) for side in grey.shape)
    grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    # Half of OpenCV's threshold, because ultrasound images are often dark and flat.
    sift = cv2.SIFT_create(nfeatures=FEATURES, contrastThreshold=0.02)
    found, features = sift.detectAndCompute(grey, None)
    if not found:
        features = np.zeros((0, 128), np.float32)
    sums = np.maximum(features.sum(axis=1, keepdims=True), 1e-6)
    points = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
    return Scan(grey, points, np.sqrt(features / sums), digest)


class _Voters:
    """Features of all images, to find images with similar ones."""

    def __init__(self, scans: Sequence[Scan]) -> None:
        # An image without features gets one that matches nothing.
        nothing = np.full((1, 128), -1, np.float32)
        voters = [s.features[::EVERY] if len(s.features) else nothing for s in scans]
        self._ends = np.cumsum([len(features) for features in voters])
        self._starts = np.append(0, self._ends[:-1])
        features = np.concatenate(voters)
        features -= features.mean(axis=0)
        axes = np.linalg.eigh(features.T @ features).eigenvectors[:, -DIMENSIONS:]
        self._features = features @ axes
        self._squares = (self._features**2).sum(axis=1)

    def vote(self, position: int) -> np.ndarray:
        """Counts the votes of one image's features for each image."""
        own = slice(self._starts[position], self._ends[position])
        near = 2 * self._features[own] @ self._features.T - self._squares
        nearest = np.maximum.reduceat(near, self._starts, axis=1)
        distance = np.sqrt(np.maximum(self._squares[own, None] - nearest, 0))
        rare = distance < RARE * distance.mean(axis=1, keepdims=True)
        return rare.sum(axis=0)


def _read_scan(path: Path) -> Scan:
    return describe(read_image(path))


def _candidates(votes: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    if not votes:
        return []
    both_ways = np.stack(votes) + np.stack(votes).T
    np.fill_diagonal(both_ways, -1)
    order = np.argsort(-both_ways, axis=1, kind="stable")[:, :CANDIDATES]
    pairs = {
        (min(one, other), max(one, other))
        for one, others in enumerate(order.tolist())
        for other in others
        if one != other
    }
    return sorted(pairs)


def _same_scan(scans: Sequence[Scan], one: int, other: int) -> bool:
    return correlate(scans[one], scans[other]) >= SAME_SCAN


def _align(one: Scan, other: Scan) -> np.ndarray | None:
    """Estimates rotation, scale and shift from one image to the other, 2 x 3."""
    if min(len(one.points), len(other.points)) < MATCHES:
        return None
    alike = one.features @ other.features.T
    rows = np.arange(len(alike))
    nearest = alike.argmax(axis=1)
    mutual = alike.argmax(axis=0)[nearest] == rows
    first = alike[rows, nearest]
    alike[rows, nearest] = -1
    # Squared distances of unit vectors are twice these differences.
    distinct = 1 - first < RATIO**2 * (1 - alike.max(axis=1))
    kept = mutual & distinct
    if kept.sum() < MATCHES:
        return None
    start, end = one.points[kept], other.points[nearest[kept]]
    matrix, fitting = cv2.estimateAffinePartial2D(
        start, end, ransacReprojThreshold=TOLERANCE
    )
    return None if matrix is None or fitting.sum() < MATCHES else matrix


def _speckle(grey: np.ndarray) -> np.ndarray:
    fine, coarse = (cv2.GaussianBlur(np.float32(grey), (0, 0), s) for s in SPECKLE)
    return fine - coarse


def _block_correlation(one: np.ndarray, other: np.ndarray, shown: np.ndarray) -> float:
    height, width = shown.shape
    grid = (max(width // BLOCK, 1), max(height // BLOCK, 1))

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.resize(values * shown, grid, interpolation=cv2.INTER_AREA)

    power = np.stack([mean(one * one), mean(other * other)])
    # Blocks that both images show, and in which neither is flat.
    used = (mean(shown) > 0.5) & (power.min(axis=0) > 1)
    if not used.any():
        return 0.0
    blocks = mean(one * other)[used] / np.sqrt(power.prod(axis=0)[used])
    return float(np.median(blocks))


def _exact_copies(scans: Iterable[Scan]) -> list[tuple[int, int]]:
    first: dict[bytes, int] = {}
    return [
        (first.setdefault(scan.digest, position), position)
        for position, scan in enumerate(scans)
    ]


def _components(links: Sequence[tuple[int, int]], count: int) -> list[list[int]]:
    if not count:
        return []
    rows, columns = np.array(links).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    groups: dict[int, list[int]] = {}
    for position, label in enumerate(labels.tolist()):
        groups.setdefault(label, []).append(position)
    return [group for group in groups.values() if len(group) > 1]
