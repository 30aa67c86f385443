"""Whether two images show the same scan: their features, and their speckle.

Copies share their speckle, which no two scans do, however an image was cropped, resized
or marked afterwards. One image is laid on the other by matching SIFT features; where
both show tissue their speckle is correlated.

Reference: Lowe, IJCV 60(2), 2004 (SIFT, ratio test); Arandjelovic and Zisserman, CVPR
2012 (RootSIFT).
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from keras_efsnet.extras import import_opencv

cv2 = import_opencv("train")

LONGER_SIDE = 400
"""Pixels; larger images are shrunk to it, to compare their speckle."""

FEATURE_SIDE = 150
"""Pixels; features are looked for in an image of this size, which SIFT doubles again: a
third less time in all than with 200, and as many pairs found."""

FEATURES = 300
"""An image's most marked points."""

RATIO = 0.85
"""A match's distance, at most, as a part of that to the second most similar feature."""

TOLERANCE = 4.0
"""Pixels that a match may lie off its place after the turn, scaling and shift."""

MATCHES = 6
"""That must lie in their places, at least; two always do."""

ROUNDS = 500
"""Times that two matches are drawn to lay one image on the other (RANSAC): of copies a
third of the matches or more lie in their places, so a tenth of the pairs drawn fit."""

SPREAD = 0.025
"""Of the longer side, the least standard deviation of the matches' places across the
line along which they lie most: those on a line of text alone prove nothing."""

LARGEST_SCALE = 3.0
"""Times that one image may be larger than the other: beyond, too little is left."""

OVERLAP = 0.5
"""Of the smaller image, the least that both show."""

SPECKLE = (1.0, 8.0)
"""Pixels: speckle lies between these two Gaussians' standard deviations."""

BLOCK = 40
"""Pixels: correlation is the median over such blocks, so that marks burned into some of
them do not count."""


@dataclass(frozen=True)
class Scan:
    """An image shrunk to `LONGER_SIDE`, and its features.

    Attributes:
        grey: uint8 `(height, width)`.
        points: float32 `(n, 2)`, x and y in `grey`.
        features: uint8 `(n, 128)`, SIFT; see `root_features`.
        digest: of the whole image's pixels.
    """

    grey: np.ndarray
    points: np.ndarray
    features: np.ndarray
    digest: bytes


def describe(grey: np.ndarray) -> Scan:
    """Shrinks an image, uint8 `(height, width)`, and finds its features."""
    digest = hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).digest()
    grey = _shrink(grey, LONGER_SIDE)
    small = _shrink(grey, FEATURE_SIDE)
    # Half of OpenCV's threshold: much of an ultrasound image is dark and flat.
    sift = cv2.SIFT_create(nfeatures=FEATURES, contrastThreshold=0.02)
    found, features = sift.detectAndCompute(small, None)
    if not found:
        features = np.zeros((0, 128))
    factor = max(grey.shape) / max(small.shape)
    points = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
    points = (points + 0.5) * np.float32(factor) - np.float32(0.5)
    return Scan(grey, points, features.astype(np.uint8), digest)


def root_features(features: np.ndarray) -> np.ndarray:
    """Turns SIFT, uint8 `(n, 128)`, into RootSIFT, float32 of length 1."""
    features = features.astype(np.float32)
    return np.sqrt(features / np.maximum(features.sum(axis=1, keepdims=True), 1e-6))


def correlate(one: Scan, other: Scan) -> float:
    """Correlates two images' speckle where they overlap, after laying one on the other.

    Returns:
        1 for copies, near 0 for different scans or where they cannot be laid on
        each other.
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
    # Without the edge, where the filters see what lies outside.
    shown = (cv2.erode(shown, np.ones((9, 9))) > 0.99).astype(np.float32)
    if shown.sum() < OVERLAP * min(other.grey.size, one.grey.size * scale**2):
        return 0.0
    return _block_correlation(_speckle(moved), _speckle(other.grey), shown)


def _shrink(grey: np.ndarray, longer_side: int) -> np.ndarray:
    factor = min(1.0, longer_side / max(grey.shape))
    height, width = (max(round(side * factor), 1) for side in grey.shape)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)


def _align(one: Scan, other: Scan) -> np.ndarray | None:
    """The turn, scaling and shift, 2 x 3, that lays one image on the other."""
    if min(len(one.points), len(other.points)) < MATCHES:
        return None
    alike = root_features(one.features) @ root_features(other.features).T
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
        start, end, ransacReprojThreshold=TOLERANCE, maxIters=ROUNDS
    )
    if matrix is None or fitting.sum() < MATCHES:
        return None
    fits = fitting.ravel() > 0
    spread = max(_spread(start[fits], one.grey), _spread(end[fits], other.grey))
    return matrix if spread >= SPREAD else None


def _spread(points: np.ndarray, grey: np.ndarray) -> float:
    narrowest = np.linalg.eigvalsh(np.cov(points.T))[0]
    return float(np.sqrt(max(narrowest, 0)) / max(grey.shape))


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
