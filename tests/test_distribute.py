"""Training on several devices: virtual ones of the CPU, in processes of their own."""

import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_efsnet.training.distribute import all_devices

DEVICES = 2
TOLERANCE = {"jax": 1e-4, "tensorflow": 0.2}
"""How far any number of the state may be from one device's after two epochs:
TensorFlow's replicas normalize apart."""

START = f"""
import os, sys
if os.environ["KERAS_BACKEND"] == "jax":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count={DEVICES}"
else:
    import tensorflow as tf
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * {DEVICES},
    )
"""
TRAIN = """
from keras_efsnet.cli import main
sys.exit(main(["train", *sys.argv[1:]]))
"""
# Seven images in batches of 4: the last batch of validation has to be filled up.
FIT = """
import json
from contextlib import nullcontext
import keras, numpy as np
from keras_efsnet.losses import DiceBCE
from keras_efsnet.training import distribute, pipeline

rng = np.random.default_rng(0)
cache = pipeline.ImageCache(
    images=rng.integers(0, 256, (7, 8, 8), np.uint8),
    masks=rng.integers(0, 2, (7, 8, 8), np.uint8),
    labels=rng.integers(0, 3, 7),
    mask_weight=np.ones(7, np.float32),
    class_weight=np.ones(7, np.float32),
)
results = {}
for devices in (1, 2):
    with distribute.all_devices(4) if devices == 2 else nullcontext():
        assert distribute.device_count() == devices
        keras.utils.set_random_seed(0)
        image = keras.Input((8, 8, 1))
        x = keras.layers.Rescaling(1 / 255)(image)
        x = keras.layers.Conv2D(4, 3, padding="same")(x)
        x = keras.layers.BatchNormalization()(x)
        mask = keras.layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        label = keras.layers.Dense(3, activation="softmax", name="class")(x)
        model = keras.Model(image, {"mask": mask, "class": label})
        model.compile(
            "sgd",
            {"mask": DiceBCE(), "class": "sparse_categorical_crossentropy"},
            weighted_metrics={"class": ["sparse_categorical_accuracy"]},
        )
        plan = dict(batch_size=4, seed=0, steps_per_epoch=1, first_epoch=0, epochs=3)
        history = model.fit(
            pipeline.training_batches(cache, **plan),
            validation_data=pipeline.evaluation_batches(cache, 4),
            epochs=3, steps_per_epoch=1, shuffle=False, verbose=0,
        ).history
        accuracy = history["val_class_sparse_categorical_accuracy"]
        weights = np.concatenate([w.ravel() for w in model.get_weights()])
        results[devices] = {"weights": weights.tolist(), "accuracy": accuracy}
try:
    with distribute.all_devices(5):
        pass
except ValueError as error:
    results["odd batch"] = str(error)
print(json.dumps(results))
"""


def run(script, backend, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", START + script, *map(str, arguments)],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pytorch_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with (
        pytest.raises(ValueError, match="needs the JAX or TensorFlow backend, and"),
        all_devices(4),
    ):
        pass


def test_jax_devices_together_are_one_device():
    pytest.importorskip("jax")
    results = json.loads(run(FIT, "jax"))
    alone, together = results["1"], results["2"]
    assert together["accuracy"] == pytest.approx(alone["accuracy"])
    np.testing.assert_allclose(together["weights"], alone["weights"], atol=1e-5)
    assert "2 devices, got 5; the next valid one is 6" in results["odd batch"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", TOLERANCE)
def test_train_command_on_several_devices(backend, tmp_path):
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    size = ["--phantoms", 5, "--image-size", 32, "--batch-size", 4, "--epochs", 2]
    runs = {"alone": [], "together": ["--distribute"]}
    states = []
    for name, options in runs.items():
        out = tmp_path / name
        run(TRAIN, backend, "--data", "phantom", *size, *options, "--out", out)
        with np.load(out / "state.npz", allow_pickle=False) as state:
            states.append({key: state[key] for key in state if key != "facts"})
        assert (out / "best.keras").is_file()
    alone, together = states
    assert alone.keys() == together.keys()
    worst = max(np.abs(alone[key] - together[key]).max() for key in alone)
    print(f"{backend}: largest difference {worst:.1e}")
    assert worst < TOLERANCE[backend]
