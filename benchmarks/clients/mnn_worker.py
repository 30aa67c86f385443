"""MNN, from ONNX by its converter, in float32 with one thread."""

import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import MNN
import numpy as np
from common import Run, quantize, work


def load(file: Path) -> tuple[str, Run]:
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder, "model.mnn")
        program = Path(sys.executable).with_name("mnnconvert")
        files = ["--modelFile", file, "--MNNModel", converted]
        command = [program, "-f", "ONNX", *files, "--bizCode", "efsnet"]
        # It installs a package for its log with the first pip on the path.
        path = {**os.environ, "PATH": str(program.parent)}
        subprocess.run(command, check=True, env=path, stdout=subprocess.DEVNULL)
        options = {"precision": "high", "backend": 0, "numThread": 1}
        module = MNN.nn.load_module_from_file(
            str(converted),
            ["image"],
            ["mask", "class"],
            runtime_manager=MNN.nn.create_runtime_manager((options,)),
        )

    def run(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        grey = quantize(frame, np.float32)
        image = MNN.expr.const(grey, grey.shape, MNN.expr.data_format.NCHW)
        mask, label = (np.array(x.read()) for x in module.forward([image]))
        return mask, label

    return version("MNN"), run


if __name__ == "__main__":
    work(load)
