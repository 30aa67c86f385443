"""Exports a trained model to other formats, and runs the exported files.

All are for one image of a fixed size. ONNX and SavedModel are from `image`, float32
`(1, height, width, 1)` in [0, 255], to `mask` and `class`, as in
`keras_efsnet.tflite.convert`. The SavedModel is Keras's, without rewrites. The two
files for MediaPipe Tasks are described in `keras_efsnet.tflite.mediapipe_files`.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_efsnet.extras import MissingPackage
from keras_efsnet.images.grey import Size
from keras_efsnet.labels import TASKS
from keras_efsnet.prediction.postprocess import Postprocess

OUTPUTS = {
    "onnx": "model.onnx",
    "saved_model": "saved_model",
    "mediapipe": "mediapipe",
}
"""The name of each format's file or folder."""


def export_format(
    model: Any, format_: str, path: Path, rules: Postprocess | None = None
) -> None:
    """Writes an EFSNet on the TensorFlow backend in another format.

    Args:
        format_: a key of `OUTPUTS`.
        path: the file to write, or for "saved_model" and "mediapipe" the folder.
        rules: the model's labels and tasks; None is those of the shipped models.

    Raises:
        MissingPackage: the extra `onnx` is not installed.
        ValueError: "mediapipe" for a model without classes or without a mask.
    """
    import keras  # not needed to run the exported files

    from keras_efsnet.models.presets import DEFAULT_SIZE

    rules = rules or Postprocess()
    if format_ == "onnx":
        _require_onnx("tf2onnx")
        from keras_efsnet.tflite.onnx_file import write_onnx

        write_onnx(model, path, rules.labels)
        return
    if format_ == "mediapipe":
        from keras_efsnet.tflite.mediapipe_files import write_task_files

        if rules.tasks != TASKS:
            raise ValueError(
                "mediapipe writes a file for the mask and one for the class, and the "
                f"model was trained for the {rules.tasks[0]} alone; leave it out."
            )
        write_task_files(model, path, rules.labels)
        return
    _, height, width, _ = model.input_shape
    shape = (1, height or DEFAULT_SIZE[0], width or DEFAULT_SIZE[1], 1)
    image = keras.InputSpec("float32", shape=shape, name="image")
    model.export(path, format="tf_saved_model", input_signature=[image], verbose=False)


class ExportedModel:
    """A predictor that runs an ONNX file, a SavedModel or the files for MediaPipe.

    Args:
        path: written by `export_format`.
        threads: CPU threads of ONNX Runtime; None lets it choose.

    Attributes:
        size: the network's `(height, width)`.
        rules: the default postprocess.
    """

    rules = Postprocess()

    def __init__(self, path: Path, threads: int | None = None) -> None:
        if path.suffix == ".onnx":
            self.size, self._run = _open_onnx(path, threads)
        elif (path / "saved_model.pb").exists():
            self.size, self._run = _open_saved_model(path)
        else:
            from keras_efsnet.tflite.mediapipe_files import open_task_files

            self.size, self._run = open_task_files(path)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the network on float32 or uint8 images `(n, height, width, 1)`."""
        rows = [self._run(image[None].astype(np.float32)) for image in images]
        return {
            name: np.concatenate([row[name] for row in rows])
            for name in ("mask", "class")
        }


def _open_onnx(path: Path, threads: int | None) -> tuple[Size, Callable[..., Any]]:
    _require_onnx("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]

    def run(image: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(None, {"image": image}), strict=True))

    height, width = session.get_inputs()[0].shape[1:3]
    return (height, width), run


def _open_saved_model(path: Path) -> tuple[Size, Callable[..., Any]]:
    import tensorflow as tf

    serve = tf.saved_model.load(path).signatures["serving_default"]
    (image,) = serve.structured_input_signature[1].values()

    def run(image_: np.ndarray) -> dict[str, np.ndarray]:
        outputs = serve(**{image.name: tf.constant(image_)})
        return {name: value.numpy() for name, value in outputs.items()}

    _, height, width, _ = image.shape
    return (height, width), run


def _require_onnx(package: str) -> None:
    if not importlib.util.find_spec(package):
        raise MissingPackage(
            f'ONNX needs {package}; install it: pip install "keras-efsnet[onnx]".'
        )
