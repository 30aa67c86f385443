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
BACKENDS = ["jax", "tensorflow"]

START = f"""
import os, sys
if os.environ["KERAS_BACKEND"] == "jax":
    given = os.environ.get("XLA_FLAGS", "")
    devices = "--xla_force_host_platform_device_count={DEVICES}"
    os.environ["XLA_FLAGS"] = given + " " + devices
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
# Killed in its second epoch.
TRAIN_ONE_EPOCH = (
    """
import keras_efsnet.training.callbacks as callbacks
save = callbacks.TrainingState.save
def save_and_end(self, *facts):
    save(self, *facts)
    os._exit(0)
callbacks.TrainingState.save = save_and_end
"""
    + TRAIN
)
BUILD = """
import json
from contextlib import nullcontext
import keras, numpy as np
from keras_efsnet.models.losses import DiceBCE
from keras_efsnet.training import distribute, pipeline, train
from keras_efsnet.training.settings import TrainSettings

def build():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(4, 3, padding="same")(x)
    x = keras.layers.BatchNormalization()(x)
    mask = keras.layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    label = keras.layers.Dense(3, activation="softmax", name="class")(x)
    return keras.Model(image, {"mask": mask, "class": label})
"""
# Seven images in batches of 4: the last batch of validation has to be filled up.
FIT = """
rng = np.random.default_rng(0)
cache = pipeline.ImageCache(
    images=rng.integers(0, 256, (7, 8, 8), np.uint8),
    masks=rng.integers(0, 2, (7, 8, 8), np.uint8),
    labels=rng.integers(0, 3, 7),
    mask_weight=np.ones(7, np.float32),
    class_weight=np.ones(7, np.float32),
    groups=np.array(["a/normal", "a/tumour"] * 3 + ["a/normal"]),
)
results = {}
for devices in (1, 2):
    with distribute.all_devices(4) if devices == 2 else nullcontext():
        assert distribute.device_count() == devices
        model = build()
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


def skip_without(backend):
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is not installed")


def test_pytorch_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with (
        pytest.raises(ValueError, match="needs the JAX or TensorFlow backend, and"),
        all_devices(4),
    ):
        pass


def test_jax_devices_together_are_one_device():
    pytest.importorskip("jax")
    results = json.loads(run(BUILD + FIT, "jax"))
    alone, together = results["1"], results["2"]
    assert together["accuracy"] == pytest.approx(alone["accuracy"])
    np.testing.assert_allclose(together["weights"], alone["weights"], atol=1e-5)
    assert "2 devices, got 5; the next valid one is 6" in results["odd batch"]


# Each half of the batch is the same two images, so that a replica's own statistics are
# the batch's. The steps are those of training, its clipping of the gradients too.
STEPS = """
settings = TrainSettings(
    data="phantom", phantoms=2, epochs=1, learning_rate=0.1, clip_norm=0.01
)
rng = np.random.default_rng(0)
half = rng.integers(0, 256, (2, 8, 8, 1)).astype("float32")
x = np.concatenate([half, half])
y = {"mask": (x > 128).astype("float32"), "class": np.array([0, 1, 0, 1])}
results = []
for devices in (1, 2):
    with distribute.all_devices(4) if devices == 2 else nullcontext():
        model = build()
        train.compile_model(model, settings, steps=2)
        weights = [w.numpy() for w in model.weights]
        model.fit(x, y, batch_size=4, epochs=4, shuffle=False, verbose=0)
        variables = [*model.variables, *model.optimizer.variables]
        results.append([np.asarray(v, "float64").ravel() for v in variables])
before = np.concatenate([w.ravel() for w in weights])
alone, together = map(np.concatenate, results)
print(json.dumps({
    "change": float(np.abs(alone[: len(before)] - before).max()),
    "difference": float(np.abs(alone - together).max()),
}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_steps_are_those_of_one_device(backend):
    skip_without(backend)
    found = json.loads(run(BUILD + STEPS, backend).splitlines()[-1])
    print(f"{backend}: difference {found['difference']:.1e}, change {found['change']}")
    assert found["difference"] < 1e-5 < 1e-2 < found["change"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_train_command_on_several_devices_resumes(backend, tmp_path):
    skip_without(backend)
    size = ["--phantoms", 2, "--image-size", 16, "--batch-size", 4]
    options = ["--data", "phantom", *size, "--epochs", 2, "--distribute"]
    run(TRAIN, backend, *options, "--out", tmp_path / "whole")
    run(TRAIN_ONE_EPOCH, backend, *options, "--out", tmp_path / "cut")
    run(TRAIN, backend, *options, "--out", tmp_path / "cut", "--resume")
    whole, cut = (_state(tmp_path / name) for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(cut[name], array, err_msg=name)


def _state(run):
    with np.load(run / "state.npz", allow_pickle=False) as state:
        return dict(state)
