"""Test vectors for ports of the prediction to other languages.

`python tests/vectors.py` writes `vectors.json`: inputs and what Python answers. An
array is `{"type", "shape", "data"}`: its bytes, little-endian and row by row, packed
with zlib, in base64.
"""

import base64
import json
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from keras_efsnet.images import grey as greys
from keras_efsnet.images.frame import Frame, UltrasoundRegion
from keras_efsnet.images.margins import DARK
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.appearance import STATISTICS, Appearance, measure
from keras_efsnet.prediction.measurements import measure_area, measure_lesions
from keras_efsnet.prediction.overlay import CALLIPER_COLOUR, draw_overlay
from keras_efsnet.prediction.postprocess import Postprocess, postprocess
from keras_efsnet.prediction.referral import ReferralRule

FILE = Path(__file__).with_suffix(".json")

# (height, width) before and after: smaller, larger, both, as it was, a line, a point.
SIZES = [
    ((75, 51), (16, 24)),
    ((33, 47), (40, 56)),
    ((5, 120), (32, 32)),
    ((32, 32), (32, 32)),
    ((32, 20), (32, 32)),
    ((1, 90), (8, 8)),
    ((1, 1), (8, 16)),
]
RULES = [
    Postprocess(),
    Postprocess(minimum_lesion_fraction=0.02),
    Postprocess(normal_gate=0.3),
]
WINDOWS = [
    ("LINEAR", 1000.0, 600.0),
    ("LINEAR", 2047.5, 1.0),
    ("LINEAR_EXACT", 900.5, 1200.0),
    ("SIGMOID", 1500.0, 700.0),
]
"""DICOM's functions, with centre and width."""
MARGINS = [(4, 0, 9, 3), (0, 5, 0, 0)]
"""Rows above and below, columns left and right."""
REGIONS = [
    (),
    (
        UltrasoundRegion(0, 3, 47, 50, (0.08, 0.08)),
        UltrasoundRegion(47, 0, 66, 46, (0.13, 0.13)),
    ),
    (UltrasoundRegion(0, 0, 66, 50, (0.08, 0.08)),),
    (UltrasoundRegion(0, 0, 66, 50, (0.13, 0.2)),),
]
"""None, two of different calibrations, and one that covers the image."""


def make_vectors():
    rng = np.random.default_rng(6)
    return {
        "grey": [_grey(rng.integers(0, 256, (13, 17, 4), np.uint8))],
        "resize_image": [_resize_image(image, size) for image, size in _images(rng)],
        "resize_probability": [
            _resize_probability(rng.random(before, np.float32), after)
            for before, after in SIZES
        ],
        "postprocess": [*_postprocess(rng), *_referrals(), _corners()],
        "sixteen_bit": [_sixteen_bit(rng, top) for top in (4095, 65535)],
        "scale_bits": [_scale_bits(rng, bits) for bits in (1, 4, 6, 10, 12, 16)],
        "window": [_window(rng, *window) for window in WINDOWS],
        "measurements": list(_measurements(rng)),
    }


def _images(rng):
    for before, after in SIZES:
        yield rng.integers(0, 256, before, np.uint8), after
    for label in LABELS:
        yield make_phantom(label, 7, (96, 120)).image, (64, 64)


def _grey(rgba):
    return {"rgba": encode(rgba), "grey": encode(greys.to_grey(rgba))}


def _sixteen_bit(rng, top):
    image = rng.integers(0, top + 1, (13, 17), np.uint16)
    rules = {rule: encode(greys.to_grey(image, rule)) for rule in ("full", "minmax")}
    return {"image": encode(image), **rules}


def _scale_bits(rng, bits):
    """Values of DICOM without a window, and of TIFF."""
    values = rng.integers(0, 1 << bits, (13, 17), np.uint16)
    grey = greys.scale_bits(values, bits)
    return {"values": encode(values), "bits": bits, "grey": encode(grey)}


def _window(rng, function, centre, width):
    values = rng.integers(-100, 4096, (13, 17)).astype(np.int32)
    return {
        "values": encode(values),
        "function": function,
        "centre": centre,
        "width": width,
        "grey": encode(greys.apply_window(values, centre, width, function)),
    }


def _resize_image(grey, size):
    resized = greys.resize_image(grey, size)
    return {"image": encode(grey), "size": size, "resized": encode(resized)}


def _resize_probability(probability, size):
    resized = greys.resize_probability(probability, size)
    return {
        "probability": encode(probability),
        "size": size,
        "resized": encode(resized),
    }


def _postprocess(rng):
    """Blobs of several sizes, some touching the border."""
    for number, rules in enumerate(RULES * 2):
        rough = rng.random((8 + number, 9), np.float32)
        probability = greys.resize_probability(rough, (32, 32))
        classes = rng.dirichlet([1, 1, 1]).astype(np.float32)
        # Contours are wider where both sides have at least 400 pixels.
        size = (48 + 3 * number, 61) if number < len(RULES) else (400, 410)
        yield _postprocess_vector(probability, classes, size, rules)
    for margins in MARGINS:
        probability = greys.resize_probability(rng.random((9, 9), np.float32), (32, 32))
        classes = rng.dirichlet([1, 1, 1]).astype(np.float32)
        image = _with_margins(rng, *margins)
        yield _postprocess_vector(probability, classes, (50, 71), Postprocess(), image)
    yield _postprocess_vector(_specks(), classes, (32, 32), Postprocess())


def _specks():
    """A pixel, two at a corner, two beside each other, and a square with two holes."""
    probability = np.zeros((32, 32), np.float32)
    probability[10:22, 10:24] = 1
    probability[[3, 3, 4, 28, 28, 0], [3, 14, 15, 5, 6, 31]] = 1
    probability[[14, 18, 18], [13, 18, 19]] = 0
    return probability


