"""Threads that share one runtime object get their own images' answers."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from checks import OTHER_BACKENDS, noise, passes_on
from keras_efsnet import EFSNet
from keras_efsnet.models.presets import DEFAULT_MODEL
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.prediction.predictor import Predictor

THREADS, IMAGES, ROUNDS = 8, 6, 2


def count_wrong_answers(predictor: Predictor) -> int:
    """Counts the answers of 8 threads that are not the image's own."""
    images = [
        np.float32(128 + 60 * noise(1, *predictor.size, 1, seed=seed))
        for seed in range(IMAGES)
    ]
    right = [predictor(image) for image in images]

    def is_wrong(number: int) -> bool:
        answer = predictor(images[number])
        return any(
            not np.allclose(answer[name], right[number][name], rtol=0, atol=1e-5)
            for name in ("mask", "class")
        )

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(is_wrong, list(range(IMAGES)) * ROUNDS * THREADS))


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_threads_share_a_lite_model(kind):
    assert count_wrong_answers(load_predictor(DEFAULT_MODEL, kind=kind)) == 0


def test_threads_share_a_keras_predictor(tmp_path):
    EFSNet((64, 64, 1), width=0.25).save(tmp_path / "m.keras")
    assert count_wrong_answers(load_predictor(tmp_path / "m.keras")) == 0


@pytest.mark.slow
@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_the_same_on_another_backend(backend):
    assert passes_on(backend, __file__, "keras_predictor") == 1
