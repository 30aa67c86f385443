"""A grid in mm and smooth random fields on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """Pixel centres in mm: depth `z` `(height, 1)`, lateral `x` `(1, width)`."""

    z: FloatArray
    x: FloatArray
    pitch: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.z.shape[0], self.x.shape[1]

    @property
    def depth(self) -> float:
        return self.shape[0] * self.pitch

    @property
    def width(self) -> float:
        return self.shape[1] * self.pitch


def draw_grid(rng: Generator, size: tuple[int, int]) -> Grid:
    height, width = size
    pitch = rng.uniform(32.0, 58.0) / height
    z = (np.arange(height, dtype=np.float32)[:, None] + 0.5) * np.float32(pitch)
    x = (np.arange(width, dtype=np.float32)[None, :] + 0.5) * np.float32(pitch)
    return Grid(z, x, pitch)


def noise(rng: Generator, grid: Grid, height: float, width: float) -> FloatArray:
    """Smooth noise of about unit variance, with details of height x width mm."""
    rows, columns = 2.0 * grid.depth / height, 2.0 * grid.width / width
    knots = rng.standard_normal((int(rows) + 7, int(columns) + 7), np.float32)
    for _ in range(2):
        # This blur hides the lattice of the knots.
        near, far = knots[1:-3] + knots[3:-1], knots[:-4] + knots[4:]
        knots = ((6.0 * knots[2:-2] + 4.0 * near + far) / np.sqrt(np.float32(70.0))).T
    box = (1.0, 1.0, 1.0 + columns, 1.0 + rows)
    size = grid.shape[1], grid.shape[0]
    smooth = Image.fromarray(np.ascontiguousarray(knots))
    return np.asarray(smooth.resize(size, Image.Resampling.BICUBIC, box))


def wave(rng: Generator, grid: Grid, width: float) -> FloatArray:
    """One row of smooth noise along x, `(1, width)`."""
    row = Grid(grid.z[:1], grid.x, grid.pitch)
    return noise(rng, row, 1e3 * grid.pitch, width)


def fibrous(rng: Generator, grid: Grid, height: float, width: float) -> FloatArray:
    """Noise with finer ripples, for irregular level lines."""
    coarse = noise(rng, grid, height, width)
    return coarse + 0.35 * noise(rng, grid, height / 2.3, width / 3.1)


def amplitude(decibels: FloatArray | float) -> FloatArray:
    return np.exp(decibels * np.float32(np.log(10.0) / 20.0))
