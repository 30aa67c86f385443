"""Warping an array of pixels through a coarse mesh, in one resampling."""

import numpy as np
from PIL import Image

CELLS = 6
"""Mesh cells along each side: enough for a mild elastic warp, and still cheap."""


def mesh_nodes(shape: tuple[int, ...]) -> np.ndarray:
    """The mesh at rest on an image of `(height, width)`.

    Returns:
        float64 `(CELLS + 1, CELLS + 1, 2)`: each node's (x, y) in pixels, the image's
        first corner at (0, 0) and its last at (width, height).
    """
    rows, columns = (np.linspace(0, side, CELLS + 1).round() for side in shape)
    return np.stack(np.meshgrid(columns, rows), axis=-1)


def resample(
    pixels: np.ndarray, source: np.ndarray, filter_: Image.Resampling
) -> np.ndarray:
    """Moves pixels so that each node of the mesh at rest shows its source point.

    Between nodes, source points are interpolated bilinearly. Tissue goes on sideways,
    mirrored at the border; above the probe and below the deepest echo it is black.

    Args:
        pixels: uint8 `(height, width)`.
        source: like `mesh_nodes(pixels.shape)`: where in `pixels` each node is read.
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
    """Pillow's mesh: for each cell its box, and the corners NW, SW, SE, NE it shows."""
    boxes = np.concatenate([target[:-1, :-1], target[1:, 1:]], axis=-1).astype(int)
    corners = source[:-1, :-1], source[1:, :-1], source[1:, 1:], source[:-1, 1:]
    quads = np.concatenate(corners, axis=-1)
    pairs = zip(boxes.reshape(-1, 4), quads.reshape(-1, 8), strict=True)
    return [(box.tolist(), quad.tolist()) for box, quad in pairs]
