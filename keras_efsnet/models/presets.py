"""Names, files, cards and hashes of presets, also on hubs; needs no Keras."""

import hashlib
import importlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from keras_efsnet.extras import MissingPackage

DEFAULT_MODEL = "efsnet_base_breast"
"""The default preset for prediction."""

PRESETS = Path(__file__).parents[1] / "presets"

KINDS = ("float32", "float16", "dynamic", "int8")
"""Number types of a preset's `model_<kind>.tflite` files. "dynamic" and "int8" have
int8 weights; "int8" also computes in int8."""

DEFAULT_SIZE = (256, 256)
"""Input size for models that take any size."""


_HUBS = {
    "hf": ("huggingface_hub", "snapshot_download"),
    "kaggle": ("kagglehub", "model_download"),
}
"""For each kind of handle, the package and its function that fetch the folder."""


class MissingFile(ValueError):
    """A preset without the file of a kind."""


@dataclass(frozen=True)
class ModelFiles:
    """A model's Keras file and its card (empty if there is none)."""

    keras_file: Path
    card: dict[str, Any]


def find_lite_file(folder: Path, kind: str) -> Path:
    """Finds `model_<kind>.tflite` in a preset's folder.

    Raises:
        ValueError: there is no such kind, or no such file (`MissingFile`).
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind}.")
    file = folder / f"model_{kind}.tflite"
    if not file.is_file():
        raise MissingFile(
            f"{file}: no such file; make it with `efsnet export`, or choose another "
            "kind, or a .keras file as the model."
        )
    return file


def list_files(model: str | Path, kind: str | None = None) -> list[Path]:
    """Lists the files that prediction with a model may use: weights, and their card.

    Args:
        model: as in `find_folder`, or a `.tflite` or `.keras` file.
        kind: one of `KINDS`, for a preset or folder; None is float32.

    Returns:
        Those that are there; empty if there is no such model.
    """
    folder = find_folder(model)
    files = [Path(model)]
    if folder is not None:
        files = [folder / f"model_{kind or 'float32'}.tflite"]
        files += [folder / "model.keras"] if kind in (None, "float32") else []
    files.append(files[0].with_name("card.json"))
    return [file for file in files if file.is_file()]


def find_model(model: str | Path) -> ModelFiles:
    """Finds a preset by name, a `.keras` file, or a folder with `model.keras`.

    Raises:
        ValueError: there is no such preset, file or folder; see also `find_folder`.
    """
    folder = find_folder(model)
    path = folder / "model.keras" if folder else Path(model)
    if not path.is_file() or path.suffix != ".keras":
        raise no_such_model(model, "a .keras file")
    return ModelFiles(path, read_card(path))


def preset_names() -> list[str]:
    """Returns the names of the shipped presets."""
    return sorted(file.parent.name for file in PRESETS.glob("*/model.keras"))


def describe_presets() -> dict[str, dict[str, Any]]:
    """Returns in short what the cards of the shipped presets say, by preset."""
    return {name: _describe(PRESETS / name) for name in preset_names()}


def _describe(folder: Path) -> dict[str, Any]:
    card = read_card(folder / "model.keras")
    datasets = [facts["name"] for facts in card.get("datasets", {}).values()]
    return {
        "metadata": {
            "description": card.get("intended_use", ""),
            "datasets": datasets,
            "labels": card.get("labels", []),
            "licence": card.get("licence", ""),
        }
    }


def read_card(file: Path) -> dict[str, Any]:
    """Reads the `card.json` beside a model's file; empty if there is none.

    Raises:
        ValueError: it is not JSON.
    """
    path = file.with_name("card.json")
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file: {error}") from error


def file_digest(content: bytes) -> str:
    """Returns the hexadecimal SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def weight_digests(folder: Path) -> dict[str, str]:
    """Returns the digests of a preset's model files by name, as in its card."""
    kinds = ("*.keras", "*.onnx", "*.tflite")
    files = [file for kind in kinds for file in sorted(folder.glob(kind))]
    return {file.name: file_digest(file.read_bytes()) for file in files}


def check_digest(file: Path, content: bytes) -> None:
    """Compares the content of a model file with the hash in its card, if it has one.

    Raises:
        ValueError: the hashes differ.
    """
    expected = read_card(file).get("sha256", {}).get(file.name)
    if expected is not None and file_digest(content) != expected:
        raise ValueError(
            f"{file}: its SHA-256 is not the one in {file.with_name('card.json')}; "
            "copy the file again, or if you changed it yourself run "
            f"`python -m keras_efsnet.training.card {file.parent}`."
        )


def find_folder(model: str | Path) -> Path | None:
    """Returns the folder of a preset, `model` if it is a folder, or None.

    Args:
        model: a preset's name, a path, or the handle of a folder on a hub,
            `hf://USER/MODEL` or `kaggle://USER/MODEL/keras/VARIATION`; it is downloaded
            once.

    Raises:
        MissingPackage: the hub's package is not installed.
        ValueError: the folder cannot be downloaded.
    """
    if str(model).partition("://")[0] in _HUBS and "://" in str(model):
        return _download(str(model))
    folder = PRESETS / model if str(model) in preset_names() else Path(model)
    return folder if folder.is_dir() else None


@cache
def _download(handle: str) -> Path:
    scheme, _, name = handle.partition("://")
    package, function = _HUBS[scheme]
    try:
        hub = importlib.import_module(package)
    except ImportError as error:
        raise MissingPackage(
            f"{handle}: {scheme}:// needs {package} ({error}); install it: "
            f"pip install {package}."
        ) from error
    try:
        return Path(getattr(hub, function)(name))
    # The hubs have their own errors, and those of the network below them.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{handle}: cannot be downloaded: {reason}; check the handle, the "
            "connection and, for a private model, your login."
        ) from error


def new_folder(path: str | Path) -> Path:
    """Makes the folder of a new preset, which may hold an older `model.keras`.

    Raises:
        OSError: it cannot be made.
        ValueError: it holds a card or exported files, which belong to other weights.
    """
    folder = Path(path)
    kinds = ("card.json", "*.tflite", "*.onnx")
    found = [file for kind in kinds for file in folder.glob(kind)]
    if found:
        raise ValueError(
            f"{folder}: holds {found[0].name} of other weights; remove it, or choose "
            "another folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def check_card_folder(folder: Path) -> None:
    """Checks that a card.json in a folder would be of `model.keras` alone.

    Raises:
        ValueError: the folder holds another `.keras` file, such as a run's.
    """
    others = sorted(set(folder.glob("*.keras")) - {folder / "model.keras"})
    if others:
        raise ValueError(
            f"{folder}: holds {others[0].name}, for which its new card.json would "
            "count too; choose another folder."
        )


def no_such_model(model: str | Path, files: str) -> ValueError:
    """Returns the error for an unknown model; `files` names the accepted files."""
    shipped = ", ".join(preset_names()) or "none"
    return ValueError(f"{model}: no such model; give {files} or a preset ({shipped}).")
