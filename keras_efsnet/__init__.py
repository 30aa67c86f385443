"""EFSNet for Keras 3: lesion mask and class of a breast ultrasound image.

Names are imported on first use, so prediction with LiteRT needs no Keras. To use
`keras.saving.load_model`, first import keras and then this package, or import `EFSNet`.
Either way registers the layers.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_efsnet.labels import LABELS
    from keras_efsnet.models import layers
    from keras_efsnet.models.efsnet import EFSNet
    from keras_efsnet.prediction.loading import predict
    from keras_efsnet.prediction.postprocess import Prediction

__version__ = "0.1.0"

__all__ = ["LABELS", "EFSNet", "Prediction", "layers", "predict"]

_HOMES = {
    "EFSNet": "keras_efsnet.models.efsnet",
    "LABELS": "keras_efsnet.labels",
    "Prediction": "keras_efsnet.prediction.postprocess",
    "layers": "keras_efsnet.models",
    "predict": "keras_efsnet.prediction.loading",
}
_REGISTERING = ("layers", "efsnet", "losses", "metrics")


def _register() -> None:
    for module in _REGISTERING:
        importlib.import_module(f"keras_efsnet.models.{module}")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("EFSNet", "layers"):
        _register()
    globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if "keras" in sys.modules:
    _register()
