"""Running a trained network on images: presets and model files, one image at a time.

Presets and `.tflite` files run with LiteRT, `.keras` files with Keras; each runtime is
imported when a model needs it.
"""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_efsnet import DEFAULT_MODEL
from keras_efsnet.images import Size, read_image, resize_image, to_grey
from keras_efsnet.prediction import LABELS, Postprocess, Prediction, postprocess

PRESETS = Path(__file__).parent / "presets"

KINDS = ("float32", "float16", "dynamic", "int8")
"""The number types of a preset's `.tflite` files, `model_<kind>.tflite`."""

Images = Iterable[str | Path | np.ndarray] | str | Path | np.ndarray
"""Files and arrays, or one of them, as `predict` takes them."""


class MissingPackage(ValueError):
    """A model's runtime is not installed."""


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


def predict(images: Images, model: str | Path = DEFAULT_MODEL) -> list[Prediction]:
    """Finds the lesion and the class in breast ultrasound images.

    For research, not for diagnosis.

    Args:
        images: files (PNG, JPEG, BMP, TIFF) or arrays: uint8 or uint16 `(height,
            width)`, or with a last axis of 1, 3 or 4 channels. One alone counts as a
            list of one.
        model: a preset's name, a folder laid out like one, or a `.tflite` or `.keras`
            file; see `load_predictor`.

    Returns:
        One prediction an image, in its own size and order.

    Raises:
        OSError, ValueError: an image cannot be read, or the model cannot be loaded.

    Example:

        from keras_efsnet import predict

        prediction = predict("scan.png")[0]
        print(prediction.label, prediction.lesion_area_px)
    """
    greys = read_greys(images)
    predictor = load_predictor(model)
    return [predict_image(predictor, grey) for grey in greys]


def read_greys(images: Images) -> list[np.ndarray]:
    """Reads files and converts arrays to uint8 grey `(height, width)`.

    Raises:
        OSError, ValueError: an image cannot be read.
    """
    if isinstance(images, str | Path | np.ndarray):
        images = [images]
    return [
        to_grey(image) if isinstance(image, np.ndarray) else read_image(image)
        for image in images
    ]


def predict_image(predictor: Predictor, grey: np.ndarray) -> Prediction:
    """Predicts and times one uint8 grey image `(height, width)`, at its own size."""
    start = time.perf_counter()
    image = resize_image(grey, predictor.size)
    outputs = predictor(image.astype(np.float32)[None, :, :, None])
    prediction = postprocess(
        outputs["mask"][0, :, :, 0],
        outputs["class"][0],
        grey.shape,
        predictor.rules,
        image,
    )
    milliseconds = 1000 * (time.perf_counter() - start)
    return replace(prediction, milliseconds=milliseconds)


def load_predictor(
    model: str | Path = DEFAULT_MODEL,
    threads: int | None = None,
    kind: str | None = None,
) -> Predictor:
    """Loads a model for prediction.

    A preset, or a folder laid out like one, runs from its `model_<kind>.tflite` with
    LiteRT, and Keras is not imported. Only where ai-edge-litert is not installed, and
    Keras is with a backend, does kind float32 run from `model.keras` instead, for the
    same answers within 1e-4; nothing else stands in for a missing file. A `.tflite`
    file runs with LiteRT, a `.keras` file with Keras. The rules of a `card.json` beside
    the file apply.

    Args:
        model: a preset's name, a folder, or a `.tflite` or `.keras` file.
        threads: CPU threads of the network; None leaves the choice to the runtime.
        kind: one of `KINDS`, for a preset or folder; None is float32.

    Raises:
        OSError: the file may not be read.
        ValueError: there is no such model, it has other inputs or outputs, or its
            runtime is not installed (`MissingPackage`).
    """
    folder = _find_folder(model)
    if folder is None:
        return _load_file(Path(model), threads, kind)
    file = find_lite_file(folder, kind or "float32")
    try:
        return _load_file(file, threads)
    except MissingPackage as no_litert:
        if kind not in (None, "float32"):
            raise
        try:
            return _load_file(find_model(folder).keras_file, threads)
        except MissingPackage:
            raise no_litert from None


