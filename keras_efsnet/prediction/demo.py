"""The demonstration: the network on one synthetic image of each class."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from keras_efsnet import batch
from keras_efsnet.phantom import make_phantom
from keras_efsnet.prediction import LABELS, Prediction
from keras_efsnet.predictor import Predictor, predict_image

SEED = 7


@dataclass(frozen=True, eq=False)
class DemoResult:
    """One phantom's outcome.

    Attributes:
        file: the image written.
        label: its true class.
        prediction: what the network says.
        dice: overlap of the predicted mask with the exact one, in [0, 1].
    """

    file: Path
    label: str
    prediction: Prediction
    dice: float


def run_demo(out: Path, predictor: Predictor) -> list[DemoResult]:
    """Writes image, mask and overlay of a phantom of each class and predictions.json.

    Raises:
        OSError: the folder cannot be written to.
    """
    results, records = [], []
    for label in LABELS:
        phantom = make_phantom(label, SEED)
        prediction = predict_image(predictor, phantom.image)
        target = out / label
        file = target.with_suffix(".png")
        batch.write_image(file, Image.fromarray(phantom.image))
        batch.write_prediction(target, phantom.image, prediction)
        records.append(batch.make_record(file, prediction, target, out))
        dice = _dice(phantom.mask, prediction.mask)
        results.append(DemoResult(file, label, prediction, dice))
    batch.write_records(out, records)
    return results


def _dice(truth: np.ndarray, mask: np.ndarray) -> float:
    # `metrics.overlap_scores` for arrays; the demonstration runs without Keras.
    total = int(truth.sum()) + int(mask.sum())
    return 2 * int((truth & mask).sum()) / total if total else 1.0
