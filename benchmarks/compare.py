"""Compares the speed of EFSNet's files with other ways to run the same network.

    python benchmarks/compare.py [--model NAME_OR_FILE] [--threads 1 2] [--json FILE]
        [--reference FILE]
    python benchmarks/compare.py --networks [--unet FILE] [--deeplab FILE]
        [--data DIR ... --split FOLDS.csv] [--skip-full-unet] ...

"Ours" are the model's `.tflite` files, made if they are missing. "Plain" is the Keras
graph converted without our rewrites (tflite/plain_graph.py). "Keras" is
`predict_on_batch` of one image on each installed backend, which chooses its threads.
ONNX Runtime is included if it and tf2onnx are installed. All take turns. Ratios divide
by the median of the plain float32 file with the same number of threads. The default
model is the default preset, or an untrained EFSNet if that is not shipped.

`--reference` is a Python file whose `latency(threads)` gives the ms of another
implementation. It is measured before and after the rest. Last lines say how many times
faster our files are.

`--networks` compares float32 and int8 files of EFSNet, U-Net, a U-Net of quarter width
and DeepLabV3+ (needs keras-cv), untrained where no file is given. With `--data` and
`--split`, int8 files are calibrated on training images, and trained networks are
evaluated on validation images. `--data` can be used several times.
"""

import argparse
import importlib.util
import os
import runpy
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from keras_efsnet.cli.console import print_cells, progress_bar
from keras_efsnet.models.presets import DEFAULT_MODEL, KINDS, find_model, preset_names
from keras_efsnet.tflite.benchmark import benchmark, table_cells, write_report
from keras_efsnet.tflite.benchmark_process import Contender

BACKENDS = ("tensorflow", "jax", "torch")
ONNX_WORKER = ("-m", "keras_efsnet.tflite.benchmark_onnx", "onnxruntime")


def main() -> None:
    arguments = parse()
    os.environ["KERAS_BACKEND"] = "tensorflow"  # for the conversion
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as folder:
        keras_file = find_keras_file(arguments.model, Path(folder))
        if arguments.networks:
            compare_networks(arguments, keras_file, Path(folder))
        else:
            compare_files(arguments, keras_file, Path(folder))


def compare_files(
    arguments: argparse.Namespace, keras_file: Path, folder: Path
) -> None:
    files = make_files(keras_file, folder)
    contenders = list_contenders(files, keras_file, arguments.threads)
    before = measure_reference(arguments)
    with progress_bar("Measuring") as show:
        rows = benchmark(contenders, progress=show)
    after = measure_reference(arguments)
    print_cells(table_cells(rows))
    for threads in before:
        reference = (before[threads] + after[threads]) / 2
        ratios = [
            f"{reference / row.median_ms:.1f} times {row.name}"
            for row in rows
            if row.threads == threads and row.name.startswith("ours")
        ]
        print(f"reference, {threads} threads: {reference:.1f} ms,", ", ".join(ratios))
    if arguments.json:
        write_report(arguments.json, rows)


def measure_reference(arguments: argparse.Namespace) -> dict[int, float]:
    """Gives the reference's ms by the number of threads; empty without one."""
    if not arguments.reference:
        return {}
    latency = runpy.run_path(arguments.reference)["latency"]
    return {threads: latency(threads) for threads in arguments.threads}


def compare_networks(
    arguments: argparse.Namespace, keras_file: Path, folder: Path
) -> None:
    import networks

    from keras_efsnet.training.datasets.reading import read_datasets
    from keras_efsnet.training.datasets.splits import read_split

    split = None
    if arguments.data:
        split = read_split(read_datasets(arguments.data), arguments.split)
    efsnet = networks.Network("EFSNet", keras_file, trained=bool(arguments.model))
    rows, unmeasured = {}, []
    for i, network in enumerate(
        networks.find_networks(efsnet, arguments.unet, arguments.deeplab, folder)
    ):
        described = networks.describe(network, split, folder / str(i))
        if arguments.skip_full_unet and network.name == networks.FULL_UNET:
            unmeasured += described.values()
        else:
            rows |= described
    with progress_bar("Measuring") as show:
        measured = networks.add_latency(rows, arguments.threads, show)
    measured += unmeasured
    print_cells([row.to_cells(arguments.threads) for row in measured])
    if arguments.json:
        networks.write_rows(arguments.json, measured)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shipped = DEFAULT_MODEL if DEFAULT_MODEL in preset_names() else None
    parser.add_argument("--model", default=shipped, help="preset or .keras file")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--reference", help="Python file with latency(threads)")
    group = parser.add_argument_group("networks")
    group.add_argument("--networks", action="store_true", help="compare networks")
    group.add_argument("--unet", metavar="FILE", help="trained, of quarter width")
    group.add_argument("--deeplab", metavar="FILE", help="trained DeepLabV3+")
    group.add_argument(
        "--data", type=Path, action="append", metavar="DIR", help="for the accuracy"
    )
    group.add_argument("--split", type=Path, nargs="+", metavar="FILE")
    group.add_argument(
        "--skip-full-unet", action="store_true", help="not its latency, seconds a run"
    )
    given = parser.parse_args()
    if bool(given.data) != bool(given.split):
        parser.error("--data and --split go together.")
    return given


def find_keras_file(model: str | None, folder: Path) -> Path:
    """Gives the model's file, or writes an untrained EFSNet to `folder`."""
    if model:
        return find_model(model).keras_file
    from keras_efsnet import EFSNet

    file = folder / "untrained.keras"
    EFSNet().save(file)
    return file


def make_files(keras_file: Path, folder: Path) -> dict[str, Path]:
    """Gives our files and the plain ones by name; converts those that are missing."""
    from networks import find_or_convert

    from keras_efsnet.models.saving import load_keras_model
    from keras_efsnet.tflite.interchange import export_format
    from keras_efsnet.tflite.plain_graph import write_plain_files

    model = load_keras_model(keras_file)
    files = {
        f"ours {kind}": find_or_convert(model, keras_file, kind, folder)
        for kind in KINDS
    }
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
                contender = replace(contender, worker=ONNX_WORKER)
            contenders.append(contender)
    for backend in filter(importlib.util.find_spec, BACKENDS):
        contenders.append(Contender(f"Keras, {backend}", keras_file, backend=backend))
    return contenders


if __name__ == "__main__":
    main()
