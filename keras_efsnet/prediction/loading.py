"""`predict`, and loading of models with LiteRT or Keras, each imported on use."""

from functools import lru_cache
from pathlib import Path
from threading import Lock

from keras_efsnet.extras import MissingPackage
from keras_efsnet.models.presets import (
    DEFAULT_MODEL,
    MissingFile,
    find_folder,
    find_lite_file,
    find_model,
    list_files,
    no_such_model,
)
from keras_efsnet.prediction.postprocess import Prediction
from keras_efsnet.prediction.predictor import (
    Images,
    LoadedPredictor,
    predict_batch,
)

KEPT_MODELS = 4
"""Models that `predict` keeps loaded, the last ones used."""

_loading = Lock()


def predict(images: Images, model: str | Path = DEFAULT_MODEL) -> list[Prediction]:
    """Predicts lesion mask and class of breast ultrasound images.

    For research, not for diagnosis. The model stays loaded for the next call, unless
    its files change.

    Args:
        images: one or several of: files of one image (PNG, JPEG, BMP, TIFF, DICOM);
            uint8 or uint16 arrays, `(height, width)` or with a last axis of 1, 3 or 4
            channels; frames from `images.reading.read_frames`.
        model: a preset's name, a folder in its layout, or a `.tflite` or `.keras` file;
            see `load_predictor`.

    Returns:
        One prediction per image, in the order and size of the images.

    Raises:
        OSError, ValueError: an image cannot be read, or the model cannot be loaded.

    Example:

        from keras_efsnet import predict

        prediction = predict("scan.png")[0]
        print(prediction.label, prediction.lesion_area_px)
    """
    with _loading:
        predictor = _keep_loaded(str(model), _state(model))
    return predict_batch(predictor, images)


@lru_cache(KEPT_MODELS)
def _keep_loaded(model: str, state: object) -> LoadedPredictor:
    return load_predictor(model)


def _state(model: str | Path) -> object:
    """Tells whether a model's files are still the same, without reading them."""
    states = [(file.absolute(), file.stat()) for file in list_files(model)]
    return tuple(
        (file, state.st_ino, state.st_size, state.st_mtime_ns) for file, state in states
    )


def load_predictor(
    model: str | Path = DEFAULT_MODEL,
    threads: int | None = None,
    kind: str | None = None,
) -> LoadedPredictor:
    """Loads a model for prediction.

    A preset, or a folder in its layout, runs its `model_<kind>.tflite` with LiteRT. If
    ai-edge-litert is not installed, kind float32 runs `model.keras` with Keras; so does
    a folder without `model_float32.tflite` if no kind is asked for. The outputs agree
    within 1e-4. A `.tflite` file runs with LiteRT, a `.keras` file with Keras. The
    rules of a `card.json` beside the file apply. Threads may share the predictor; see
    `predict_batch`.

    Args:
        model: a preset's name, a folder, or a `.tflite` or `.keras` file.
        threads: CPU threads for the network to predict one image; None leaves the
            choice to the runtime.
        kind: one of `KINDS`, for a preset or folder; None is float32.

    Raises:
        OSError: the file cannot be read.
        ValueError: there is no such model, it has other inputs or outputs, or its
            runtime is not installed (`MissingPackage`).
    """
    folder = find_folder(model)
    if folder is None:
        return _load_file(Path(model), threads, kind)
    try:
        return _load_file(find_lite_file(folder, kind or "float32"), threads)
    except (MissingPackage, MissingFile) as missing:
        allowed = (None,) if isinstance(missing, MissingFile) else (None, "float32")
        if kind not in allowed:
            raise
        try:
            return _load_file(find_model(folder).keras_file, threads)
        except (MissingPackage, ValueError):
            raise missing from None


def _load_file(
    path: Path, threads: int | None, kind: str | None = None
) -> LoadedPredictor:
    if not path.is_file() or path.suffix not in (".keras", ".tflite"):
        raise no_such_model(path, "a .tflite or .keras file")
    if kind is not None:
        raise ValueError(
            f"{path}: kind {kind} is for presets; leave it out, a file has one kind."
        )
    if path.suffix == ".tflite":
        from keras_efsnet.prediction.litert import LiteModel

        return LiteModel(path, threads)
    from keras_efsnet.prediction.keras_runtime import KerasPredictor

    return KerasPredictor(path, threads)
