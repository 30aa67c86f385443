"""Packages that an extra of this one installs."""

from typing import Any


class MissingPackage(ValueError):
    """A package that is needed here is not installed."""


def import_opencv(extra: str = "stream") -> Any:
    """Returns the module `cv2`.

    Args:
        extra: what to install where it is missing.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingPackage(
            f"OpenCV cannot start ({error}); install it: "
            f'pip install "keras-efsnet[{extra}]".'
        ) from error
    return cv2
