"""One random change of an image and its mask together, in NumPy and Pillow.

A function of its arguments alone: the same seed gives the same pixels in any thread,
process and backend, which exact resume needs and Keras's Random layers, with their
seed state, cannot give in a parallel map. Geometry moves image and mask through one
mesh, so each is resampled once; what changes grey values never touches the mask.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from PIL import Image, ImageDraw

from keras_efsnet.images import resize_image
from keras_efsnet.training.mesh import mesh_nodes, resample

_VIEW = 0.4
"""How far from the centre, in image sizes, a warp may bring the lesions' middle."""


@dataclass(frozen=True)
class Augmentation:
    """How often and how strongly training images are changed.

    The defaults keep lesions plausible by eye on BUSI. Every strength is the largest
    one; each image draws its own below it. A probability of 0 switches a change off.

    Attributes:
        flip_probability: left to right; never top to bottom, since depth has a sense.
        warp_probability: of rotation, scale, translation, shear and elastic together.
        rotation: degrees, either way.
        smallest_scale, largest_scale: magnification, evenly drawn on a log scale.
        stretch: the largest ratio of one axis's magnification to the common one.
        translation: fraction of the image's size.
        shear: horizontal and vertical, as the slope of the sheared axis.
        elastic: standard deviation of the mesh nodes, as a fraction of the size.
        tone_probability: of gain, contrast, gamma and offset together.
        tone: largest relative change of gain, contrast and gamma; offset a sixth.
        speckle_probability, speckle: multiplicative noise, standard deviation.
        depth_gain_probability, depth_gain: smooth brightening or darkening by depth.
        shadow_probability, shadow: darkness of a band below a random depth, below 1.
        blur_probability, blur: resolution lost, as a fraction of the pixels per side.
        erase_probability, erase: a rectangle filled with its mean grey; longest side
            as a fraction of the size.
        caliper_probability: of two crosses joined by dots, as examiners burn them in.

    Raises:
        ValueError: a value is outside its range.
    """

    flip_probability: float = 0.5
    warp_probability: float = 0.9
    rotation: float = 15.0
    smallest_scale: float = 0.6
    largest_scale: float = 1.6
    stretch: float = 1.2
    translation: float = 0.15
    shear: float = 0.15
    elastic: float = 0.01
    tone_probability: float = 0.8
    tone: float = 0.3
    speckle_probability: float = 0.5
    speckle: float = 0.25
    depth_gain_probability: float = 0.5
    depth_gain: float = 0.35
    shadow_probability: float = 0.15
    shadow: float = 0.7
    blur_probability: float = 0.2
    blur: float = 0.6
    erase_probability: float = 0.1
    erase: float = 0.25
    caliper_probability: float = 0.15

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = _range(field.name)
            value = getattr(self, field.name)
            if not low <= value <= high:
                raise ValueError(
                    f"{field.name} must lie between {low:g} and {high:g}, got {value}."
                )
        if self.smallest_scale > self.largest_scale:
            raise ValueError(
                f"smallest_scale, {self.smallest_scale}, must not exceed "
                f"largest_scale, {self.largest_scale}."
            )


def augment_batch(
    images: np.ndarray,
    masks: np.ndarray,
    seed: Sequence[int],
    policy: Augmentation | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Changes each image of a batch, and its mask with it, at random.

    Image number `i` depends on itself, its mask, `seed`, `i` and `policy` only.

    Args:
        images: uint8 `(n, height, width)`.
        masks: uint8 `(n, height, width)`, 1 = lesion, 0 = elsewhere.
        seed: non-negative integers.
        policy: probabilities and strengths; None takes the defaults.

    Returns:
        New arrays of the same shapes, types and ranges. A warp brings in, from the
        sides, image and mask mirrored at the border; the middle of the lesions stays
        in view.
    """
    policy = policy or Augmentation()
    new_images, new_masks = np.empty_like(images), np.empty_like(masks)
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        rng = np.random.default_rng([*seed, index])
        image, new_masks[index] = _move(image, mask, rng, policy)
        new_images[index] = _repaint(image, rng, policy)
    return new_images, new_masks


def _range(name: str) -> tuple[float, float]:
    if name.endswith("_scale"):
        return 0.1, 10.0
    if name == "rotation":
        return 0.0, 180.0
    if name == "stretch":
        return 1.0, 2.0
    return 0.0, 1.0 if name.endswith("_probability") else 0.9


def _move(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, policy: Augmentation
) -> tuple[np.ndarray, np.ndarray]:
    """Flips and warps, both or either or neither."""
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
    """Draws where `resample` reads each node of the mesh."""
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
    """Limits the shift so that no lesion is cut away while its class stays."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not columns.size:
        return shift
    size = np.array(mask.shape[::-1])
    middle = np.array([columns[0] + columns[-1], rows[0] + rows[-1]]) / 2 - size / 2
    target = np.linalg.solve(matrix, middle - shift)
    return middle - matrix @ target.clip(-_VIEW * size, _VIEW * size)


def _repaint(
    image: np.ndarray, rng: np.random.Generator, policy: Augmentation
) -> np.ndarray:
    """Changes grey values: resolution first, then light, then what is burned in."""
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
    """A float32 grey level for each of the 256; contrast turns about the mean."""
    gain, contrast, gamma = np.exp(rng.uniform(-strength, strength, 3))
    offset = rng.uniform(-strength, strength) / 6
    levels = (np.linspace(0, 1, 256) - mean) * contrast + mean
    levels = gain * levels.clip(0, 1) ** gamma + offset
    return (255 * levels).clip(0, 255).astype(np.float32)


def _speckle(
    shape: tuple[int, ...], rng: np.random.Generator, strength: float
) -> np.ndarray:
    """Noise around 1 with grains of 1.5 to 4 pixels, as neighbouring echoes overlap."""
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
    """A smooth gain `(height, 1)`, as a scanner's depth sliders set it."""
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
    """A soft dark band that sets in at some depth and goes on to the bottom."""
    depth, across = (np.linspace(0, 1, side, dtype=np.float32) for side in shape)
    centre, width = rng.uniform(0, 1), rng.uniform(0.04, 0.15)
    band = np.exp(-(((across - centre) / width) ** 4))
    onset = ((depth - rng.uniform(0, 0.6)) / 0.15).clip(0, 1)
    return 1 - np.float32(rng.uniform(0.3, 1) * strength) * onset[:, None] * band


def _blur(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Lowers the resolution, as a smaller or a poorer file of the scan would."""
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
