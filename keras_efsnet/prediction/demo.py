"""The demo: prediction of one synthetic image of each class."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from keras_efsnet.images.frame import Frame
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.page import write_page
from keras_efsnet.prediction.postprocess import Prediction
from keras_efsnet.prediction.predictor import Predictor, predict_frame
from keras_efsnet.prediction.writing import write_image, write_prediction, write_records

SEED = 7


@dataclass(frozen=True, eq=False)
class DemoResult:
    """The result for one phantom.

    Attributes:
        file: the image written.
        label: its true class.
        prediction: the network's.
        dice: Dice coefficient of the predicted mask, in [0, 1].
    """

    file: Path
    label: str
    prediction: Prediction
    dice: float


def run_demo(out: Path, predictor: Predictor, model: str) -> list[DemoResult]:
    """Predicts a phantom of each class and writes images, results and their page.

    Args:
        out: the output folder.
        predictor: the loaded model.
        model: its name.

    Raises:
        OSError: the folder cannot be written to.
    """
    results, records = [], []
    for label in LABELS:
        phantom = make_phantom(label, SEED)
        file = out / f"{label}.png"
        frame = Frame(phantom.image, file)
        prediction = predict_frame(predictor, frame)
        write_image(file, Image.fromarray(phantom.image))
        records.append(write_prediction(frame, prediction, out / label, out))
        dice = _dice(phantom.mask, prediction.mask)
        results.append(DemoResult(file, label, prediction, dice))
    written = write_records(out, records)
    earlier = len(written) - len(records)
    write_page(out, written, model, bool(predictor.rules.refer), earlier)
    return results


def _dice(truth: np.ndarray, mask: np.ndarray) -> float:
    # As `metrics.overlap_from_counts`, but without Keras.
    total = int(truth.sum()) + int(mask.sum())
    return 2 * int((truth & mask).sum()) / total if total else 1.0
