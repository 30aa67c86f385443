"""One model file on every installed backend, each in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_efsnet import EFSNet

BACKENDS = [
    name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)
]

SCRIPT = """
import json, sys
import keras, numpy as np
from keras_efsnet.models.losses import DiceBCE
from keras_efsnet.models.metrics import Dice

model = keras.saving.load_model("m.keras")
images = np.load("images.npy")
outputs = model(images, training=False)  # without the time to compile `predict`
np.savez(
    sys.argv[1] + ".npz",
    **{name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()},
)
model.compile(
    keras.optimizers.SGD(0.002),
    loss={"mask": DiceBCE(), "class": "sparse_categorical_crossentropy"},
    weighted_metrics={"mask": [Dice()]},
    # As training compiles: XLA is slow for TensorFlow here, and JAX is without it.
    jit_compile=keras.backend.backend() == "jax",
)
targets = {"mask": (images > 200).astype("float32"), "class": np.array([0, 1])}
history = model.fit(images, targets, epochs=4, verbose=0).history
json.dump(history, open(sys.argv[1] + ".json", "w"))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model file, images, and what each backend makes of them."""
    folder = tmp_path_factory.mktemp("model")
    keras.utils.set_random_seed(0)
    model = EFSNet((64, 64, 1), width=0.5, dropout=0.0, class_dropout=0.0)
    rng = np.random.default_rng(0)
    for weight in model.weights:  # norms and slopes away from their start
        if weight.name in ("gamma", "beta", "moving_mean", "slope"):
            weight.assign(weight.numpy() + rng.uniform(0, 0.3, weight.shape))
    model.save(folder / "m.keras")
    np.save(folder / "images.npy", rng.integers(0, 256, (2, 64, 64, 1)).astype("f4"))
    for backend in BACKENDS:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, backend],
            env={**os.environ, "KERAS_BACKEND": backend},
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    return folder


def history(folder, backend):
    return json.loads((folder / f"{backend}.json").read_text())


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_file_gives_the_same_outputs(folder, backend):
    expected, found = (
        np.load(folder / f"{name}.npz") for name in (BACKENDS[0], backend)
    )
    for name in ("mask", "class"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4, err_msg=name)
    assert np.ptp(found["mask"]) > 0.05  # a constant mask would agree too


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_takes_the_same_course(folder, backend):
    expected, found = history(folder, BACKENDS[0]), history(folder, backend)
    assert found["loss"][-1] < found["loss"][0]
    for name in ("loss", "mask_loss", "class_loss", "mask_dice"):
        np.testing.assert_allclose(
            found[name], expected[name], rtol=1e-2, atol=1e-3, err_msg=name
        )
