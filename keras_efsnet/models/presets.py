"""SHA-256 of model files: what a card says of them, and whether it is still true."""

import hashlib
from pathlib import Path

from keras_efsnet.predictor import read_card


def file_digest(content: bytes) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def weight_digests(folder: Path) -> dict[str, str]:
    """The digests of a preset's model files by name, as its card holds them."""
    files = [*sorted(folder.glob("*.keras")), *sorted(folder.glob("*.tflite"))]
    return {file.name: file_digest(file.read_bytes()) for file in files}


def check_digest(file: Path, content: bytes) -> None:
    """Compares a model file with the card beside it, where that names the file.

    Args:
        content: what was read from `file`.

    Raises:
        ValueError: the file is not the one that the card was written for.
    """
    expected = read_card(file).get("sha256", {}).get(file.name)
    if expected is not None and file_digest(content) != expected:
        raise ValueError(
            f"{file}: its SHA-256 is not the one in {file.with_name('card.json')}: "
            "changed or damaged; copy it again, or after an export of your own run "
            f"`python -m keras_efsnet.training.card {file.parent}`."
        )
