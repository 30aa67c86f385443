"""Simulated scanner: gain, attenuation, beam, detection and grey map."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from keras_efsnet.phantoms.space import FloatArray, Grid, amplitude, wave
from keras_efsnet.phantoms.tissue import Tissue

_LINE_SPACING = 0.15  # mm between scan lines


def time_gain(rng: Generator, grid: Grid, loss: FloatArray) -> FloatArray:
    """Gain in dB by depth: the mean loss, usually with too little gain deep down."""
    mean = np.cumsum(loss.mean(axis=1, keepdims=True), axis=0) * np.float32(grid.pitch)
    return mean + rng.normal(-14.0, 8.0) * np.square(grid.z / grid.depth)


def path_loss(grid: Grid, loss: FloatArray) -> FloatArray:
    """Round-trip loss in dB down to each pixel; shadows get soft edges."""
    total = np.cumsum(loss, axis=0, dtype=np.float32) * np.float32(grid.pitch)
    narrow = max(2, int(grid.width / 1.4)), grid.shape[0]
    small = Image.fromarray(total).resize(narrow, Image.Resampling.BOX)
    return _resize(np.asarray(small), grid.shape[1])


def column_shadows(rng: Generator, grid: Grid) -> FloatArray:
    """Loss in dB behind steep ligaments and where the probe lifts off the skin."""
    total = np.repeat(wave(rng, grid, 5.0), grid.shape[0], axis=0)
    for _ in range(rng.poisson(1.2)):
        centre = rng.uniform(0.0, grid.width) + rng.normal(0.0, 0.1) * grid.z
        half_width = rng.uniform(0.8, 4.0) * (1.0 + 0.5 * grid.z / grid.depth)
        start = rng.uniform(0.0, 0.5) * grid.depth
        onset = np.clip((grid.z - start) / rng.uniform(2.0, 8.0), 0.0, 1.0)
        profile = np.exp(-np.square((grid.x - centre) / half_width))
        total += rng.uniform(2.0, 9.0) * onset * profile
    return total


def scan(rng: Generator, grid: Grid, tissue: Tissue, shade: FloatArray) -> FloatArray:
    """Received echoes in dB with electronic noise, `(height, width)`.

    The beam is simulated on scan lines and interpolated to pixels, as in a scanner.
    """
    lines = min(grid.shape[1], round(grid.width / _LINE_SPACING))
    shade = _resize(shade, lines)
    floor = amplitude(rng.uniform(-45.0, -28.0) + 8.0 * grid.z / grid.depth)
    scatter = np.hypot(amplitude(_resize(tissue.echo, lines) + shade), floor)
    mirror = amplitude(shade) * _resize(tissue.mirror, lines)
    axial = rng.uniform(0.07, 0.12) / grid.pitch
    off_focus = grid.z / grid.depth - rng.uniform(0.3, 0.7)
    spread = 1.0 + np.square(off_focus / 0.8)
    lateral = rng.uniform(0.15, 0.26) * lines / grid.width * spread
    looks = int(rng.integers(3, 5))
    power = _soften(envelope(rng, scatter, mirror, axial, lateral, looks))
    return _resize(20.0 * np.log10(power + np.float32(1e-6)), grid.shape[1])


def envelope(
    rng: Generator,
    scatter: FloatArray,
    mirror: FloatArray,
    axial: float,
    lateral: FloatArray,
    looks: int,
) -> FloatArray:
    """Blurs random scatterers with the beam and returns the envelope, `(rows, lines)`.

    One look at uniform scatterers is Rayleigh-distributed with the mean power
    `scatter**2`.

    Args:
        scatter: `(rows, lines)` amplitude of the scatterers.
        mirror: `(rows, lines)` amplitude of the echoes that are equal in each look.
        axial: standard deviation of the Gaussian pulse in rows.
        lateral: `(rows, 1)` standard deviation of the Gaussian beam in lines.
        looks: independent views averaged in power, as in spatial compounding.
    """
    margins = _margin(len(scatter), axial), _margin(scatter.shape[1], lateral.max())
    scatter, mirror = np.pad(scatter, margins, "edge"), np.pad(mirror, margins, "edge")
    pulse = _transfer(axial, scatter.shape[0]).T
    beam = _transfer(np.pad(lateral, (margins[0], (0, 0)), "edge"), scatter.shape[1])
    power = np.mean(np.square(pulse)) * np.mean(np.square(beam), axis=1, keepdims=True)
    scatter = scatter / np.sqrt(2.0 * power)
    total = np.zeros_like(scatter)
    for _ in range(looks):
        normal = rng.standard_normal((len(scatter), 2 * scatter.shape[1]), np.float32)
        field: NDArray[Any] = scatter * normal.view(np.complex64) + mirror
        field = np.fft.ifft(np.fft.fft(field, axis=0) * pulse, axis=0)
        field = np.fft.ifft(np.fft.fft(field, axis=1) * beam, axis=1)
        total += np.square(field.real) + np.square(field.imag)
    (top, bottom), (left, right) = margins
    return np.sqrt(total[top:-bottom, left:-right] / looks)


def _margin(length: int, sigma: float) -> tuple[int, int]:
    """Padding before and after, against wrap-around and for a fast FFT."""
    before = int(np.ceil(3.0 * sigma)) + 1
    total = -(-(length + 2 * before) // 16) * 16
    return before, total - length - before


def _transfer(sigma: float | FloatArray, length: int) -> FloatArray:
    """Transfer function of a Gaussian blur along rows, `(1 or rows, length)`."""
    frequency = np.fft.fftfreq(length).astype(np.float32)[None, :]
    return np.exp(-2.0 * np.square(np.float32(np.pi) * sigma * frequency))


def _soften(envelope: FloatArray) -> FloatArray:
    """Averages neighbours along each axis, like a scanner's speckle reduction."""
    for _ in range(2):
        padded = np.pad(envelope, ((1, 1), (0, 0)), "edge")
        envelope = (0.25 * (padded[:-2] + padded[2:]) + 0.5 * envelope).T
    return np.ascontiguousarray(envelope)


def _resize(values: FloatArray, columns: int) -> FloatArray:
    """Resamples the rows to another number of columns."""
    size = columns, values.shape[0]
    image = Image.fromarray(values.astype(np.float32, copy=False))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def compress(rng: Generator, decibels: FloatArray) -> NDArray[np.uint8]:
    """8-bit grey levels with a random gain, dynamic range and grey map."""
    dynamic_range = rng.uniform(50.0, 75.0)
    gland = rng.uniform(0.56, 0.8)
    level = np.maximum(gland + decibels / dynamic_range, 0.0)
    grey = 255.0 * level ** rng.uniform(1.5, 2.4)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def field_of_view(rng: Generator, grid: Grid) -> NDArray[np.bool_]:
    """True inside the field of view; one in ten has the upper corners cut off."""
    if rng.random() > 0.1:
        return np.ones(grid.shape, bool)
    slope = rng.uniform(0.2, 0.5)
    height = rng.uniform(0.1, 0.3) * grid.depth
    left = grid.x >= slope * (height - grid.z)
    right = grid.width - grid.x >= slope * (height - grid.z)
    return left & right
