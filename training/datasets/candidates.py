"""Which images may show the same scan: one vector an image, and the nearest ones.

An image's features are assigned to the centres of all images' features; the sum of
what they differ from their centre by, centre after centre, is the image's vector
(VLAD). Two images are alike as the product of their vectors is large. Three sets of
centres, learnt from other features each, find more than one. All but this product, of
a few seconds for 4,000 images, takes time in proportion to the number of images.

Reference: Jegou et al., PAMI 34(9), 2012 (VLAD); Arandjelovic and Zisserman, CVPR 2013
(each centre's part of length 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_efsnet.training.datasets.scans import Scan, root_features

CENTRES = 128
VOCABULARIES = 3
DIMENSIONS = 64
"""Principal components of the features that are kept."""

CANDIDATES = 8
"""The images most like each image, which are compared with it."""

_SEEN = 20_000
"""Features, drawn from all images, from which components and centres are learnt."""

_ROUNDS = 10
_ROWS = 256
"""Images that are multiplied with all others at a time."""


@dataclass(frozen=True)
class Vocabulary:
    """What turns features into a vector.

    Attributes:
        mean: float32 `(128,)`.
        axes: float32 `(128, dimensions)`, the principal components.
        centres: float32 `(centres, dimensions)`.
    """

    mean: np.ndarray
    axes: np.ndarray
    centres: np.ndarray


def learn_vocabulary(scans: Sequence[Scan], seed: int = 0) -> Vocabulary:
    """Learns components and centres (k-means) from some features of each image.

    Args:
        scans: the images; at least one has a feature.
        seed: of the features that are drawn.
    """
    rng = np.random.default_rng(seed)
    each = -(-_SEEN // len(scans))
    drawn = [rng.permutation(scan.features)[:each] for scan in scans]
    seen = root_features(np.concatenate(drawn))
    mean = seen.mean(axis=0)
    spread = (seen - mean).T @ (seen - mean)
    axes = np.linalg.eigh(spread).eigenvectors[:, -DIMENSIONS:]
    points = (seen - mean) @ axes
    centres = rng.permutation(points)[:CENTRES]
    for _ in range(_ROUNDS):
        members = _membership(points, centres)
        counts = members.sum(axis=0)
        means = members.T @ points / np.maximum(counts, 1)[:, None]
        centres = np.where(counts[:, None] > 0, means, centres)
    return Vocabulary(mean, axes, centres)


def make_vector(scan: Scan, vocabulary: Vocabulary) -> np.ndarray:
    """Gives an image's vector, float32 of length 1; zeros for one without features."""
    points = (root_features(scan.features) - vocabulary.mean) @ vocabulary.axes
    members = _membership(points, vocabulary.centres)
    sums = members.T @ points - members.sum(axis=0)[:, None] * vocabulary.centres
    parts = _unit(sums).ravel()
    return _unit(parts[None])[0]


def add_products(alike: np.ndarray, vectors: np.ndarray) -> None:
    """Adds to `alike`, float32 `(n, n)`, how alike the images are by their vectors."""
    for start in range(0, len(vectors), _ROWS):
        rows = slice(start, start + _ROWS)
        alike[rows] += vectors[rows] @ vectors.T


def nearest_pairs(alike: np.ndarray) -> list[tuple[int, int]]:
    """Pairs each image with those most like it.

    Args:
        alike: float32 `(n, n)`; its diagonal is changed.

    Returns:
        Positions of two images, the smaller one first; sorted.
    """
    np.fill_diagonal(alike, -np.inf)
    count = min(CANDIDATES, len(alike) - 1)
    pairs = set()
    for one, row in enumerate(alike):
        for other in np.argsort(-row, kind="stable")[:count].tolist():
            pairs.add((min(one, other), max(one, other)))
    return sorted(pairs)


def _membership(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """float32 `(points, centres)`, 1 at each point's nearest centre."""
    near = 2 * points @ centres.T - (centres**2).sum(axis=1)
    members = np.zeros(near.shape, np.float32)
    members[np.arange(len(points)), near.argmax(axis=1)] = 1
    return members


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-9)
