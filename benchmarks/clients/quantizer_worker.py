"""ai-edge-quantizer: int8 weights for our float32 file, then LiteRT."""

import tempfile
from importlib.metadata import version
from pathlib import Path

import litert_worker
from ai_edge_quantizer import quantizer, recipe
from common import Run, work


def load(file: Path) -> tuple[str, Run]:
    work_order = quantizer.Quantizer(str(file), recipe.dynamic_wi8_afp32())
    with tempfile.TemporaryDirectory() as folder:
        quantized = Path(folder, "quantized.tflite")
        quantized.write_bytes(work_order.quantize().quantized_model)
        _, run = litert_worker.load(quantized)
    return version("ai-edge-quantizer"), run


if __name__ == "__main__":
    work(load)
