"""Shape and appearance of phantom lesions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from keras_efsnet.phantoms.space import FloatArray, Grid, noise


@dataclass(frozen=True)
class _Shape:
    """A lesion's shape in mm, all pairs as `(z, x)`."""

    centre: tuple[float, float]
    half_axes: tuple[float, float]
    angle: float  # tilt of the ellipse
    outline: FloatArray  # radius / ellipse's radius at even angles from -pi to pi
    ragged: float  # noise of the border, as a fraction of a small bump


@dataclass(frozen=True)
class Lesion:
    """A lesion's border and appearance; strengths in dB relative to gland.

    `distance` is the approximate distance in mm from the border, negative inside.
    `path_gain` is added to the echoes behind the lesion, below 0 for a shadow. `push`
    is the fraction of its height by which it bends the tissue around it.
    """

    shape: _Shape
    distance: FloatArray
    echo: float
    mottle: float
    edge: float
    rim: float
    rim_width: float
    path_gain: float
    push: float


def draw_lesions(rng: Generator, grid: Grid, label: str) -> list[Lesion]:
    if label == "normal":
        return []
    draw = _benign_lesion if label == "benign" else _malignant_lesion
    return [draw(rng, grid) for _ in range(2 if rng.random() < 0.06 else 1)]


def _benign_lesion(rng: Generator, grid: Grid) -> Lesion:
    """A smooth oval with a thin capsule; one in five is a cyst."""
    cyst = rng.random() < 0.2
    aspect = np.clip(rng.lognormal(np.log(0.58), 0.28), 0.3, 0.95)
    centre, half_axes = _place(rng, grid, rng.lognormal(np.log(0.036), 1.1), aspect)
    outline = 1.0 + _harmonics(rng, range(2, 5), 0.06 if cyst else 0.1)
    shape = _Shape(centre, half_axes, rng.normal(0.0, 0.12), outline, ragged=0.05)
    return Lesion(
        shape,
        _signed_distance(rng, grid, shape),
        echo=rng.uniform(-40.0, -24.0) if cyst else rng.uniform(-19.0, -7.0),
        mottle=0.5 if cyst else rng.uniform(0.5, 3.0),
        edge=rng.uniform(0.08, 0.3),
        rim=rng.uniform(0.0, 10.0),
        rim_width=0.2,
        path_gain=rng.uniform(5.0, 14.0) if cyst else rng.uniform(2.0, 11.0),
        push=rng.uniform(0.2, 0.7),
    )


def _malignant_lesion(rng: Generator, grid: Grid) -> Lesion:
    """An irregular mass, spiculated or microlobulated; most cast a shadow."""
    aspect = np.clip(rng.lognormal(np.log(0.9), 0.35), 0.4, 1.9)
    centre, half_axes = _place(rng, grid, rng.lognormal(np.log(0.085), 0.85), aspect)
    outline = 1.0 + _harmonics(rng, range(2, 12), 0.22)
    outline += _spicules(rng) if rng.random() < 0.5 else _microlobules(rng)
    outline = np.maximum(outline, 0.35)
    ragged = rng.uniform(0.15, 0.6)
    shape = _Shape(centre, half_axes, rng.normal(0.0, 0.3), outline, ragged)
    shadows = rng.random() < 0.6
    return Lesion(
        shape,
        _signed_distance(rng, grid, shape),
        echo=rng.uniform(-20.0, -8.0),
        mottle=rng.uniform(2.0, 5.0),
        edge=rng.uniform(0.05, 0.25) * min(half_axes),
        rim=rng.uniform(0.0, 6.0),
        rim_width=rng.uniform(0.6, 2.0),
        path_gain=rng.uniform(-22.0, -6.0) if shadows else rng.uniform(-5.0, 3.0),
        push=0.0,
    )


def _place(
    rng: Generator, grid: Grid, area: float, aspect: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Centre and half axes of an ellipse that covers `area` of the image."""
    area = np.clip(area, 0.004, 0.6) * grid.depth * grid.width
    half_height = np.sqrt(area * aspect / np.pi)
    half_height = np.clip(half_height, 2.0 * grid.pitch, 0.45 * grid.depth)
    half_width = max(area / (np.pi * half_height), 2.0 * grid.pitch)
    top = min(0.06 * grid.depth + half_height, 0.5 * grid.depth)
    z = top + rng.beta(1.0, 2.4) * max(0.75 * grid.depth - top, 0.0)
    x = np.clip(rng.normal(0.5, 0.15), 0.15, 0.85) * grid.width
    return (float(z), float(x)), (float(half_height), float(half_width))


def _angles() -> FloatArray:
    return np.linspace(-np.pi, np.pi, 721, dtype=np.float32)


def _harmonics(rng: Generator, orders: range, size: float) -> FloatArray:
    """Waves of an outline; finer waves are weaker."""
    waves = np.zeros_like(_angles())
    for order in orders:
        phase = rng.uniform(-np.pi, np.pi)
        waves += rng.normal(0.0, size) / order * np.cos(order * _angles() + phase)
    return waves


def _spicules(rng: Generator) -> FloatArray:
    """Narrow spikes of an outline at random angles."""
    spikes = np.zeros_like(_angles())
    for _ in range(rng.integers(6, 15)):
        turn = np.cos(_angles() - rng.uniform(-np.pi, np.pi)) - 1.0
        spikes += rng.uniform(0.1, 0.45) * np.exp(rng.uniform(40.0, 250.0) * turn)
    return spikes


def _microlobules(rng: Generator) -> FloatArray:
    """Many small bulges of an outline, uneven in width."""
    uneven = _angles() + _harmonics(rng, range(1, 4), 0.3)
    bulges = np.abs(np.sin(int(rng.integers(7, 16)) / 2 * uneven))
    return np.float32(rng.uniform(0.05, 0.12)) * bulges


def _signed_distance(rng: Generator, grid: Grid, shape: _Shape) -> FloatArray:
    z, x = grid.z - shape.centre[0], grid.x - shape.centre[1]
    cosine, sine = math.cos(shape.angle), math.sin(shape.angle)
    v = (cosine * z - sine * x) / shape.half_axes[0]
    u = (sine * z + cosine * x) / shape.half_axes[1]
    radius = np.hypot(u, v)
    turn = (np.arctan2(v, u) + np.pi) * ((shape.outline.size - 1) / (2 * np.pi))
    outline = shape.outline[np.rint(turn).astype(np.intp)]
    # The small terms keep the scale above 0 at the centre.
    scale = (np.hypot(z, x) + 1e-3 * min(shape.half_axes)) / (radius + 1e-3)
    bump = min(*shape.half_axes, 12.0) / 4.0
    ragged = shape.ragged * bump * noise(rng, grid, bump, bump)
    return (radius - outline) * scale + ragged
