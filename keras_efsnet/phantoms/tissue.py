"""Phantom tissue: layers, ligaments, texture and lesions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from keras_efsnet.phantoms.lesions import Lesion
from keras_efsnet.phantoms.space import (
    FloatArray,
    Grid,
    amplitude,
    fibrous,
    noise,
    wave,
)

_SKIN, _FAT, _GLAND, _MUSCLE, _CHEST = range(5)
# Round-trip attenuation of each layer in dB/mm at about 10 MHz.
_ATTENUATION = np.array([1.2, 0.8, 1.0, 1.1, 2.2], np.float32)


@dataclass(frozen=True)
class Tissue:
    """Acoustic maps of the tissue, `(height, width)` each."""

    echo: FloatArray  # strength of the scatterers in dB relative to gland
    mirror: FloatArray  # amplitude reflected by smooth sheets
    loss: FloatArray  # round-trip attenuation in dB/mm


def draw_tissue(rng: Generator, grid: Grid, lesions: list[Lesion]) -> Tissue:
    """Draws the tissue around the lesions."""
    flat = _flat_depth(rng, grid, lesions)
    layers = _layer_map(rng, grid, flat)
    folds = _folds(rng, grid, flat, layers)
    fat = rng.uniform(-11.0, -3.0)
    echo = _layer_echo(rng, grid, flat, layers, fat)
    lobules = (layers == _GLAND) & (folds > rng.uniform(0.9, 2.2))
    echo[lobules] = 0.8 * fat + 0.5 * echo[lobules]
    echo += rng.uniform(2.0, 9.0) * np.exp(-np.square(folds / rng.uniform(0.2, 0.5)))
    shine = np.array([0.0, 1.0, 1.0, rng.uniform(0.15, 0.9), 0.8], np.float32)
    mirror = shine[layers] * _sheets(rng, grid, folds)
    mirror += _skin_lines(rng, grid, layers)
    return Tissue(echo, mirror, _ATTENUATION[layers])


def _flat_depth(rng: Generator, grid: Grid, lesions: list[Lesion]) -> FloatArray:
    """Depth in mm of each pixel's tissue if the layers were flat."""
    tilt = rng.normal(0.0, 0.15) * (grid.x / grid.width - 0.5)
    ripple = 0.03 * wave(rng, grid, rng.uniform(15.0, 40.0))
    flat = grid.z * (1.0 + tilt + ripple)
    for lesion in lesions:
        reach = 0.6 * lesion.shape.half_axes[0]
        pull = np.exp(-np.maximum(lesion.distance, 0.0) / reach)
        flat -= lesion.push * (grid.z - lesion.shape.centre[0]) * pull
    return flat


def _layer_map(rng: Generator, grid: Grid, flat: FloatArray) -> NDArray[np.int8]:
    """Index of the layer at each pixel: skin, fat, gland, muscle, chest wall."""
    skin = rng.uniform(0.8, 2.6)
    fat = skin + rng.uniform(0.03, 0.35) * grid.depth
    gland = fat + rng.uniform(0.15, 0.6) * grid.depth
    muscle = gland + rng.uniform(0.12, 0.4) * grid.depth
    scallops = rng.uniform(0.2, 1.2) * wave(rng, grid, rng.uniform(4.0, 9.0))
    layers = (flat > skin + 0.12 * wave(rng, grid, 6.0)).astype(np.int8)
    layers += flat > np.maximum(fat + scallops, skin + 0.5)
    layers += flat > gland + 0.4 * wave(rng, grid, 10.0)
    layers += flat > muscle + 0.6 * wave(rng, grid, 15.0)
    return layers


def _folds(
    rng: Generator, grid: Grid, flat: FloatArray, layers: NDArray[np.int8]
) -> FloatArray:
    """A field whose zero lines are the ligaments, fascia and muscle fibres."""
    small = fibrous(rng, grid, rng.uniform(1.0, 2.5), rng.uniform(3.5, 9.0))
    large = fibrous(rng, grid, rng.uniform(1.8, 4.5), rng.uniform(7.0, 16.0))
    wander = 2.2 * noise(rng, grid, rng.uniform(2.5, 5.0), rng.uniform(10.0, 30.0))
    wander += 1.5 * noise(rng, grid, 1.6, 60.0)
    fibres = np.sin(rng.uniform(1.0, 2.4) * grid.z + wander)
    deep = grid.z > rng.uniform(0.4, 0.7) * grid.depth
    outside = _follow(grid, flat, np.where(deep, fibres, large))
    return np.where(layers == _GLAND, _follow(grid, flat, small), outside)


