"""Assertions shared by the tests."""

import importlib.util
import os
import re
import subprocess
import sys

import keras
import numpy as np

OTHER_BACKENDS = [
    name
    for name in ("tensorflow", "jax", "torch")
    if name != keras.backend.backend() and importlib.util.find_spec(name)
]
"""Installed backends that do not run these tests."""


def check_layer(layer_type, config, inputs, output_shape, trainable_parameters):
    """A layer's contract: config, shapes, weights, one fit step, mixed precision.

    Args:
        inputs: array, or list of arrays, `(batch, height, width, channels)`.
    """
    layer = layer_type(**config)
    assert_config_round_trip(layer, config)
    outputs = layer(inputs)
    assert tuple(outputs.shape) == output_shape
    symbolic = layer_type(**config)(
        [keras.KerasTensor(x.shape) for x in inputs]
        if isinstance(inputs, list)
        else keras.KerasTensor(inputs.shape)
    )
    assert tuple(symbolic.shape) == output_shape
    assert count(layer.trainable_weights) == trainable_parameters
    assert_config_round_trip(layer, config)
    assert_fit_changes_weights(layer_type(**config), inputs, output_shape)
    mixed = layer_type(**config, dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(mixed(inputs).dtype) == "bfloat16"
    assert all(weight.dtype == "float32" for weight in mixed.weights)


def assert_config_round_trip(layer, config):
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert all(getattr(copy, name) == value for name, value in config.items())
    restored = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer), safe_mode=True
    )
    assert type(restored) is type(layer)


def assert_fit_changes_weights(layer, inputs, output_shape):
    as_list = inputs if isinstance(inputs, list) else [inputs]
    symbols = [keras.Input(x.shape[1:]) for x in as_list]
    model = keras.Model(
        symbols, layer(symbols if isinstance(inputs, list) else symbols[0])
    )
    model.compile("adam", "mse", run_eagerly=True)
    before = [weight.numpy().copy() for weight in layer.trainable_weights]
    target = np.random.default_rng(1).normal(size=output_shape).astype("float32")
    model.fit(as_list, target, verbose=0)
    after = [weight.numpy() for weight in layer.trainable_weights]
    for weight, old, new in zip(layer.trainable_weights, before, after, strict=True):
        assert np.isfinite(new).all(), weight.path
        assert not np.array_equal(old, new), weight.path


def passes_on(backend, file, select):
    """Runs the tests of a file that `-k select` chooses; gives the number of passes."""
    here = [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*here, file, "-k", select],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return int(re.search(r"(\d+) passed", result.stdout)[1])


def count(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def randomize_weights(model, seed=0):
    """Sets every slope, norm and bias to a value far from its start."""
    rng = np.random.default_rng(seed)
    draws = {
        "slope": lambda shape: rng.uniform(0.02, 1, shape),
        "gamma": lambda shape: rng.uniform(0.5, 1.5, shape),
        "beta": lambda shape: rng.normal(0, 0.3, shape),
        "bias": lambda shape: rng.normal(0, 0.3, shape),
        "moving_mean": lambda shape: rng.normal(0, 0.3, shape),
        "moving_variance": lambda shape: rng.uniform(0.5, 2, shape),
    }
    for variable in model.variables:
        kind = variable.path.rsplit("/", 1)[-1]
        if kind in draws:
            variable.assign(draws[kind](variable.shape))
    return model
