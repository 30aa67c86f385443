"""EFSNet's files beside other ways to run the same network, in one run.

    python benchmarks/compare.py [--model NAME_OR_FILE] [--threads 1 2] [--json FILE]

"Ours" are the files that lie beside the model, or those that `efsnet export` would
write; "plain" is the Keras graph converted as it is (see plain_graph.py); "Keras" is
`predict_on_batch` of one image on each installed backend, with as many threads as it
chooses; ONNX Runtime joins where it and tf2onnx are installed. All take turns. Ratios
are medians over the plain float32 file's with as many threads. Without `--model` it is
the default preset, or where that is not shipped an untrained EFSNet.
"""

import argparse
import importlib.util
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from keras_efsnet import DEFAULT_MODEL
from keras_efsnet.images import Size
from keras_efsnet.phantom import make_phantom
from keras_efsnet.prediction import LABELS
from keras_efsnet.predictor import KINDS, find_model, preset_names
from keras_efsnet.tflite.benchmark import Measurement, benchmark, write_report
from keras_efsnet.tflite.benchmark_process import Contender

BACKENDS = ("tensorflow", "jax", "torch")
PLAIN_KINDS = ("float32", "int8")
ONNX_WORKER = Path(__file__).with_name("onnx_worker.py")
BASELINE = "plain float32"
CALIBRATION_PHANTOMS = 8
"""Of each class; the ranges that they give change nothing about the speed."""


def main() -> None:
    arguments = parse()
    os.environ["KERAS_BACKEND"] = "tensorflow"  # for the conversion
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as folder:
        keras_file = find_keras_file(arguments.model, Path(folder))
        files = make_files(keras_file, Path(folder))
        contenders = list_contenders(files, keras_file, arguments.threads)
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("Measuring", total=None)
            rows = benchmark(
                contenders,
                progress=lambda done, total: progress.update(
                    bar, completed=done, total=total
                ),
            )
    print_table(rows)
    if arguments.json:
        records = [{**row.to_json(), "ratio": ratio(row, rows)} for row in rows]
        write_report(arguments.json, records)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shipped = DEFAULT_MODEL if DEFAULT_MODEL in preset_names() else None
    parser.add_argument("--model", default=shipped, help="preset or .keras file")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def find_keras_file(model: str | None, folder: Path) -> Path:
    """The model's file, or that of an untrained EFSNet written to `folder`."""
    if model:
        return find_model(model).keras_file
    from keras_efsnet import EFSNet

    file = folder / "untrained.keras"
    EFSNet().save(file)
    return file


def make_files(keras_file: Path, folder: Path) -> dict[str, Path]:
    """Our files and the plain ones, by name; what is missing is converted."""
    from plain_graph import plain_graph

    from keras_efsnet.keras_predictor import load_keras_model
    from keras_efsnet.tflite.convert import convert, convert_graph

    model = load_keras_model(keras_file)
    plain = {kind: plain_graph(model, leaky=kind == "int8") for kind in PLAIN_KINDS}
    size = plain["float32"].input_shape[1:3]
    frames = calibration_frames(size)
    files, contents = {}, {}
    for kind in KINDS:
        file = keras_file.with_name(f"model_{kind}.tflite")
        if file.is_file():
            files[f"ours {kind}"] = file
        else:
            contents[f"ours {kind}"] = convert(model, kind, frames)
    for kind, graph in plain.items():
        contents[f"plain {kind}"] = convert_graph(graph, kind, frames)
    for name, content in contents.items():
        files[name] = folder / f"{name}.tflite"
        files[name].write_bytes(content)
    if all(map(importlib.util.find_spec, ("onnxruntime", "tf2onnx"))):
        files["ONNX Runtime"] = folder / "model.onnx"
        export_onnx(model, files["ONNX Runtime"], size)
    return files


def export_onnx(model: Any, file: Path, size: Size) -> None:
    """Exports a Keras model for one image of a fixed size."""
    import keras

    image = keras.InputSpec("float32", shape=(1, *size, 1), name="image")
    model.export(file, format="onnx", input_signature=[image], verbose=False)


def calibration_frames(size: Size) -> np.ndarray:
    """A black and a white frame and phantoms, uint8 `(n, height, width)`."""
    phantoms = [
        make_phantom(label, seed, size).image
        for label in LABELS
        for seed in range(CALIBRATION_PHANTOMS)
    ]
    return np.stack([np.full(size, grey, np.uint8) for grey in (0, 255)] + phantoms)


def list_contenders(
    files: dict[str, Path], keras_file: Path, threads: Sequence[int]
) -> list[Contender]:
    contenders = []
    for number in threads:
        for name, file in files.items():
            contender = Contender(name, file, number)
            if file.suffix == ".onnx":
                contender = replace(contender, worker=(str(ONNX_WORKER),))
            contenders.append(contender)
    for backend in BACKENDS:
        if importlib.util.find_spec(backend):
            name = f"Keras, {backend}"
            contenders.append(Contender(name, keras_file, backend=backend))
    return contenders


def ratio(row: Measurement, rows: Sequence[Measurement]) -> float | None:
    """The row's median over the baseline's with as many threads."""
    medians = {
        other.threads: other.median_ms for other in rows if other.name == BASELINE
    }
    return row.median_ms / medians[row.threads] if row.threads in medians else None


def print_table(rows: Sequence[Measurement]) -> None:
    cells: list[dict[str, Any]] = []
    for row in rows:
        value = ratio(row, rows)
        text = "-" if value is None else f"{value:.2f}"
        cells.append({**row.to_cells(), f"of {BASELINE}": text})
    table = Table(*cells[0])
    for line in cells:
        table.add_row(*line.values())
    console = Console()
    (console if console.is_terminal else Console(width=500)).print(table)


if __name__ == "__main__":
    main()
