"""The algorithm that an object names as the source of its content."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keras_efsnet import __version__
from keras_efsnet.models.presets import PRESETS, file_digest
from keras_efsnet.prediction.predictor import LoadedPredictor

if TYPE_CHECKING:
    from pydicom.uid import UID

LONGEST_NAME = 64
"""Longest text of DICOM's value representation LO."""


@dataclass(frozen=True)
class Algorithm:
    """What made the results.

    Attributes:
        name: the model's name, at most `LONGEST_NAME` characters.
        version: of keras-efsnet.
        weights: hexadecimal SHA-256 of the weights' file.
        options: what else the results depend on.
    """

    name: str
    version: str
    weights: str
    options: Mapping[str, Any]

    @property
    def parameters(self) -> dict[str, str]:
        """The hash and the options as text, options sorted by name."""
        options = {name: str(self.options[name]) for name in sorted(self.options)}
        return {"weights SHA-256": self.weights, **options}

    def derive_uid(self, *facts: str | int) -> "UID":
        """Returns the UID of facts about a result, always the same for the same."""
        from pydicom.uid import UID

        texts = [self.name, self.version, *self.parameters.items(), *facts]
        return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, repr(texts)).int}")


def describe_algorithm(predictor: LoadedPredictor) -> Algorithm:
    """Names a predictor by its file, and hashes its weights and its card.

    The card holds the rules of postprocessing.

    Raises:
        OSError: a file cannot be read.
    """
    file = predictor.file
    is_preset = file.parent.parent == PRESETS
    name = f"EFSNet {file.parent.name if is_preset else file.name}"
    card = file.with_name("card.json")
    options = {"file": file.name}
    if card.is_file():
        options["card SHA-256"] = file_digest(card.read_bytes())
    return Algorithm(
        name[:LONGEST_NAME], __version__, file_digest(file.read_bytes()), options
    )
