"""Removes the mean error that rounding adds to the class logits of an int8 file.

Reference: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and
Bias Correction", section 4.2. Chosen: the error is measured on images, and only that of
the last layer is removed.
"""

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from keras_efsnet.tflite.flatbuffer import add_to_class_bias


def correct_class_bias(
    content: bytes, images: np.ndarray, expected: np.ndarray
) -> bytes:
    """Shifts the class logits so that their mean error on images is 0.

    Args:
        content: of an int8 file.
        images: uint8 `(n, height, width)`.
        expected: class probabilities of the float model `(n, classes)`.

    Returns:
        The content of the corrected file.
    """
    runner = Interpreter(model_content=content).get_signature_runner("serving_default")
    found = np.concatenate([runner(image=i[None, :, :, None])["class"] for i in images])
    error = (_logits(found) - _logits(expected)).mean(axis=0)
    return add_to_class_bias(content, -error)


def _logits(probabilities: np.ndarray) -> np.ndarray:
    """Gives the logits with mean 0 that have these probabilities."""
    least = np.finfo(np.float32).tiny
    logs = np.log(np.maximum(probabilities, least), dtype=np.float64)
    return logs - logs.mean(axis=-1, keepdims=True)
