"""EFSNet for Keras 3: lesion mask and class of a breast ultrasound image.

Names are imported on first use, so prediction with LiteRT needs no Keras. To use
`keras.saving.load_model`, first import keras and then this package, or import `EFSNet`.
Either way registers the layers.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from keras_efsnet.images.grey import Size
    from keras_efsnet.labels import LABELS
    from keras_efsnet.models import layers
    from keras_efsnet.models.efsnet import EFSNet
    from keras_efsnet.prediction.loading import load_predictor, predict
    from keras_efsnet.prediction.postprocess import Prediction
    from keras_efsnet.prediction.predictor import Images, predict_batch

__version__ = "0.1.0"

__all__ = [
    "LABELS",
    "EFSNet",
    "Prediction",
    "layers",
    "load_predictor",
    "predict",
    "predict_batch",
    "preprocess",
]

_HOMES = {
    "EFSNet": "keras_efsnet.models.efsnet",
    "LABELS": "keras_efsnet.labels",
    "Prediction": "keras_efsnet.prediction.postprocess",
    "layers": "keras_efsnet.models",
    "load_predictor": "keras_efsnet.prediction.loading",
    "predict": "keras_efsnet.prediction.loading",
    "predict_batch": "keras_efsnet.prediction.predictor",
}
_REGISTERING = ("layers", "efsnet", "losses", "metrics")


def preprocess(images: "Images", size: "Size" = (256, 256)) -> "np.ndarray":
    """Makes the pixels that `predict` and `efsnet predict` give to the network.

    Args:
        images: as in `predict`.
        size: the network's `(height, width)`.

    Returns:
        float32 `(n, height, width, 1)`, grey values in [0, 255], for `model.predict`.

    Raises:
        OSError, ValueError: an image cannot be read.

    Example:

        from keras_efsnet import EFSNet, preprocess

        model = EFSNet.from_preset("efsnet_base_breast")
        outputs = model.predict(preprocess(["one.png", "two.png"]))
    """
    import numpy as np

    from keras_efsnet.images.grey import resize_image
    from keras_efsnet.prediction.predictor import to_frames

    greys = [
        resize_image(
            frame.pixels[frame.scan.slices] if frame.scan else frame.pixels, size
        )
        for frame in to_frames(images)
    ]
    return np.array(greys, np.float32).reshape(-1, *size, 1)


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