def find_lite_file(folder: Path, kind: str) -> Path:
    """Finds `model_<kind>.tflite` in a preset's folder.

    Raises:
        ValueError: there is no such kind or file.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind}.")
    file = folder / f"model_{kind}.tflite"
    if not file.is_file():
        raise ValueError(
            f"{file}: no such file; make it with `efsnet export`, or choose another "
            "kind, or a .keras file as the model."
        )
    return file


def find_model(model: str | Path) -> ModelFiles:
    """Finds a preset by name, or a `.keras` file or a folder with `model.keras`.

    Raises:
        ValueError: neither a preset nor a file has this name.
    """
    folder = _find_folder(model)
    path = folder / "model.keras" if folder else Path(model)
    if not path.is_file() or path.suffix != ".keras":
        raise _no_such_model(model, "a .keras file")
    return ModelFiles(path, read_card(path))


def preset_names() -> list[str]:
    """The names of the shipped presets."""
    return sorted(file.parent.name for file in PRESETS.glob("*/model.keras"))


def read_card(file: Path) -> dict[str, Any]:
    """Reads the `card.json` beside a model's file; empty where there is none.

    Raises:
        ValueError: it is no JSON file.
    """
    path = file.with_name("card.json")
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file: {error}") from error


def read_rules(file: Path) -> Postprocess:
    """Reads a model's postprocess from the card beside its file.

    Raises:
        ValueError: the card is damaged or has other rules.
    """
    card = read_card(file)
    try:
        return Postprocess.from_json(card.get("postprocess", {}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        path = file.with_name("card.json")
        raise ValueError(f"{path}: postprocess: {error}") from error


def check_threads(threads: int | None) -> None:
    """Raises ValueError for a number of threads below 1."""
    if threads is not None and threads < 1:
        raise ValueError(
            f"threads must be at least 1, got {threads}; leave it out for the "
            "runtime's own choice."
        )


def check_outputs(
    file: Path, shapes: Mapping[str, tuple[int, ...]], size: Size
) -> None:
    """Raises ValueError unless a model answers one image with `mask` and `class`.

    Args:
        file: the model's file.
        shapes: the outputs' shapes by name; empty where they have no names.
        size: the network's `(height, width)`.
    """
    expected = {"mask": (1, *size, 1), "class": (1, len(LABELS))}
    if shapes != expected:
        raise ValueError(
            f"{file}: the outputs must have the names and shapes {expected}, got "
            f"{dict(shapes) or 'no names'}; give a model made by EFSNet with "
            f"num_classes={len(LABELS)}."
        )


def _find_folder(model: str | Path) -> Path | None:
    """The folder of a preset, or `model` where it is one; None for anything else."""
    folder = PRESETS / model if str(model) in preset_names() else Path(model)
    return folder if folder.is_dir() else None


def _load_file(path: Path, threads: int | None, kind: str | None = None) -> Predictor:
    if not path.is_file() or path.suffix not in (".keras", ".tflite"):
        raise _no_such_model(path, "a .tflite or .keras file")
    if kind is not None:
        raise ValueError(
            f"{path}: kind {kind} is for presets; leave it out, a file is of one kind."
        )
    if path.suffix == ".tflite":
        from keras_efsnet.tflite.runtime import LiteModel

        return LiteModel(path, threads)
    from keras_efsnet.keras_predictor import KerasPredictor

    return KerasPredictor(path, threads)


def _no_such_model(model: str | Path, files: str) -> ValueError:
    shipped = ", ".join(preset_names()) or "none"
    return ValueError(f"{model}: no such model; give {files} or a preset ({shipped}).")
