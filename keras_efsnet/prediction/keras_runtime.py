"""Prediction with Keras, on any of its backends."""

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_efsnet.digests import check_digest
from keras_efsnet.predictor import (
    MissingPackage,
    check_outputs,
    check_threads,
    read_rules,
)

if TYPE_CHECKING:
    import keras

DEFAULT_SIZE = (256, 256)
"""The network's size where a model takes any."""

MAX_UNPACKED = 2**29
"""Bytes that a `.keras` file may unpack to: a small one can claim any size."""


class KerasPredictor:
    """A `.keras` file run by Keras on its current backend.

    One image is run on loading, so that compiling is in no image's time.

    Args:
        file: the `.keras` file; input `(batch, height, width, 1)`, outputs `mask` and
            `class`. The rules of a `card.json` beside it apply.
        threads: CPU threads, None for the backend's choice.

    Raises:
        MissingPackage: no Keras backend is installed.
        ValueError: the file cannot be loaded or has other inputs or outputs.
    """

    def __init__(self, file: Path, threads: int | None = None) -> None:
        check_threads(threads)
        self.rules = read_rules(file)
        _start_keras()
        if threads is not None:
            _limit_threads(threads)
        self._model = load_keras_model(file)
        shape = self._model.input_shape
        if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] != 1:
            raise ValueError(
                f"{file}: the input must be (batch, height, width, 1), got {shape}."
            )
        self.size = (shape[1] or DEFAULT_SIZE[0], shape[2] or DEFAULT_SIZE[1])
        outputs = self(np.zeros((1, *self.size, 1), np.float32))
        is_dict = isinstance(outputs, dict)
        shapes = {name: out.shape for name, out in outputs.items()} if is_dict else {}
        check_outputs(file, shapes, self.size)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return self._model.predict_on_batch(images)


def load_keras_model(file: Path) -> "keras.Model":
    """Loads a `.keras` file in safe mode, EFSNet's layers being known.

    Raises:
        MissingPackage: no Keras backend is installed.
        ValueError: the file is no Keras model, not the one that the card beside it was
            written for, or holds classes of others, or code.
    """
    _start_keras()
    import keras

    if not zipfile.is_zipfile(file):
        raise ValueError(f"{file}: not a whole .keras file; save or copy it again.")
    check_digest(file, file.read_bytes())
    try:
        _refuse_code(file)
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    # Keras lets through whatever a damaged archive or config raises.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{file}: cannot be loaded as a model: {reason}") from error


def _refuse_code(file: Path) -> None:
    """Names what safe mode would refuse at length."""
    with zipfile.ZipFile(file) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_UNPACKED:
            raise ValueError(f"it unpacks to {size:,} bytes, over {MAX_UNPACKED:,}.")
        _check_classes(json.loads(archive.read("config.json")))


def _check_classes(config: Any) -> None:
    import keras

    if isinstance(config, list):
        for item in config:
            _check_classes(item)
    if not isinstance(config, dict):
        return
    name = config.get("class_name")
    if name in ("Lambda", "__lambda__"):
        raise ValueError(
            "it holds a Lambda, code that would run here; save it with layers instead."
        )
    own = str(config.get("module")).partition(".")[0] in ("keras", "builtins", "None")
    if name and not own:
        registered = keras.saving.get_registered_object(config.get("registered_name"))
        if registered is None:
            raise ValueError(
                f"it holds the foreign class {name}; only layers of Keras and of "
                "keras_efsnet are loaded."
            )
    for item in config.values():
        _check_classes(item)


def _start_keras() -> None:
    try:
        import keras_efsnet.model  # noqa: F401 (imports keras, registers the layers)
    except ImportError as error:
        raise MissingPackage(
            f"Keras cannot start ({error}); install a backend: "
            'pip install "keras-efsnet[tensorflow]", or [jax] or [torch] and set '
            "KERAS_BACKEND."
        ) from error


def _limit_threads(threads: int) -> None:
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
    elif backend == "torch":
        import torch

        torch.set_num_threads(threads)
    else:
        raise ValueError(
            f"the number of threads cannot be set on the {backend} backend; leave it "
            "out, or set KERAS_BACKEND to tensorflow or torch."
        )
