"""Threads that share a predictor, at random: each gets the answer of its own image."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from fuzz_layouts import Random
from hypothesis import strategies as st

from keras_efsnet.images.frame import Frame
from keras_efsnet.models.presets import DEFAULT_MODEL
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.prediction.postprocess import Prediction
from keras_efsnet.prediction.predictor import Predictor, predict_frame


@cache
def shared(kind: str) -> Predictor:
    return load_predictor(DEFAULT_MODEL, kind=kind)


def fuzz_threads(data: st.DataObject, folder: Path) -> str:
    random = Random(data)
    predictor = shared(random.pick("float32", "int8"))
    sizes = random.integers(8, 90, (int(random.integers(2, 6)), 2))
    frames = [Frame(random.integers(0, 256, size).astype(np.uint8)) for size in sizes]
    right = [predict_frame(predictor, frame) for frame in frames]
    order = random.integers(0, len(frames), int(random.integers(4, 25))).tolist()
    with ThreadPoolExecutor(int(random.integers(2, 9))) as pool:
        found = pool.map(lambda number: predict_frame(predictor, frames[number]), order)
        for number, answer in zip(order, found, strict=True):
            _assert_same(answer, right[number])
    return "read"


def _assert_same(found: Prediction, right: Prediction) -> None:
    np.testing.assert_array_equal(found.mask, right.mask)
    np.testing.assert_array_equal(found.probability, right.probability)
    assert found.probabilities == right.probabilities
    assert found.refer == right.refer
