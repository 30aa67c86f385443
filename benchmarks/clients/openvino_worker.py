"""OpenVINO on the CPU in float32, with one thread: .tflite, ONNX or SavedModel."""

from pathlib import Path

import numpy as np
import openvino
from common import Run, quantize, work

OPTIONS = {
    "INFERENCE_NUM_THREADS": 1,
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
}


def load(file: Path) -> tuple[str, Run]:
    model = openvino.Core().compile_model(file, "CPU", OPTIONS)
    request = model.create_infer_request()
    dtype = model.input(0).get_element_type().to_dtype()

    def run(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = request.infer({0: quantize(frame, dtype)}).values()
        by_axes = {values.ndim: np.array(values) for values in found}
        return by_axes[4], by_axes[2]

    return openvino.__version__.split("-")[0], run


if __name__ == "__main__":
    work(load)
