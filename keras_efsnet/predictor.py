"""Running a trained network on images: presets and model files, one image at a time."""

import json
import time
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from keras_efsnet import DEFAULT_MODEL
from keras_efsnet.images import Size, read_image, resize_image, to_grey
from keras_efsnet.prediction import LABELS, Postprocess, Prediction, postprocess

if TYPE_CHECKING:
    import keras

DEFAULT_SIZE = (256, 256)
"""The network's size where a model takes any."""

PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class ModelFiles:
    """Where a model lies: the Keras file, and its card (empty where there is none)."""

    keras_file: Path
    card: dict[str, Any]


class Predictor(Protocol):
    """A network ready to run: `(n, height, width, 1)` float32 grey in [0, 255] to the
    dict of `mask`, `(n, height, width, 1)`, and `class`, `(n, 3)`, both in [0, 1]."""

    size: Size
    rules: Postprocess

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]: ...


def predict(
    images: Iterable[str | Path | np.ndarray] | str | Path | np.ndarray,
    model: str | Path = DEFAULT_MODEL,
) -> list[Prediction]:
    """Finds the lesion and the class in breast ultrasound images.

    For research, not for diagnosis.

    Args:
        images: files (PNG, JPEG, BMP, TIFF) or arrays: uint8 or uint16 `(height,
            width)`, or with a last axis of 1, 3 or 4 channels. One alone counts as a
            list of one.
        model: a preset's name, or a `.keras` file or a folder with `model.keras`.

    Returns:
        One prediction an image, in its own size and order.

    Raises:
        OSError, ValueError: an image cannot be read, or the model cannot be loaded.

    Example:

        from keras_efsnet import predict

        prediction = predict("scan.png")[0]
        print(prediction.label, prediction.lesion_area_px)
    """
    if isinstance(images, str | Path | np.ndarray):
        images = [images]
    greys = [_grey(image) for image in images]
    predictor = load_predictor(model)
    return [predict_image(predictor, grey) for grey in greys]


def predict_image(predictor: Predictor, grey: np.ndarray) -> Prediction:
    """Predicts and times one uint8 grey image `(height, width)`, at its own size."""
    start = time.perf_counter()
    network_input = resize_image(grey, predictor.size).astype(np.float32)
    outputs = predictor(network_input[None, :, :, None])
    prediction = postprocess(
        outputs["mask"][0, :, :, 0], outputs["class"][0], grey.shape, predictor.rules
    )
    milliseconds = 1000 * (time.perf_counter() - start)
    return replace(prediction, milliseconds=milliseconds)


def load_predictor(
    model: str | Path = DEFAULT_MODEL, threads: int | None = None
) -> Predictor:
    """Loads a model for prediction.

    Args:
        model: as in `predict`. The rules of a `card.json` beside the file apply.
        threads: CPU threads of the network; None leaves the choice to the runtime.

    Raises:
        ValueError: there is no such model, or it has other inputs or outputs.
    """
    files = find_model(model)
    return KerasPredictor(files.keras_file, _rules(files), threads)


def find_model(model: str | Path) -> ModelFiles:
    """Finds a preset by name, or a `.keras` file or a folder with `model.keras`.

    Raises:
        ValueError: neither a preset nor a file has this name.
    """
    path = PRESETS / model if str(model) in preset_names() else Path(model)
    if path.is_dir():
        path = path / "model.keras"
    if not path.is_file() or path.suffix != ".keras":
        shipped = ", ".join(preset_names()) or "none"
        raise ValueError(
            f"{model}: no such model; give a .keras file or a preset ({shipped})."
        )
    card = path.with_name("card.json")
    return ModelFiles(path, _read_card(card) if card.is_file() else {})


def preset_names() -> list[str]:
    """The names of the shipped presets."""
    return sorted(file.parent.name for file in PRESETS.glob("*/model.keras"))


class KerasPredictor:
    """A `.keras` file run by Keras on its current backend.

    One image is run on loading, so that compiling is in no image's time.

    Args:
        file: the `.keras` file; input `(batch, height, width, 1)`, outputs `mask` and
            `class`.
        rules: the model's postprocess.
        threads: CPU threads, None for the backend's choice.

    Raises:
        ValueError: the file cannot be loaded or has other inputs or outputs.
    """

    def __init__(
        self, file: Path, rules: Postprocess, threads: int | None = None
    ) -> None:
        if threads is not None:
            _limit_threads(threads)
        self.rules = rules
        self._model = load_keras_model(file)
        shape = self._model.input_shape
        if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] != 1:
            raise ValueError(
                f"{file}: the input must be (batch, height, width, 1), got {shape}."
            )
        self.size = (shape[1] or DEFAULT_SIZE[0], shape[2] or DEFAULT_SIZE[1])
        _check_outputs(file, self(np.zeros((1, *self.size, 1), np.float32)), self.size)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return self._model.predict_on_batch(images)


def load_keras_model(file: Path) -> "keras.Model":
    """Loads a `.keras` file in safe mode, EFSNet's layers being known.

    Raises:
        ValueError: the file is no Keras model, or no Keras backend is installed.
    """
    try:
        import keras

        import keras_efsnet.model  # noqa: F401 (registers the layers)
    except ImportError as error:
        raise ValueError(
            f"Keras cannot start ({error}); install a backend: "
            'pip install "keras-efsnet[tensorflow]", or [jax] or [torch] and set '
            "KERAS_BACKEND."
        ) from error
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{file}: not a whole .keras file; save or copy it again.")
    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    # Keras lets through whatever a damaged archive or config raises.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{file}: cannot be loaded as a model: {reason}") from error


def _check_outputs(file: Path, outputs: Any, size: Size) -> None:
    expected = {"mask": (1, *size, 1), "class": (1, len(LABELS))}
    is_dict = isinstance(outputs, dict)
    shapes = {name: out.shape for name, out in outputs.items()} if is_dict else {}
    if shapes != expected:
        raise ValueError(
            f"{file}: the outputs must be a dict of the shapes {expected}, got "
            f"{shapes or type(outputs).__name__}; give a model made by EFSNet with "
            f"num_classes={len(LABELS)}."
        )


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


def _grey(image: str | Path | np.ndarray) -> np.ndarray:
    return to_grey(image) if isinstance(image, np.ndarray) else read_image(image)


def _read_card(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file: {error}") from error


def _rules(files: ModelFiles) -> Postprocess:
    try:
        return Postprocess(**files.card.get("postprocess", {}))
    except (TypeError, ValueError) as error:
        card = files.keras_file.with_name("card.json")
        raise ValueError(f"{card}: postprocess: {error}") from error
