"""ONNX Runtime on the CPU, with one thread."""

from pathlib import Path

import numpy as np
import onnxruntime
from common import Run, quantize, work


def load(file: Path) -> tuple[str, Run]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        file, options, providers=["CPUExecutionProvider"]
    )

    def run(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        image = quantize(frame, np.float32)
        mask, label = session.run(["mask", "class"], {"image": image})
        return mask, label

    return onnxruntime.__version__, run


if __name__ == "__main__":
    work(load)
