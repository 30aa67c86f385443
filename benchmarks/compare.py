"""EFSNet's files beside other ways to run the same network, in one run.

    python benchmarks/compare.py [--model NAME_OR_FILE] [--threads 1 2] [--json FILE]

"Ours" are the files that lie beside the model, or those that `efsnet export` would
write; "plain" is the Keras graph converted as it is (see tflite/plain.py); "Keras" is
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

from rich.console import Console
from rich.progress import Progress

from keras_efsnet import DEFAULT_MODEL
from keras_efsnet.console import print_benchmark
from keras_efsnet.predictor import KINDS, find_model, preset_names
from keras_efsnet.tflite.benchmark import benchmark, write_report
from keras_efsnet.tflite.benchmark_process import Contender

BACKENDS = ("tensorflow", "jax", "torch")
ONNX_WORKER = Path(__file__).with_name("onnx_worker.py")


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
    print_benchmark(rows)
    if arguments.json:
        write_report(arguments.json, rows)


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
    from keras_efsnet.keras_predictor import load_keras_model
    from keras_efsnet.tflite.convert import convert, write_described
    from keras_efsnet.tflite.interchange import export_format
    from keras_efsnet.tflite.plain import calibration_frames, write_plain_files

    model = load_keras_model(keras_file)
    size = model.input_shape[1:3]
    files = {}
    for kind in KINDS:
        file = keras_file.with_name(f"model_{kind}.tflite")
        if not file.is_file():
            file = folder / file.name
            content = convert(model, kind, calibration_frames(size))
            write_described(file, content, kind, keras_file.stem)
        files[f"ours {kind}"] = file
    files |= write_plain_files(model, folder)
    if all(map(importlib.util.find_spec, ("onnxruntime", "tf2onnx"))):
        files["ONNX Runtime"] = folder / "model.onnx"
        export_format(model, "onnx", files["ONNX Runtime"])
    return files


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


if __name__ == "__main__":
    main()
