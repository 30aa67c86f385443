"""Runs an ONNX file for a benchmark (see `benchmark_worker`): FILE [THREADS]."""

from pathlib import Path

import numpy as np
import onnxruntime

from keras_efsnet.tflite.benchmark_worker import serve
from keras_efsnet.tflite.interchange import ExportedModel


def load(file: str, threads: int | None) -> ExportedModel:
    """Opens an exported EFSNet on ONNX Runtime and runs one image."""
    model = ExportedModel(Path(file), threads)
    model(np.zeros((1, *model.size, 1), np.float32))
    return model


if __name__ == "__main__":
    serve(load, lambda file: f"ONNX Runtime {onnxruntime.__version__}")
