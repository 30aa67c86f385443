"""Test vectors for ports of `grey.py` and `postprocess.py` to other languages.

`python tests/vectors.py` writes `vectors.json`: inputs and what Python answers. An
array is `{"type", "shape", "data"}`: its bytes, little-endian and row by row, packed
with zlib, in base64.
"""

import base64
import json
import zlib
from pathlib import Path

import numpy as np

from keras_efsnet.images import grey as greys
from keras_efsnet.images.frame import Frame
from keras_efsnet.images.margins import DARK
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.appearance import STATISTICS, Appearance, measure
from keras_efsnet.prediction.overlay import draw_overlay
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


def encode(array):
    data = zlib.compress(np.ascontiguousarray(array).tobytes(), 9)
    text = base64.b64encode(data).decode()
    return {"type": str(array.dtype), "shape": array.shape, "data": text}


def decode(vector):
    data = zlib.decompress(base64.b64decode(vector["data"]))
    return np.frombuffer(data, vector["type"]).reshape(vector["shape"])


if __name__ == "__main__":
    FILE.write_text(json.dumps(make_vectors(), indent=1) + "\n", encoding="utf-8")
