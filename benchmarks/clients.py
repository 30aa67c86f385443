"""Runs exported files in the runtimes that users have, and prints a table.

    python benchmarks/clients.py --install build/clients [NAME ...]
    python benchmarks/clients.py build/clients [--model PRESET_OR_FILE]

Each client has an environment of its own in the folder, since their packages exclude
each other. Its worker in `benchmarks/clients/` runs a file on phantoms. The table
compares the answers with Keras's, and the median time on one thread with that of
LiteRT's float32 file: both take turns, and the ratio is the median over the turns.
Missing clients are left out.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

WORKERS = Path(__file__).with_name("clients")
SELF = "self"
"""The environment that runs this script."""

PACKAGES = {
    "mediapipe": ["mediapipe==1.2.3"],
    "micro": ["tflite-micro==0.dev20261023182759"],
    "mnn": ["MNN==3.6.1"],
    # pnnx asks for PyTorch: pinned as in constraints.txt.
    "ncnn": ["ncnn==1.0.20261020", "pnnx==20261020", "torch==2.13.0"],
    "onnxruntime-web": ["onnxruntime-web@1.30.0"],
    "openvino": ["openvino==2026.4.1"],
    "quantizer": ["ai-edge-quantizer==0.10.0"],
    "vela": ["ethos-u-vela==5.2.0"],
}
NODE = "onnxruntime-web"

SEEDS = range(4)
"""Of each class of phantoms."""

TURNS = 5
"""Of a client and of LiteRT's float32 file."""

ACCELERATORS = ("ethos-u55-128", "ethos-u65-256", "ethos-u85-256")
COMPILED = ("int8-full", "int8", "plain int8")


@dataclass(frozen=True)
class Client:
    """A row of the table: a runtime, its environment, its worker and our files."""

    name: str
    environment: str
    worker: str
    files: tuple[str, ...]

    @property
    def quantized(self) -> bool:
        return self.worker == "quantizer" or self.files[0].startswith("int8")


CLIENTS = (
    Client("LiteRT, Interpreter", SELF, "litert", ("float32",)),
    Client("LiteRT, Interpreter", SELF, "litert", ("int8",)),
    Client("LiteRT, Interpreter", SELF, "litert", ("int8-full",)),
    Client("LiteRT, CompiledModel", SELF, "compiled", ("float32",)),
    Client("LiteRT, CompiledModel", SELF, "compiled", ("int8",)),
    Client("ONNX Runtime", SELF, "onnxruntime", ("onnx",)),
    Client("ONNX Runtime Web", NODE, "onnxruntime_web", ("onnx",)),
    Client("OpenVINO", "openvino", "openvino", ("float32",)),
    Client("OpenVINO", "openvino", "openvino", ("int8",)),
    Client("OpenVINO", "openvino", "openvino", ("onnx",)),
    Client("OpenVINO", "openvino", "openvino", ("saved_model",)),
    Client("ncnn", "ncnn", "ncnn", ("onnx",)),
    Client("MNN", "mnn", "mnn", ("onnx",)),
    Client("MediaPipe Tasks", "mediapipe", "mediapipe", ("segmenter", "classifier")),
    Client("ai-edge-quantizer", "quantizer", "quantizer", ("float32",)),
    Client("TFLite Micro", "micro", "micro", ("int8-full",)),
)
REFERENCE = CLIENTS[0]


@dataclass(frozen=True)
class Outcome:
    """What a client said of the phantoms, against Keras.

    Attributes:
        mask_dice: mean Dice of the masks, cut at 0.5.
        worst: largest difference of a mask or class probability.
        same_class: share of images with the same class.
        seconds: median time of one image.
    """

    version: str
    mask_dice: float
    worst: float
    same_class: float
    seconds: float


class Unavailable(Exception):
    """A client that is not installed."""


def install(folder: Path, names: Sequence[str]) -> None:
    """Makes the environments that are missing."""
    for name in names or PACKAGES:
        home = folder / name
        if (home / "installed").exists():
            continue
        home.mkdir(parents=True, exist_ok=True)
        if name == NODE:
            command = ["npm", "install", "--prefix", home, *PACKAGES[name]]
        else:
            venv.create(home, with_pip=True, clear=True)
            command = [home / "bin/pip", "install", "-q", "numpy", *PACKAGES[name]]
        subprocess.run(command, check=True)
        (home / "installed").touch()


def make_images() -> np.ndarray:
    from keras_efsnet.labels import LABELS
    from keras_efsnet.models.presets import DEFAULT_SIZE
    from keras_efsnet.phantoms import make_phantom

    phantoms = [make_phantom(c, seed, DEFAULT_SIZE) for c in LABELS for seed in SEEDS]
    return np.stack([phantom.image for phantom in phantoms])


def make_files(model: Any, home: Path, folder: Path) -> dict[str, Path]:
    """Exports every file that a client takes, calibrated on phantoms.

    If `home`, the model's own folder, has an int8 file, calibrated on scans, that is
    taken.
    """
    from keras_efsnet.tflite.convert import export_files
    from keras_efsnet.tflite.interchange import OUTPUTS, export_format
    from keras_efsnet.tflite.mediapipe_files import CLASSIFIER, SEGMENTER
    from keras_efsnet.tflite.plain_graph import calibration_frames

    kinds = ("float32", "int8", "int8-full")
    frames = calibration_frames(model.input_shape[1:3])
    files = export_files(model, kinds, folder, representative=frames, name="clients")
    for kind, name in OUTPUTS.items():
        files[kind] = folder / name
        export_format(model, kind, files[kind])
    for task, name in (("segmenter", SEGMENTER), ("classifier", CLASSIFIER)):
        files[task] = files["mediapipe"] / name
    shipped = home / files["int8"].name
    return {**files, "int8": shipped} if shipped.exists() else files