def _referrals():
    """Every reason, alone and together, and none; some values are at their limits."""
    rng = np.random.default_rng(7)
    blocks = np.kron(rng.integers(0, 200, (8, 12)), np.ones((8, 8), np.int64))
    scan = (blocks + rng.integers(0, 50, blocks.shape)).astype(np.uint8)
    noise = rng.integers(0, 256, scan.shape, np.uint8)
    weights = np.diag(np.arange(1.0, 1 + STATISTICS)) + 0.25
    look = Appearance(tuple(measure(scan).round(2)), tuple(map(tuple, weights)), 2.0)
    limits = {"minimum_class_probability": 0.5, "minimum_mask_margin": 0.5}
    for highest, classes, image in [
        (0.9, (0.125, 0.75, 0.125), scan),
        (0.75, (0.3125, 0.5, 0.1875), None),
        (0.9, (0.0, 0.75, 0.25), None),
        (0.9, (0.25, 0.125, 0.625), None),
        (0.9, (0.375, 0.4375, 0.1875), None),
        (0.6, (0.125, 0.75, 0.125), None),
        (0.9, (0.75, 0.25, 0.0), None),
        (0.1, (0.125, 0.75, 0.125), None),
        (0.1, (0.875, 0.125, 0.0), None),
        (0.9, (0.125, 0.75, 0.125), noise),
        (0.6, (0.4375, 0.1875, 0.375), noise),
    ]:
        seen = None if image is None else look
        rule = ReferralRule(**limits, look=seen, malignancy_limit=0.25)
        # The lesion of the maps with 0.6 is exactly large enough.
        rules = Postprocess(612 / (64 * 96), normal_gate=0.75, refer=rule)
        probability = np.full((32, 48), 0.05, np.float32)
        probability[10:20, 12:30] = highest
        probabilities = np.array(classes, np.float32)
        vector = _postprocess_vector(probability, probabilities, (64, 96), rules, image)
        distance = None if image is None else round(look.distance(image), 9)
        yield {**vector, "distance": distance}


def _corners():
    """Squares that touch at corners, in both directions, and two of equal area."""
    probability = np.zeros((16, 16), np.float32)
    squares = [(1, 2), (4, 5), (7, 2), (12, 0), (12, 12)]
    for row, column in squares:
        probability[row : row + 3, column : column + 3] = 0.75
    classes = np.array([0.25, 0.5, 0.25], np.float32)
    return _postprocess_vector(probability, classes, (16, 16), Postprocess())


def _with_margins(rng, top, bottom, left, right):
    image = np.full((32, 32), DARK, np.uint8)
    scan = image[top : 32 - bottom, left : 32 - right]
    scan[...] = rng.integers(0, 256, scan.shape)
    scan[0] = DARK + 1
    return image


def _postprocess_vector(probability, classes, size, rules, image=None):
    done = postprocess(probability, classes, size, rules, image)
    overlay = np.asarray(draw_overlay(Frame(np.zeros(size, np.uint8)), done))
    contour = overlay[: size[0]].any(axis=-1)
    return {
        "mask_probability": encode(probability),
        "class_probabilities": encode(classes),
        "size": size,
        # A port has the three classes and both outputs of the shipped models.
        "rules": rules.to_json(),
        "image": image if image is None else encode(image),
        "mask": encode(done.mask.astype(np.uint8)),
        "record": done.to_json(),
        "contour": encode(contour.astype(np.uint8)),
    }


def _measurements(rng):
    """Turned ellipses, and blobs with holes, single pixels and cut parts."""
    size = (50, 66)
    for number, regions in enumerate(REGIONS):
        probability = _ellipse(size, (23, 9 + 4 * number), 25 + 40 * number)
        yield _measurements_vector(rng, probability, regions)
        blobs = greys.resize_probability(rng.random((9, 11), np.float32), size)
        yield _measurements_vector(rng, blobs, regions)


def _ellipse(size, semi_axes, degrees):
    turn = np.radians(degrees)
    y, x = np.indices(size) - np.array(size).reshape(2, 1, 1) / 2 + 0.2
    along = x * np.cos(turn) + y * np.sin(turn)
    across = y * np.cos(turn) - x * np.sin(turn)
    radius = np.hypot(along / semi_axes[0], across / semi_axes[1])
    return (1 - radius / 2).clip(0, 1).astype(np.float32)


def _measurements_vector(rng, probability, regions):
    """Depth begins at the region, and outside of all regions at the scan."""
    height, _ = probability.shape
    image = rng.integers(6, 256, probability.shape, np.uint8)
    image[:7] = 0
    frame = Frame(image, regions=regions)
    classes = np.array([0, 1, 0], np.float32)
    done = postprocess(probability, classes, image.shape, Postprocess())
    lesions = measure_lesions(frame, done)
    overlay = np.asarray(draw_overlay(frame, done, lesions, callipers=True))[:height]
    callipers = (overlay == CALLIPER_COLOUR).all(axis=-1)
    return {
        "image": encode(image),
        "regions": [asdict(region) for region in regions],
        "mask_probability": encode(probability),
        "measures": {**measure_area(frame, lesions), "lesions": lesions},
        "callipers": encode(callipers.astype(np.uint8)),
    }


def encode(array):
    data = zlib.compress(np.ascontiguousarray(array).tobytes(), 9)
    text = base64.b64encode(data).decode()
    return {"type": str(array.dtype), "shape": array.shape, "data": text}


def decode(vector):
    data = zlib.decompress(base64.b64decode(vector["data"]))
    return np.frombuffer(data, vector["type"]).reshape(vector["shape"])


if __name__ == "__main__":
    FILE.write_text(json.dumps(make_vectors(), indent=1) + "\n", encoding="utf-8")
