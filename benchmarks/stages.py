"""Measures the time of each stage of a TFLite file, with and without our rewrites.

    KERAS_BACKEND=tensorflow python benchmarks/stages.py

"Plain" is the Keras graph as it is (`tflite/plain_graph.py`), "ours" the deployment
graph. A stage's time is the difference between a file that ends after it and one that
ends before it. Weights are random. Times are CPU times of the single thread.
"""

import argparse
import time
from collections.abc import Callable

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from keras_efsnet import EFSNet
from keras_efsnet.tflite.convert import convert_graph, graph_of
from keras_efsnet.tflite.plain_graph import KINDS, plain_graph

STAGES = {
    "initial": "initial",
    "down 1": "down_1",
    "factorized": "factorized_4",
    "down 2": "down_2",
    "CSDC": "csdc_2_4",
    "up, shuffle at 1/4": "shuffle_4_2",
    "up, shuffle at 1/2": "shuffle_2_2",
    "mask head": "mask",
}
"""The last layer of each stage."""


def make_files(model: keras.Model, kind: str) -> dict[tuple[str, str], bytes]:
    """Converts each stage's prefix of the plain and of the deployment graph."""
    height, width = model.input_shape[1:3]
    frames = np.zeros((3, height, width), np.uint8)
    frames[1] = 255
    frames[2] = np.random.default_rng(0).integers(0, 256, (height, width))
    graphs = {
        "plain": plain_graph(model, leaky=kind == "int8"),
        "ours": graph_of(model, kind),
    }
    return {
        (name, stage): convert_graph(
            keras.Model(graph.input, {"mask": graph.get_layer(layer).output}),
            kind,
            frames,
        )
        for name, graph in graphs.items()
        for stage, layer in STAGES.items()
    }


def measure(files: dict[tuple[str, str], bytes], rounds: int) -> dict:
    """Median milliseconds of each file; the files take turns."""
    runs = {key: _prepare(content) for key, content in files.items()}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            start = time.thread_time()
            run()
            times[key].append(1000 * (time.thread_time() - start))
    return {key: float(np.median(values)) for key, values in times.items()}


def _prepare(content: bytes) -> Callable[[], None]:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.invoke()
    return interpreter.invoke


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--image-size", type=int, default=256)
    arguments = parser.parse_args()
    size = arguments.image_size
    model = EFSNet((size, size, 1))
    columns = [(kind, name) for kind in KINDS for name in ("plain", "ours")]
    print(f"{'ms':20}" + "".join(f"{kind + ' ' + name:>15}" for kind, name in columns))
    ends = {kind: measure(make_files(model, kind), arguments.rounds) for kind in KINDS}
    before = dict.fromkeys(columns, 0.0)
    for stage in STAGES:
        row = f"{stage:20}"
        for kind, name in columns:
            end = ends[kind][name, stage]
            row += f"{end - before[kind, name]:15.2f}"
            before[kind, name] = end
        print(row)
    print(f"{'sum':20}" + "".join(f"{before[column]:15.2f}" for column in columns))


if __name__ == "__main__":
    main()