def run_worker(environment: Path | None, worker: str, *arguments: object) -> None:
    """Runs a worker in an environment; None is that of this script.

    Raises:
        Unavailable: the environment is not there.
        RuntimeError: the client failed; the message is its last line.
    """
    if environment and not (environment / "installed").exists():
        raise Unavailable(
            f"{environment.name} is not installed in {environment.parent}"
        )
    script: list[object]
    if environment and environment.name == NODE:
        script = ["node", WORKERS / f"{worker}_worker.mjs", environment]
    else:
        python = environment / "bin/python" if environment else sys.executable
        script = [python, WORKERS / f"{worker}_worker.py"]
    command = [str(part) for part in (*script, *arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"exit code {done.returncode}")


def run_client(
    client: Client,
    folder: Path,
    files: dict[str, Path],
    images: np.ndarray,
    expected: dict[str, np.ndarray],
) -> Outcome:
    """Runs a client's files on the images and compares its answers with Keras's."""
    environment = None if client.environment == SELF else folder / client.environment
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        np.save(out / "images.npy", images)
        paths = [files[kind].resolve() for kind in client.files]
        run_worker(environment, client.worker, *paths, out / "images.npy", out)
        facts = json.loads((out / "facts.json").read_text())
        mask, labels = np.load(out / "mask.npy"), np.load(out / "class.npy")
    return Outcome(
        facts["version"],
        _mean_dice(mask > 0.5, expected["mask"] > 0.5),
        max(
            float(np.abs(mask - expected["mask"]).max()),
            float(np.abs(labels - expected["class"]).max()),
        ),
        float(np.mean(labels.argmax(1) == expected["class"].argmax(1))),
        facts["seconds"],
    )


def _mean_dice(a: np.ndarray, b: np.ndarray) -> float:
    both, total = (a & b).sum((1, 2)), a.sum((1, 2)) + b.sum((1, 2))
    return float(np.where(total, 2 * both / np.maximum(total, 1), 1).mean())


def compile_for(accelerator: str, folder: Path, file: Path) -> dict[str, Any]:
    """Compiles a file with Vela; gives what `vela_worker.py` writes."""
    with tempfile.TemporaryDirectory() as out:
        run_worker(folder / "vela", "vela", file.resolve(), accelerator, out)
        facts: dict[str, Any] = json.loads(Path(out, "facts.json").read_text())
    return facts


def predict(model: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    """Gives Keras's answers: masks `(n, height, width)` and class probabilities."""
    outputs = model.predict(
        images[..., None].astype("float32"), batch_size=4, verbose=0
    )
    return {"mask": outputs["mask"][..., 0], "class": outputs["class"]}


def print_table(model: Any, home: Path, folder: Path) -> None:
    from keras_efsnet.tflite.plain_graph import write_plain_files

    images = make_images()
    expected = predict(model, images)
    with tempfile.TemporaryDirectory() as name:
        files = make_files(model, home, Path(name))
        print("| client | file | mask Dice | worst difference | same class | time |")
        print("|---|---|---|---|---|---|")
        for client in CLIENTS:
            print_row(client, folder, files, images, expected)
        print("\n| Ethos-U, by Vela | file | operators on the CPU | ms | SRAM, KiB |")
        print("|---|---|---|---|---|")
        files |= write_plain_files(model, Path(name))
        for accelerator in ACCELERATORS:
            for kind in COMPILED:
                print_estimate(accelerator, kind, folder, files[kind])


def print_estimate(accelerator: str, kind: str, folder: Path, file: Path) -> None:
    try:
        facts = compile_for(accelerator, folder, file)
    except Unavailable as error:
        print(f"{accelerator}: {error}", file=sys.stderr)
    else:
        print(
            f"| {accelerator}, Vela {facts['version']} | {kind} | "
            f"{len(facts['on_cpu'])} | {facts['milliseconds']:.1f} | "
            f"{facts['sram_kib']:.0f} |"
        )


def print_row(client: Client, folder: Path, *inputs: Any) -> None:
    kinds = ", ".join(client.files)
    try:
        ratios = []
        for _ in range(TURNS):
            reference = run_client(REFERENCE, folder, *inputs).seconds
            found = run_client(client, folder, *inputs)
            ratios.append(found.seconds / reference)
    except Unavailable as error:
        print(f"{client.name}: {error}", file=sys.stderr)
    except RuntimeError as error:
        print(f"| {client.name} | {kinds} | fails: {error} | | | |", flush=True)
    else:
        print(
            f"| {client.name} {found.version} | {kinds} | {found.mask_dice:.4f} | "
            f"{found.worst:.2g} | {found.same_class:.0%} | "
            f"{median(ratios):.2f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("build/clients"))
    parser.add_argument("names", nargs="*", help="clients to install; all if none")
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--model", default=None, help="preset or .keras file")
    options = parser.parse_args()
    if options.install:
        install(options.folder, options.names)
        return
    from keras_efsnet.models.presets import DEFAULT_MODEL, find_model
    from keras_efsnet.models.saving import load_keras_model

    file = find_model(options.model or DEFAULT_MODEL).keras_file
    print_table(load_keras_model(file), file.parent, options.folder)


if __name__ == "__main__":
    main()
