"""Loading a model with the runtime that it needs, and `predict`.

Presets and `.tflite` files run with LiteRT, `.keras` files with Keras; each runtime is
imported when a model needs it.
"""

from pathlib import Path

from keras_efsnet.extras import MissingPackage
from keras_efsnet.models.presets import (
    DEFAULT_MODEL,
    find_folder,
    find_lite_file,
    find_model,
    no_such_model,
)
from keras_efsnet.prediction.postprocess import Prediction
from keras_efsnet.prediction.predictor import (
    Images,
    Predictor,
    predict_frame,
    to_frames,
)


def predict(images: Images, model: str | Path = DEFAULT_MODEL) -> list[Prediction]:
    """Finds the lesion and the class in breast ultrasound images.

    For research, not for diagnosis.

    Args:
        images: files of one image (PNG, JPEG, BMP, TIFF, DICOM); arrays, uint8 or
            uint16 `(height, width)`, or with a last axis of 1, 3 or 4 channels; or
            frames, as `images.reading.read_frames` yields them. One alone counts as a
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
    frames = to_frames(images)
    predictor = load_predictor(model)
    return [predict_frame(predictor, frame) for frame in frames]


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
    folder = find_folder(model)
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


def _load_file(path: Path, threads: int | None, kind: str | None = None) -> Predictor:
    if not path.is_file() or path.suffix not in (".keras", ".tflite"):
        raise no_such_model(path, "a .tflite or .keras file")
    if kind is not None:
        raise ValueError(
            f"{path}: kind {kind} is for presets; leave it out, a file is of one kind."
        )
    if path.suffix == ".tflite":
        from keras_efsnet.prediction.litert import LiteModel

        return LiteModel(path, threads)
    from keras_efsnet.prediction.keras_runtime import KerasPredictor

    return KerasPredictor(path, threads)
