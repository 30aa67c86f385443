"""Runs an ONNX file for a benchmark (see `benchmark_worker`).

python -m keras_efsnet.tflite.benchmark_onnx PACKAGE FILE [THREADS]
"""

import importlib.util
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from keras_efsnet.images.grey import Size
from keras_efsnet.tflite.benchmark_worker import Network, serve
from keras_efsnet.tflite.interchange import ExportedModel

RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
"""Names of the runtimes by their packages."""


def installed_runtimes() -> list[str]:
    """Lists the packages of `RUNTIMES` that are here."""
    return [package for package in RUNTIMES if importlib.util.find_spec(package)]


class OpenVINOModel:
    """An ONNX file on the CPU, with OpenVINO's own choice of the number type."""

    def __init__(self, file: Path, threads: int | None) -> None:
        import openvino

        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        model = openvino.Core().compile_model(file, "CPU", options)
        _, height, width, _ = model.input(0).shape
        self.size: Size = (height, width)
        self._request = model.create_infer_request()

    def __call__(self, images: np.ndarray) -> Any:
        return self._request.infer({0: images})


_LOADERS: dict[str, Callable[[Path, int | None], Network]] = {
    "onnxruntime": ExportedModel,
    "openvino": OpenVINOModel,
}


def main() -> None:
    package, *arguments = sys.argv[1:]

    def load(file: str, threads: int | None) -> Network:
        model = _LOADERS[package](Path(file), threads)
        model(np.zeros((1, *model.size, 1), np.float32))
        return model

    runtime = f"{RUNTIMES[package]} {version(package)}"
    serve(load, lambda file: runtime, arguments)


if __name__ == "__main__":
    main()
