"""Fixtures shared by the tests: a small scan, a fast network, a small model file."""

import gc
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_efsnet.prediction.postprocess import Postprocess

# Workers and the programs that tests start inherit these.
for _name, _value in {
    # There is a worker for each core: more threads would wait for each other.
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    # JAX compiles a step to run it a few times: the code need not be fast.
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
}.items():
    os.environ.setdefault(_name, _value)


def pytest_collection_finish() -> None:
    """Keeps the collected tests and the imported frameworks out of each collection."""
    gc.collect()
    gc.freeze()


class DarkIsLesion:
    """A predictor without a network: what is darker than half grey is lesion."""

    size = (64, 64)
    rules = Postprocess()
    file = Path(__file__)

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


@pytest.fixture
def stub_network(monkeypatch, predictor) -> DarkIsLesion:
    """The commands run without Keras; returns the network they use."""
    monkeypatch.setattr(
        "keras_efsnet.prediction.loading.load_predictor", lambda *_: predictor
    )
    return predictor


@pytest.fixture
def predict_files(stub_network, tmp_path) -> Callable[..., int]:
    """Runs `efsnet predict` on files of `tmp_path` into `out`; gives the exit code."""
    from keras_efsnet.cli import main

    def run(*names: str, options: Sequence[str] = ()) -> int:
        paths = [str(tmp_path / name) for name in names]
        return main(["predict", *paths, "--out", str(tmp_path / "out"), *options])

    return run


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


@pytest.fixture(scope="session")
def make_lite() -> Callable[..., bytes]:
    """Converts a network like `tiny_model`'s to a .tflite file's content.

    Keyword arguments: `kind` "float32" or "int8", the image's `shape`, the `names` of
    input, mask and class output, and `full_scale`, the brightest grey value of the
    int8 calibration.
    """
    tf = pytest.importorskip("tensorflow")
    return cache(lambda **changes: _convert(tf, **changes))


def _convert(
    tf: Any,
    kind: str = "float32",
    shape: tuple[int | None, ...] = (1, 64, 64, 1),
    names: tuple[str, str, str] = ("image", "mask", "class"),
    full_scale: int = 255,
) -> bytes:
    image_name, mask_name, class_name = names
    weights = tf.constant([[0.01, -0.02, 0.02]])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name=image_name)])
    def serve(image):
        pooled = tf.reduce_mean(image, axis=(1, 2))[:, :1]
        return {
            mask_name: tf.sigmoid(8 - image / 16),
            class_name: tf.nn.softmax(pooled @ weights),
        }

    network = tf.Module()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [serve.get_concrete_function()], network
    )
    if kind == "int8":
        noise = np.random.default_rng(0).uniform(0, full_scale, (4, *shape))
        black_and_white = np.float32([np.zeros(shape), np.full(shape, full_scale)])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [image.astype(np.float32)] for image in (*black_and_white, *noise)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.float32
    return converter.convert()


@pytest.fixture
def lite_file(make_lite, tmp_path) -> Path:
    """A float32 .tflite file with EFSNet's contract at 64 x 64: dark is lesion."""
    path = tmp_path / "tiny.tflite"
    path.write_bytes(make_lite())
    return path
