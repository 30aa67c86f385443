"""Augments the grey values; masks do not change."""

import math

import numpy as np
from PIL import Image, ImageDraw

from keras_efsnet.images.grey import resize_image
from keras_efsnet.training.augmentation import Augmentation


def repaint(
    image: np.ndarray, rng: np.random.Generator, policy: Augmentation
) -> np.ndarray:
    """Changes the resolution, then the brightness, then erases and draws marks."""
    if rng.random() < policy.blur_probability:
        image = _blur(image, rng, policy.blur)
    image = _light(image, rng, policy)
    if rng.random() < policy.erase_probability:
        image = _erase(image, rng, policy.erase)
    if rng.random() < policy.caliper_probability:
        image = _draw_caliper(image, rng)
    return image


def _light(
    image: np.ndarray, rng: np.random.Generator, policy: Augmentation
) -> np.ndarray:
    levels = np.arange(256, dtype=np.float32)
    if rng.random() < policy.tone_probability:
        levels = _tone(image.mean() / 255, rng, policy.tone)
    changes = (
        (_speckle, policy.speckle_probability, policy.speckle),
        (_depth_gain, policy.depth_gain_probability, policy.depth_gain),
        (_shadow, policy.shadow_probability, policy.shadow),
    )
    grey = np.take(levels, image)
    for draw, probability, strength in changes:
        if rng.random() < probability:
            grey *= draw(image.shape, rng, strength)
    return np.rint(grey).clip(0, 255).astype(np.uint8)


def _tone(mean: float, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Gives the new float32 value of each of the 256 grey levels."""
    gain, contrast, gamma = np.exp(rng.uniform(-strength, strength, 3))
    offset = rng.uniform(-strength, strength) / 6
    levels = (np.linspace(0, 1, 256) - mean) * contrast + mean
    levels = gain * levels.clip(0, 1) ** gamma + offset
    return (255 * levels).clip(0, 255).astype(np.float32)


def _speckle(
    shape: tuple[int, ...], rng: np.random.Generator, strength: float
) -> np.ndarray:
    """Makes noise around 1 with grains of 1.5 to 4 pixels, like speckle."""
    height, width = shape
    grain = rng.uniform(1.5, 4)
    coarse = math.ceil(height / grain), math.ceil(width / grain)
    noise = rng.standard_normal(coarse, dtype=np.float32)
    noise *= rng.uniform(0, strength)
    smooth = Image.fromarray(noise).resize((width, height), Image.Resampling.BILINEAR)
    return (1 + np.asarray(smooth)).clip(0)


def _depth_gain(
    shape: tuple[int, ...], rng: np.random.Generator, strength: float
) -> np.ndarray:
    """Makes a smooth gain `(height, 1)`, like a scanner's time gain compensation."""
    depth = np.linspace(0, 3, shape[0])
    knots = rng.uniform(-strength, strength, 4)
    curve = np.interp(depth, np.arange(4), knots)
    width = max(1, shape[0] // 6)
    edges = np.pad(curve, width, mode="edge")
    smooth = np.convolve(edges, np.full(width, 1 / width), mode="same")[width:-width]
    return np.exp(smooth).astype(np.float32)[:, None]


def _shadow(
    shape: tuple[int, ...], rng: np.random.Generator, strength: float
) -> np.ndarray:
    """Makes a soft dark band from a random depth to the bottom."""
    depth, across = (np.linspace(0, 1, side, dtype=np.float32) for side in shape)
    centre, width = rng.uniform(0, 1), rng.uniform(0.04, 0.15)
    band = np.exp(-(((across - centre) / width) ** 4))
    onset = ((depth - rng.uniform(0, 0.6)) / 0.15).clip(0, 1)
    return 1 - np.float32(rng.uniform(0.3, 1) * strength) * onset[:, None] * band


def _blur(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Lowers the resolution, like a smaller copy of the image."""
    height, width = image.shape
    kept = 1 - rng.uniform(0, strength)
    small = resize_image(image, (round(height * kept), round(width * kept)))
    return resize_image(small, image.shape)


def _erase(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    height, width = (
        1 + int((side - 1) * rng.uniform(0.2, 1) * strength) for side in image.shape
    )
    top = rng.integers(0, image.shape[0] - height + 1)
    left = rng.integers(0, image.shape[1] - width + 1)
    erased = image.copy()
    patch = erased[top : top + height, left : left + width]
    patch[...] = patch.mean()
    return erased


def _draw_caliper(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    size = np.array(image.shape[::-1])
    grey = int(rng.integers(150, 256))
    arm = rng.uniform(0.01, 0.02) * size.mean()
    ends = rng.uniform(0.1, 0.9, (2, 2)) * size
    picture = Image.fromarray(np.ascontiguousarray(image))
    pen = ImageDraw.Draw(picture)
    for x, y in ends:
        pen.line((x - arm, y, x + arm, y), fill=grey)
        pen.line((x, y - arm, x, y + arm), fill=grey)
    dots = max(2, int(np.linalg.norm(ends[1] - ends[0]) / (3 * arm)))
    pen.point(np.linspace(ends[0], ends[1], dots).ravel().tolist(), fill=grey)
    return np.asarray(picture)
