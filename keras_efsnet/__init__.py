"""EFSNet for Keras 3: lesion mask and class of a breast ultrasound image.

Names are imported when they are first used, so that prediction with LiteRT needs no
Keras. To load a saved model with `keras.saving.load_model`, import keras before this
package, or take `EFSNet` from it: either one registers the layers.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_efsnet import layers
    from keras_efsnet.model import EFSNet
    from keras_efsnet.prediction import LABELS, Prediction
    from keras_efsnet.predictor import predict

__version__ = "0.1.0"
DEFAULT_MODEL = "efsnet_base_busi"
"""The preset that prediction uses unless told otherwise."""

__all__ = ["LABELS", "EFSNet", "Prediction", "layers", "predict"]

_HOMES = {
    "EFSNet": "keras_efsnet.model",
    "LABELS": "keras_efsnet.prediction",
    "Prediction": "keras_efsnet.prediction",
    "predict": "keras_efsnet.predictor",
}
_REGISTERING = ("layers", "model", "losses", "metrics")


def _register() -> None:
    for module in _REGISTERING:
        importlib.import_module(f"keras_efsnet.{module}")


def __getattr__(name: str) -> Any:
    if name in ("EFSNet", "layers"):
        _register()
    if name in _HOMES:
        globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    if name not in globals():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if "keras" in sys.modules:
    _register()
