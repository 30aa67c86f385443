"""ncnn, from ONNX by pnnx, in float32 with one thread."""

import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import ncnn
import numpy as np
from common import Run, work


def load(file: Path) -> tuple[str, Run]:
    net = ncnn.Net()
    net.opt.num_threads = 1
    for option in ("fp16_arithmetic", "fp16_storage", "fp16_packed", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "model.onnx")
        copy.write_bytes(file.read_bytes())
        pnnx = Path(sys.executable).with_name("pnnx")
        _, height, width = np.load(sys.argv[2]).shape
        options = [f"inputshape=[1,{height},{width},1]", "fp16=0"]
        subprocess.run([pnnx, copy, *options], check=True, stdout=subprocess.DEVNULL)
        net.load_param(str(copy.with_name("model.ncnn.param")))
        net.load_model(str(copy.with_name("model.ncnn.bin")))

    def run(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        grey = frame[:, :, None].astype(np.float32)  # a Mat does not keep it alive
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(grey))
        found = [np.array(extractor.extract(name)[1]) for name in ("out0", "out1")]
        label, mask = sorted(found, key=np.size)
        return mask, label

    return version("ncnn"), run


if __name__ == "__main__":
    work(load)
