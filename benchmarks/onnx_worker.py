"""A benchmark's process (see `benchmark_worker`) for an ONNX file.

python benchmarks/onnx_worker.py FILE [THREADS]
"""

import numpy as np
import onnxruntime

from keras_efsnet.tflite.benchmark_worker import serve


class OnnxNetwork:
    """An exported EFSNet on ONNX Runtime's CPU provider; it runs one image on loading.

    Args:
        file: the `.onnx` file, with the one input `image`.
        threads: CPU threads; None is ONNX Runtime's own choice.
    """

    def __init__(self, file: str, threads: int | None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        self._session = onnxruntime.InferenceSession(file, options)
        self.size = tuple(self._session.get_inputs()[0].shape[1:3])
        self(np.zeros((1, *self.size, 1), np.float32))

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        return self._session.run(None, {"image": images})


if __name__ == "__main__":
    serve(OnnxNetwork, lambda file: f"ONNX Runtime {onnxruntime.__version__}")
