"""LiteRT's CompiledModel on the CPU, with one thread; for files with float outputs."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, Options
from common import Run, quantize, work

TYPES = {"float32": np.float32, "uint8": np.uint8}


def load(file: Path) -> tuple[str, Run]:
    options = Options(cpu_options=CpuOptions(num_threads=1))
    model = CompiledModel.from_file(str(file), options=options)
    details = model.get_input_tensor_details("serving_default")["image"]
    dtype = TYPES[str(details["dtype"])]
    inputs = model.create_input_buffers(0)
    names = model.get_signature_list()["serving_default"]["outputs"]
    outputs = model.create_output_buffers(0)
    shapes = model.get_output_tensor_details("serving_default")

    def run(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inputs[0].write(quantize(frame, dtype))
        model.run_by_index(0, inputs, outputs)
        found = {
            name: buffer.read(int(np.prod(shapes[name]["shape"])), np.float32)
            for name, buffer in zip(names, outputs, strict=True)
        }
        return found["mask"], found["class"]

    return version("ai-edge-litert"), run


if __name__ == "__main__":
    work(load)
