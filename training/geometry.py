"""Augments the geometry with flips and warps of a coarse mesh.

Image and mask share the mesh, and each is resampled only once.
"""

import math

import numpy as np
from PIL import Image

from keras_efsnet.training.augmentation import Augmentation

_VIEW = 0.4
"""Largest distance from the centre, in image sizes, of the lesions' middle."""

CELLS = 6
"""Mesh cells along each side: enough for a mild elastic warp, and still fast."""


def move(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, policy: Augmentation
) -> tuple[np.ndarray, np.ndarray]:
    """Flips and warps an image and its mask at random."""
    mirrored = rng.random() < policy.flip_probability
    if mirrored:
        image, mask = image[:, ::-1], mask[:, ::-1]
    if rng.random() >= policy.warp_probability:
        return image, mask
    nodes = _source_nodes(mask, rng, policy)
    return (
        resample(image, nodes, Image.Resampling.BILINEAR),
        resample(mask, nodes, Image.Resampling.NEAREST),
    )


def _source_nodes(
    mask: np.ndarray, rng: np.random.Generator, policy: Augmentation
) -> np.ndarray:
    """Draws the source point of each mesh node, for `resample`."""
    size = np.array(mask.shape[::-1])
    matrix = _source_matrix(rng, policy)
    shift = rng.uniform(-policy.translation, policy.translation, 2) * size
    shift = _keep_in_view(shift, matrix, mask)
    nodes = mesh_nodes(mask.shape) - size / 2
    nodes += rng.normal(0, policy.elastic * size.mean(), nodes.shape)
    return nodes @ matrix.T + size / 2 + shift


def _source_matrix(rng: np.random.Generator, policy: Augmentation) -> np.ndarray:
    """Draws rotation, shear and scale as one 2 x 2 matrix, from target to source."""
    angle = math.radians(rng.uniform(-policy.rotation, policy.rotation))
    cosine, sine = math.cos(angle), math.sin(angle)
    shear_x, shear_y = rng.uniform(-policy.shear, policy.shear, 2)
    scale = _draw_ratio(rng, policy.smallest_scale, policy.largest_scale)
    stretch = _draw_ratio(rng, 1 / policy.stretch, policy.stretch)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    skew = np.array([[1.0, shear_x], [shear_y, 1.0]])
    return turn @ skew @ np.diag([1 / (scale * stretch), stretch / scale])


def _draw_ratio(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _keep_in_view(
    shift: np.ndarray, matrix: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """Limits the shift so that the lesions of the image's class stay in view."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not columns.size:
        return shift
    size = np.array(mask.shape[::-1])
    middle = np.array([columns[0] + columns[-1], rows[0] + rows[-1]]) / 2 - size / 2
    target = np.linalg.solve(matrix, middle - shift)
    return middle - matrix @ target.clip(-_VIEW * size, _VIEW * size)


def mesh_nodes(shape: tuple[int, ...]) -> np.ndarray:
    """Makes the undistorted mesh of an image of `(height, width)`.

    Returns:
        float64 `(CELLS + 1, CELLS + 1, 2)`: each node's (x, y) in pixels, from (0, 0)
        to (width, height).
    """
    rows, columns = (np.linspace(0, side, CELLS + 1).round() for side in shape)
    return np.stack(np.meshgrid(columns, rows), axis=-1)


def resample(
    pixels: np.ndarray, source: np.ndarray, filter_: Image.Resampling
) -> np.ndarray:
    """Warps pixels so that each node of the undistorted mesh shows its source point.

    Source points between nodes are interpolated bilinearly. The left and right borders
    are mirrored; above and below the image it is black.

    Args:
        pixels: uint8 `(height, width)`.
        source: source points in `pixels`, shaped like `mesh_nodes(pixels.shape)`.
        filter_: BILINEAR for an image, NEAREST for a mask.

    Returns:
        uint8 `(height, width)`.
    """
    height, width = pixels.shape
    columns = source[..., 0]
    left = int(np.ceil(-columns.min()).clip(0)) + 1
    right = int(np.ceil(columns.max() - width).clip(0)) + 1
    wide = np.pad(pixels, [(0, 0), (left, right)], mode="symmetric")
    cells = _cells(mesh_nodes(pixels.shape), source + (left, 0))
    moved = Image.fromarray(wide).transform(
        (width, height), Image.Transform.MESH, cells, filter_
    )
    return np.asarray(moved)


def _cells(target: np.ndarray, source: np.ndarray) -> list[tuple]:
    """Makes Pillow's mesh: each cell's box and its source corners NW, SW, SE, NE."""
    boxes = np.concatenate([target[:-1, :-1], target[1:, 1:]], axis=-1).astype(int)
    corners = source[:-1, :-1], source[1:, :-1], source[1:, 1:], source[:-1, 1:]
    quads = np.concatenate(corners, axis=-1)
    pairs = zip(boxes.reshape(-1, 4), quads.reshape(-1, 8), strict=True)
    return [(box.tolist(), quad.tolist()) for box, quad in pairs]
