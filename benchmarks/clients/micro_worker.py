"""TFLite Micro's reference kernels on the host; prints the arena that it needs."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
from common import Run, quantize, to_float, work
from tflite_micro.python.tflite_micro import runtime


def load(file: Path) -> tuple[str, Run]:
    interpreter = runtime.Interpreter.from_bytes(file.read_bytes())
    dtype = interpreter.get_input_details(0)["dtype"]

    def run(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        interpreter.set_input(quantize(frame, dtype), 0)
        interpreter.invoke()
        found = {}
        for i in range(2):
            values = interpreter.get_output(i)
            facts = interpreter.get_output_details(i)["quantization_parameters"]
            scale, zero_point = [
                values[0] if len(values) else 0
                for values in (facts["scales"], facts["zero_points"])
            ]
            found[values.ndim] = to_float(values, scale, zero_point)
        return found[4], found[2]

    interpreter.print_allocations()
    return version("tflite-micro"), run


if __name__ == "__main__":
    work(load)
