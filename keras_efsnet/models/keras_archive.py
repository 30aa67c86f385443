"""Loading of `.keras` files in safe mode, after checks of size, hash and classes."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras

from keras_efsnet.models.presets import check_digest

MAX_UNPACKED = 2**29
"""Largest unpacked size of a `.keras` file in bytes; a small file can claim any."""


def read_archive(file: Path) -> keras.Model:
    """Loads a `.keras` file whose layers are Keras's own or registered.

    Raises:
        ValueError: the file is not a Keras model, does not match the hash in its card,
            or holds other classes or code.
    """
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{file}: not a whole .keras file; save or copy it again.")
    check_digest(file, file.read_bytes())
    try:
        _refuse_code(file)
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    # A damaged archive or config can raise any exception in Keras.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{file}: cannot be loaded as a model: {reason}") from error


def _refuse_code(file: Path) -> None:
    """Raises a short error for what safe mode would refuse with a long one."""
    with zipfile.ZipFile(file) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_UNPACKED:
            raise ValueError(f"it unpacks to {size:,} bytes, over {MAX_UNPACKED:,}.")
        _check_classes(json.loads(archive.read("config.json")))


def _check_classes(config: Any) -> None:
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
