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
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.overlay import draw_overlay
from keras_efsnet.prediction.postprocess import Postprocess, postprocess

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
        "postprocess": list(_postprocess(rng)),
    }


def _images(rng):
    for before, after in SIZES:
        yield rng.integers(0, 256, before, np.uint8), after
    for label in LABELS:
        yield make_phantom(label, 7, (96, 120)).image, (64, 64)


def _grey(rgba):
    return {"rgba": encode(rgba), "grey": encode(greys.to_grey(rgba))}


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
    """Blobs of several sizes, touching the border and one another at corners."""
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


def _with_margins(rng, top, bottom, left, right):
    image = np.zeros((32, 32), np.uint8)
    scan = image[top : 32 - bottom, left : 32 - right]
    scan[...] = rng.integers(0, 256, scan.shape)
    return image


def _postprocess_vector(probability, classes, size, rules, image=None):
    done = postprocess(probability, classes, size, rules, image)
    overlay = np.asarray(draw_overlay(Frame(np.zeros(size, np.uint8)), done))
    contour = overlay[: size[0]].any(axis=-1)
    return {
        "mask_probability": encode(probability),
        "class_probabilities": encode(classes),
        "size": size,
        "rules": vars(rules),
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
