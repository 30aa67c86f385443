"""Facts of a model file: its card, tensors, size and hash; versions of packages."""

import platform
from collections.abc import Iterator
from importlib import metadata
from math import prod
from pathlib import Path
from typing import Any

from keras_efsnet import __version__
from keras_efsnet.extras import MissingPackage
from keras_efsnet.models.presets import (
    KINDS,
    file_digest,
    find_lite_file,
    find_model,
    read_card,
)
from keras_efsnet.models.saving import load_keras_model

Facts = dict[str, str]


PACKAGES = (
    *("numpy", "pillow", "ai-edge-litert", "keras", "tensorflow", "jax", "torch"),
    *("pydicom", "highdicom", "opencv-python-headless", "onnxruntime"),
)
"""Packages that can change a result."""


def list_versions() -> Facts:
    """Returns the versions of keras-efsnet, Python and the installed `PACKAGES`."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    own = {"keras-efsnet": __version__, "python": platform.python_version()}
    return {**own, "platform": platform.platform(), **installed}


def identify_model(model: str | Path) -> dict[str, Any]:
    """Returns a model's `file`, `sha256` (by file name) and `card`, for programs.

    For a preset, `sha256` has all of its model files.

    Raises:
        OSError, ValueError: there is no such model, or its card is damaged.
    """
    is_lite = Path(model).suffix == ".tflite"
    path = Path(model) if is_lite else find_model(model).keras_file
    whole = path.name == "model.keras"
    files = sorted(_model_files(path.parent)) if whole else [path]
    digests = {file.name: file_digest(file.read_bytes()) for file in files}
    return {"file": str(path), "sha256": digests, "card": read_card(path)}


def describe_model(model: str | Path) -> Facts:
    """Collects the facts of a preset, `.keras` or `.tflite` file, in reading order.

    For a preset: its `model.keras`, then its `.tflite` files. Without a Keras backend,
    the tensors come from its float32 file. Nested names of the card are dotted.

    Raises:
        OSError, ValueError: there is no such model, or it cannot be loaded.
    """
    if Path(model).suffix == ".tflite":
        path = Path(model)
        return _file_facts(path) | _lite_tensors(path) | _card_facts(path)
    path = find_model(model).keras_file
    facts = _file_facts(path) | _tensors(path)
    if path.name == "model.keras":
        for lite in map(path.with_name, (f"model_{kind}.tflite" for kind in KINDS)):
            if lite.is_file():
                size, digest = _measure(lite)
                facts[lite.name] = f"{size} bytes, sha256 {digest}"
    return facts | _card_facts(path)


def _model_files(folder: Path) -> Iterator[Path]:
    endings = (".keras", ".tflite", ".onnx")
    return (file for file in folder.glob("model*") if file.suffix in endings)


def _file_facts(path: Path) -> Facts:
    size, digest = _measure(path)
    return {"file": str(path), "bytes": size, "sha256": digest}


def _measure(path: Path) -> tuple[str, str]:
    content = path.read_bytes()
    return f"{len(content):,}", file_digest(content)


def _tensors(path: Path) -> Facts:
    try:
        return _keras_tensors(path)
    except MissingPackage:
        if path.name != "model.keras":
            raise
        return _lite_tensors(find_lite_file(path.parent, "float32"))


def _keras_tensors(path: Path) -> Facts:
    network = load_keras_model(path)
    trainable = sum(prod(weight.shape) for weight in network.trainable_weights)
    facts = {"parameters": f"{network.count_params():,} ({trainable:,} trainable)"}
    for tensor in network.inputs:
        facts[f"input {tensor.name}"] = f"{tensor.dtype} {tensor.shape}"
    for name, tensor in zip(network.output_names, network.outputs, strict=True):
        facts[f"output {name}"] = f"{tensor.dtype} {tensor.shape}"
    return facts


def _lite_tensors(path: Path) -> Facts:
    from keras_efsnet.prediction.litert import LiteModel

    model = LiteModel(path)
    shape = (1, *model.size, 1)
    return {
        "input image": f"{model.input_type} {shape}",
        "output mask": f"float32 {shape}",
        "output class": f"float32 {(1, model.classes)}",
    }


def _card_facts(path: Path) -> Facts:
    return dict(_flatten(read_card(path)))


def _flatten(card: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in card.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], list):
            yield f"{prefix}{key}", f"{len(value)} x {len(value[0])} numbers"
        else:
            yield f"{prefix}{key}", str(value)
