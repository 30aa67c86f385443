"""Optional packages, which an extra of keras-efsnet installs."""

from typing import Any


class MissingPackage(ValueError):
    """A required package is not installed."""


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
