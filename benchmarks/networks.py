"""Size, speed and accuracy of EFSNet's files and other networks' (`compare.py`)."""

import gzip
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path

import keras

from keras_efsnet.files import write_text
from keras_efsnet.models.presets import find_model
from keras_efsnet.models.saving import load_keras_model
from keras_efsnet.tflite.benchmark import benchmark
from keras_efsnet.tflite.benchmark_process import Contender
from keras_efsnet.tflite.convert import convert, write_described
from keras_efsnet.tflite.export import export
from keras_efsnet.tflite.flatbuffer import count_macs
from keras_efsnet.tflite.plain_graph import calibration_frames
from keras_efsnet.tflite.verify import Limits
from keras_efsnet.training.baselines import deeplab_v3_plus, unet
from keras_efsnet.training.datasets.splits import Split

KINDS = ("float32", "int8")
FULL_UNET = "U-Net"

ACCURACY = {
    "tumour Dice": ("mask", "dice_tumour"),
    "Dice": ("mask", "dice"),
    "class AUROC": ("class", "auroc_macro"),
}
"""The metrics in the table, by part and key of metrics.json."""

CALIBRATION_FRAMES = 4
"""Calibration images of untrained networks: value ranges do not change the speed."""

NO_LIMITS = Limits(dice_loss=1, class_agreement=0)


@dataclass(frozen=True)
class Network:
    """A network to compare; accuracy is measured only if it is trained."""

    name: str
    keras_file: Path
    trained: bool


@dataclass(frozen=True)
class Row:
    """One file of a network.

    Attributes:
        parameters: trainable parameters of the Keras model.
        macs: multiply-accumulates of the file for one image, see `count_macs`.
        accuracy: `ACCURACY` on the validation images, or empty.
        milliseconds: median latency by number of threads, or empty.
    """

    name: str
    kind: str
    parameters: int
    macs: int
    file_bytes: int
    gzip_bytes: int
    accuracy: Mapping[str, float]
    milliseconds: Mapping[int, float]

    def to_cells(self, threads: Sequence[int]) -> dict[str, str]:
        """Formats the row, by column title."""
        times = {f"{n} thr.\nms": self.milliseconds.get(n) for n in threads}
        figures = {
            name.replace(" ", "\n"): self.accuracy.get(name) for name in ACCURACY
        }
        return {
            "network": self.name,
            "file": self.kind,
            "parameters": f"{self.parameters:,}",
            "million\nMACs": f"{self.macs / 1e6:,.0f}",
            "file\nKiB": f"{self.file_bytes / 1024:,.0f}",
            "gzip\nKiB": f"{self.gzip_bytes / 1024:,.0f}",
            **{k: "-" if v is None else f"{v:.1f}" for k, v in times.items()},
            **{k: "-" if v is None else f"{v:.3f}" for k, v in figures.items()},
        }


def find_networks(
    efsnet: Network, unet_file: str | None, deeplab_file: str | None, folder: Path
) -> list[Network]:
    """Gives EFSNet and the others for its image size, untrained if they have no file.

    DeepLabV3+ is left out if it has no file and keras-cv is not installed.
    """
    shape = load_keras_model(efsnet.keras_file).input_shape[1:]

    def find(name: str, file: str | None, build: Callable[[], keras.Model]) -> Network:
        if file:
            return Network(name, find_model(file).keras_file, trained=True)
        path = folder / f"{name}.keras"
        build().save(path)
        return Network(name, path, trained=False)

    networks = [
        efsnet,
        find(FULL_UNET, None, lambda: unet(shape)),
        find("U-Net, quarter width", unet_file, lambda: unet(shape, 0.25)),
    ]
    if deeplab_file or importlib.util.find_spec("keras_cv"):
        networks.append(
            find("DeepLabV3+", deeplab_file, lambda: deeplab_v3_plus(shape))
        )
    return networks


def describe(network: Network, split: Split | None, folder: Path) -> dict[Path, Row]:
    """Describes a network's files, without their speed.

    Args:
        split: images to calibrate and evaluate a trained network; None for no accuracy.
        folder: where missing files are written.
    """
    model = load_keras_model(network.keras_file)
    parameters = sum(prod(weight.shape) for weight in model.trainable_weights)
    accuracy: dict[str, dict[str, float]] = {}
    if split and network.trained:
        found = find_model(network.keras_file)
        results = export(
            found, split, KINDS, folder, name=network.name, limits=NO_LIMITS
        )
        files = {kind: folder / f"model_{kind}.tflite" for kind in KINDS}
        accuracy = {
            kind: {name: result.candidate[a][b] for name, (a, b) in ACCURACY.items()}
            for kind, result in results.items()
        }
    else:
        folder.mkdir()
        files = {
            k: find_or_convert(model, network.keras_file, k, folder) for k in KINDS
        }
    rows = {}
    for kind, file in files.items():
        content = file.read_bytes()
        sizes = len(content), len(gzip.compress(content, mtime=0))
        figures = (parameters, count_macs(content), *sizes, accuracy.get(kind, {}))
        rows[file] = Row(network.name, kind, *figures, milliseconds={})
    return rows


def find_or_convert(
    model: keras.Model, keras_file: Path, kind: str, folder: Path
) -> Path:
    """Gives the file beside a Keras model, or converts one to `folder`."""
    file = keras_file.with_name(f"model_{kind}.tflite")
    if not file.is_file():
        file = folder / file.name
        frames = calibration_frames(model.input_shape[1:3])[:CALIBRATION_FRAMES]
        content = convert(model, kind, frames)
        write_described(file, content, kind, keras_file.stem)
    return file


def add_latency(
    rows: Mapping[Path, Row],
    threads: Sequence[int],
    progress: Callable[[int, int], None],
) -> list[Row]:
    """Adds latencies to the rows; the files take turns."""
    contenders = [
        Contender(str(file), file, number) for number in threads for file in rows
    ]
    times = {
        (measured.name, measured.threads): measured.median_ms
        for measured in benchmark(contenders, progress=progress)
    }
    return [
        replace(row, milliseconds={n: times[str(file), n] for n in threads})
        for file, row in rows.items()
    ]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    write_text(path, json.dumps([asdict(row) for row in rows], indent=2) + "\n")