def _layer_echo(
    rng: Generator, grid: Grid, flat: FloatArray, layers: NDArray[np.int8], fat: float
) -> FloatArray:
    """Each layer's mean echo and its texture, in dB."""
    skin, muscle = rng.uniform(-8.0, 4.0), rng.uniform(-13.0, -5.0)
    mean = np.array([skin, fat, 0.0, muscle, -16.0], np.float32)
    texture = np.array([1.5, 1.5, rng.uniform(2.0, 4.0), 3.0, 2.5], np.float32)
    streaks = noise(rng, grid, 0.6, 1.4) + noise(rng, grid, 1.4, 4.0)
    echo = mean[layers] + texture[layers] * _follow(grid, flat, streaks)
    return echo + 2.5 * noise(rng, grid, 8.0, 10.0)


def _follow(grid: Grid, flat: FloatArray, field: FloatArray) -> FloatArray:
    """Bends a `field` of flat tissue like the layers."""
    rows = np.clip(flat / np.float32(grid.pitch), 0.0, grid.shape[0] - 1.01)
    above = rows.astype(np.intp)
    index = above * grid.shape[1] + np.arange(grid.shape[1])
    upper = field.ravel().take(index)
    lower = field.ravel().take(index + grid.shape[1])
    return upper + (lower - upper) * (rows - above).astype(np.float32)


def _sheets(rng: Generator, grid: Grid, folds: FloatArray) -> FloatArray:
    """Amplitude of thin sheets at the zero lines of `folds`, brightest face on."""
    along_z, along_x = np.gradient(folds, grid.pitch)
    slope = np.hypot(along_z, along_x) + np.float32(1e-6)
    profile = np.exp(-np.square(folds / (slope * rng.uniform(0.05, 0.16))))
    patchy = noise(rng, grid, 0.7, 2.5) + noise(rng, grid, 3.0, 7.0)
    strength = amplitude(rng.uniform(0.0, 9.0) + 6.0 * patchy)
    return profile * np.square(along_z / slope) * strength


def _skin_lines(rng: Generator, grid: Grid, layers: NDArray[np.int8]) -> FloatArray:
    """Amplitude of the entry echo and of the skin's lower edge."""
    skin = (layers == _SKIN).sum(axis=0, dtype=np.float32) * np.float32(grid.pitch)
    entry = np.exp(-np.square((grid.z - rng.uniform(0.0, 0.4)) / 0.12))
    lower = np.exp(-np.square((grid.z - skin) / 0.12))
    patchy = amplitude(rng.uniform(-6.0, 8.0) + 4.0 * wave(rng, grid, 3.0))
    return amplitude(rng.uniform(-2.0, 12.0)) * entry + patchy * lower


def insert_lesion(rng: Generator, grid: Grid, tissue: Tissue, lesion: Lesion) -> None:
    """Adds one lesion to the maps of `tissue`, in place."""
    distance, half_axes = lesion.distance, lesion.shape.half_axes
    detail = min(half_axes)
    mottle = noise(rng, grid, max(0.5 * detail, 0.8), max(0.8 * detail, 1.2))
    inside = 0.5 - 0.5 * np.tanh(distance / lesion.edge)
    tissue.echo[:] += inside * (lesion.echo + lesion.mottle * mottle - tissue.echo)
    tissue.mirror[:] *= 1.0 - inside
    z, x = grid.z - lesion.shape.centre[0], grid.x - lesion.shape.centre[1]
    facing = np.abs(z) / (np.hypot(z, x) + 1e-3)
    rim = np.exp(-np.square(distance / lesion.rim_width - 1.0))
    tissue.echo[:] += lesion.rim * facing * rim
    tissue.loss[distance < 0] -= lesion.path_gain / (2.0 * half_axes[0])
