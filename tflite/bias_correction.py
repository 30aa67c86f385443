"""Removes the mean error that rounding adds to the class logits of an int8 file.

Reference: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and
Bias Correction", section 4.2. Chosen: the error is measured on images, and only that of
the last layer is removed.
"""

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from keras_efsnet.prediction.litert import MIDDLE_GREY
from keras_efsnet.tflite.flatbuffer import add_to_class_bias, with_class_logits


def correct_class_bias(
    content: bytes, frames: np.ndarray, expected: np.ndarray
) -> bytes:
    """Shifts the class logits so that their mean error on images is 0.

    Args:
        content: of an int8 file.
        frames: grey values in [0, 255], `(n, height, width, 1)`.
        expected: class probabilities of the float model `(n, classes)`.

    Returns:
        The content of the corrected file.
    """
    interpreter = Interpreter(model_content=with_class_logits(content))
    runner = interpreter.get_signature_runner("serving_default")
    dtype = runner.get_input_details()["image"]["dtype"]
    pixels = (frames - MIDDLE_GREY if dtype == np.int8 else frames).astype(dtype)
    found = [runner(image=image[None])["class"] for image in pixels]
    scale, zero_point = runner.get_output_details()["class"]["quantization"]
    error = scale * (np.concatenate(found).astype(np.float64) - zero_point)
    error -= np.log(np.maximum(expected, np.finfo(np.float32).tiny), dtype=np.float64)
    error -= error.mean(axis=-1, keepdims=True)  # softmax does not see a common shift
    return add_to_class_bias(content, -error.mean(axis=0))
