"""Prediction with Keras, on any of its backends."""

from pathlib import Path
from threading import Lock

import numpy as np

from keras_efsnet.models.presets import DEFAULT_SIZE
from keras_efsnet.models.saving import load_keras_model, start_keras
from keras_efsnet.prediction.postprocess import read_rules
from keras_efsnet.prediction.predictor import check_threads, count_classes
from keras_efsnet.prediction.turns import take_turn


class KerasPredictor:
    """A `.keras` file run by Keras on its current backend.

    Loading runs one image, so that the time of a prediction excludes compilation.
    Threads may share a predictor: it runs one batch at a time.

    Args:
        file: the `.keras` file; input `(batch, height, width, 1)`, outputs `mask` and
            `class`. The rules of a `card.json` beside it apply. The labels are those of
            the file, or if it has none, of the card.
        threads: CPU threads; None leaves the choice to the backend.

    Raises:
        MissingPackage: no Keras backend is installed.
        ValueError: the file cannot be loaded or has other inputs or outputs; the
            backend cannot change its number of threads.
    """

    def __init__(self, file: Path, threads: int | None = None) -> None:
        check_threads(threads)
        self.file = file
        self._lock = Lock()
        start_keras()
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
        classes = count_classes(file, shapes, self.size)
        labels, tasks = (
            getattr(self._model, name, None) for name in ("labels", "tasks")
        )
        self.rules = read_rules(file, classes, labels, tasks)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        # Keras keeps the model's state aside during a call; JAX gives its buffers away.
        with take_turn(self._lock):
            return self._model.predict_on_batch(images)


def _limit_threads(threads: int) -> None:
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        except RuntimeError as error:
            raise ValueError(
                f"threads cannot become {threads}: TensorFlow keeps the number with "
                "which it started in this process; leave it out, or load this model in "
                "a new process."
            ) from error
    elif backend == "torch":
        import torch

        torch.set_num_threads(threads)
    else:
        raise ValueError(
            f"the number of threads cannot be set on the {backend} backend; leave it "
            "out, or set KERAS_BACKEND to tensorflow or torch."
        )
