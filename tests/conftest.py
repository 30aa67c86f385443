"""Fixtures shared by the tests: a small scan, a fast network, a small model file."""

from pathlib import Path

import numpy as np
import pytest

from keras_efsnet.prediction import Postprocess


class DarkIsLesion:
    """A predictor without a network: what is darker than half grey is lesion."""

    size = (64, 64)
    rules = Postprocess()

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        probabilities = np.tile(np.float32([0.1, 0.7, 0.2]), (len(images), 1))
        return {"mask": 1 - images / np.float32(255), "class": probabilities}


@pytest.fixture
def scan() -> np.ndarray:
    """uint8 (60, 80): bright, with a dark disc of radius 15 in the middle."""
    y, x = np.ogrid[-30:30, -40:40]
    return np.where(np.hypot(y, x) < 15, 20, 220).astype(np.uint8)


@pytest.fixture
def predictor() -> DarkIsLesion:
    return DarkIsLesion()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .keras file with EFSNet's contract at 64 x 64: dark places are lesion."""
    import keras

    image = keras.Input((64, 64, 1), name="image")
    mask = keras.layers.Rescaling(-1 / 16, offset=8, name="logits")(image)
    mask = keras.layers.Activation("sigmoid", name="mask")(mask)
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    label = keras.layers.Dense(3, activation="softmax", name="class")(pooled)
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    keras.Model(image, {"mask": mask, "class": label}).save(path)
    return path
