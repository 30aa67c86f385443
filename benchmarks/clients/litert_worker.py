"""LiteRT's Interpreter, with one thread."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from common import Run, quantize, to_float, work


def load(file: Path) -> tuple[str, Run]:
    runner = Interpreter(str(file), num_threads=1).get_signature_runner()
    dtype = runner.get_input_details()["image"]["dtype"]
    outputs = runner.get_output_details()

    def run(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = runner(image=quantize(frame, dtype))
        mask, label = (
            to_float(found[name], *outputs[name]["quantization"])
            for name in ("mask", "class")
        )
        return mask, label

    return version("ai-edge-litert"), run


if __name__ == "__main__":
    work(load)
