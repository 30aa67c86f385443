"""Optional packages, which an extra of keras-efsnet installs, and their own lines."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TRAINING_MODULES = {
    *("tensorflow", "jax", "torch", "scipy", "sklearn", "matplotlib", "cv2"),
    *("threadpoolctl", "tf_keras", "tensorflow_model_optimization"),
}
"""Modules that training and export import, and prediction does not."""

_EXTRAS = {"export": "tflite", "teacher": "teacher"}
"""The extra of a command; all others that train or evaluate need the same two."""


class MissingPackage(ValueError):
    """A required package is not installed."""


def describe_missing(command: str, error: ModuleNotFoundError) -> str | None:
    """Says which extra a command needs; None if the module belongs to no extra."""
    module = (error.name or "").partition(".")[0]
    if module not in TRAINING_MODULES:
        return None
    extra = _EXTRAS.get(command, "train,tensorflow")
    return (
        f"efsnet {command} needs {module}, which is not installed; install it: "
        f'pip install "keras-efsnet[{extra}]".'
    )


def import_opencv(extra: str = "stream") -> Any:
    """Returns the module `cv2`.

    Args:
        extra: the extra that the error message names.

    Raises:
        MissingPackage: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingPackage(
            f"OpenCV cannot start ({error}); install it: "
            f'pip install "keras-efsnet[{extra}]".'
        ) from error
    return cv2


def import_highdicom() -> Any:
    """Returns the module `highdicom`.

    Raises:
        MissingPackage: highdicom is not installed.
    """
    try:
        import highdicom
    except ImportError as error:
        raise MissingPackage(
            f"DICOM SEG and SR need highdicom ({error}); install it: "
            'pip install "keras-efsnet[clinic]".'
        ) from error
    return highdicom


@contextmanager
def quiet_start() -> Iterator[None]:
    """Hides what a library writes to file descriptor 2; exceptions still pass.

    TensorFlow's first lines come from C++ and ignore its log level.
    """
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
