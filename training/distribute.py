"""Data-parallel training on all devices of a machine.

Each device holds all weights and takes an equal part of every batch. On JAX
(`keras.distribution.DataParallel`) a step is the same as on one device. On TensorFlow
(`tf.distribute.MirroredStrategy`) each replica has its own batch statistics and
dropout. `average_replicas` averages the moving statistics after each epoch.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras


@contextmanager
def all_devices(batch_size: int) -> Iterator[None]:
    """Lets models that are built and trained inside use all devices.

    Args:
        batch_size: images in a step, on all devices together.

    Raises:
        ValueError: the backend is PyTorch, there is only one device, or the batch
            cannot be divided equally.
    """
    backend = keras.backend.backend()
    if backend not in ("jax", "tensorflow"):
        raise ValueError(
            f"--distribute needs the JAX or TensorFlow backend, and this is {backend}; "
            "set KERAS_BACKEND=jax or tensorflow, or omit --distribute."
        )
    devices = _jax_devices() if backend == "jax" else _tensorflow_devices()
    _check_devices(devices, batch_size)
    with _jax_mesh(devices) if backend == "jax" else _tensorflow_scope(devices):
        yield


def device_count() -> int:
    """Gives the number of devices that share a batch: 1 outside `all_devices`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return int(tf.distribute.get_strategy().num_replicas_in_sync)
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else int(distribution.device_mesh.devices.size)


def average_replicas(variables: Iterable[keras.Variable]) -> None:
    """Sets float variables to the mean of TensorFlow's replicas.

    Each replica's norms update their statistics from its own images, but a saved model
    has only the first replica's values.
    """
    if device_count() == 1 or keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()
    for variable in variables:
        if keras.backend.is_float_dtype(variable.dtype):
            values = strategy.experimental_local_results(variable.value)
            variable.assign(tf.reduce_mean(tf.stack(values), axis=0))


class SharedClipAdamW(keras.optimizers.AdamW):
    """AdamW for TensorFlow's replicas that clips the norm of their summed gradient.

    Keras clips the gradient of each replica, which limits a different norm.
    """

    def __init__(self, *, global_clipnorm: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.limit = global_clipnorm

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        import tensorflow as tf

        replica = tf.distribute.get_replica_context()
        total = replica.all_reduce(tf.distribute.ReduceOp.SUM, list(grads))
        factor = self.limit / tf.maximum(tf.linalg.global_norm(total), self.limit)
        super().apply([part * factor for part in grads], trainable_variables)


def adamw(global_clipnorm: float, **options: Any) -> keras.optimizers.Optimizer:
    """Makes an AdamW whose gradient clipping is also right on several replicas."""
    replicas = keras.backend.backend() == "tensorflow" and device_count() > 1
    kind = SharedClipAdamW if replicas else keras.optimizers.AdamW
    return kind(global_clipnorm=global_clipnorm, **options)


def _check_devices(devices: list[str], batch_size: int) -> None:
    if len(devices) < 2:
        raise ValueError(
            "--distribute needs two devices or more, found "
            f"{', '.join(devices)}; omit --distribute."
        )
    if batch_size % len(devices):
        raise ValueError(
            f"batch_size must be a multiple of the {len(devices)} devices, got "
            f"{batch_size}; the next valid one is "
            f"{-(-batch_size // len(devices)) * len(devices)}."
        )


def _jax_devices() -> list[str]:
    return list(keras.distribution.list_devices())


def _tensorflow_devices() -> list[str]:
    import tensorflow as tf

    list_devices = tf.config.list_logical_devices
    return [device.name for device in list_devices("GPU") or list_devices("CPU")]


@contextmanager
def _jax_mesh(devices: list[str]) -> Iterator[None]:
    before = keras.distribution.distribution()
    mesh = keras.distribution.DataParallel(devices=devices)
    keras.distribution.set_distribution(mesh)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def _tensorflow_scope(devices: list[str]) -> Any:
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices).scope()
