"""Makes and verifies files for deployment."""

import importlib.util
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_efsnet.extras import MissingPackage
from keras_efsnet.models.presets import ModelFiles, check_card_folder
from keras_efsnet.models.saving import load_keras_model
from keras_efsnet.prediction.keras_runtime import KerasPredictor
from keras_efsnet.prediction.litert import LiteModel
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.prediction.predictor import Predictor
from keras_efsnet.prediction.sandbox import description_path
from keras_efsnet.tflite import interchange
from keras_efsnet.tflite.convert import (
    CONVERTED,
    export_files,
    representative_images,
    require_efsnet,
    write_described,
)
from keras_efsnet.tflite.verify import DEFAULT_LIMITS, Limits, Verification, verify
from keras_efsnet.training.card import KERAS_NAME, write_own_card
from keras_efsnet.training.datasets.splits import Split
from keras_efsnet.training.seen import add_seen, read_seen

FINE_TUNED: Mapping[str, tuple[str, str]] = {
    "int8-qat": ("int8", "quantize"),
    "clustered": ("float32", "cluster"),
}
"""Kinds that `qat` fine-tunes: the file's type and the step."""

REPRESENTATIVE_PER_CLASS = 32
REJECTED = "rejected"


def export(
    model: ModelFiles,
    split: Split,
    kinds: Sequence[str],
    out: Path,
    *,
    name: str,
    limits: Limits = DEFAULT_LIMITS,
) -> dict[str, Verification]:
    """Converts a model, compares each file with Keras, writes export.json and a card.

    With `model.keras` and `card.json`, `out` is a preset: `efsnet predict`, `serve` and
    the other commands take the folder as a model.

    int8 files are calibrated on training images and compared on validation images.
    Files that exceed a limit go to `out/rejected`, the others to `out`. They move there
    at the end: an interrupted export does not change `out`.

    Args:
        model: the trained model, from `presets.find_model`.
        split: images to calibrate and compare on.
        kinds: any of `convert.CONVERTED`, `FINE_TUNED` and `interchange.OUTPUTS`.
        out: folder, made if it is missing.
        name: the model's name for the descriptions.
        limits: allowed differences from Keras.

    Returns:
        The comparison of each kind.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the model is not an EFSNet, Keras does not run on TensorFlow, or
            `out` holds files of other weights.
    """
    _check_kinds(kinds)
    _check_folder(model, kinds, out)
    out.mkdir(parents=True, exist_ok=True)
    reference = KerasPredictor(model.keras_file)
    tuned = split.train if FINE_TUNED.keys() & set(kinds) else ()
    seen = add_seen(read_seen(model.keras_file), tuned)
    with tempfile.TemporaryDirectory(dir=out, prefix=".unverified-") as part:
        network = load_keras_model(model.keras_file)
        # The files below are opened before their own card is written.
        write_own_card(Path(part), model, name, reference.rules, seen)
        files = _make(network, reference, split, kinds, Path(part), name)
        candidates = {kind: _open(file) for kind, file in files.items()}
        results = verify(reference, candidates, split.validation, limits=limits)
        report = Path(part, "export.json")
        report.write_text(json.dumps(_report(name, split, results), indent=2) + "\n")
        for kind, file in files.items():
            folder = out if results[kind].passed else out / REJECTED
            folder.mkdir(exist_ok=True)
            for path in (file, description_path(file)):
                if path.exists():
                    _replace(path, folder / path.name)
        report.replace(out / report.name)
        keras_file = Path(part, KERAS_NAME)
        keras_file.write_bytes(model.keras_file.read_bytes())
        keras_file.replace(out / KERAS_NAME)
    write_own_card(out, model, name, reference.rules, seen)
    return results


def _check_folder(model: ModelFiles, kinds: Sequence[str], out: Path) -> None:
    """Raises ValueError if a card in `out` would be of other weights too."""
    check_card_folder(out)
    own, found = model.keras_file, out / KERAS_NAME
    if found.is_file():
        others = [] if found.read_bytes() == own.read_bytes() else [found]
    else:
        files = {*out.glob("*.tflite"), *out.glob("*.onnx")}
        others = sorted(files - {out / _file_name(kind) for kind in kinds})
    if others:
        raise ValueError(
            f"{out}: holds {others[0].name} of other weights; remove it, or choose "
            "another folder."
        )


def _file_name(kind: str) -> str:
    return interchange.OUTPUTS.get(kind, f"model_{kind}.tflite")


def _check_kinds(kinds: Sequence[str]) -> None:
    known = [*CONVERTED, *FINE_TUNED, *interchange.OUTPUTS]
    for kind in kinds:
        if kind not in known:
            raise ValueError(f"kind must be one of {', '.join(known)}, got {kind}.")


def _make(
    model: keras.Model,
    reference: KerasPredictor,
    split: Split,
    kinds: Sequence[str],
    out: Path,
    name: str,
) -> dict[str, Path]:
    """Writes each kind's file to `out`."""
    images = representative_images(
        split.train, reference.size, REPRESENTATIVE_PER_CLASS, seed=0
    )
    files = export_files(
        model,
        [kind for kind in kinds if kind in CONVERTED],
        out,
        representative=images,
        name=name,
        rules=reference.rules,
    )
    for kind in kinds:
        if kind in FINE_TUNED:
            content = _fine_tune(model, kind, images, split, reference.rules)
            files[kind] = out / _file_name(kind)
            write_described(files[kind], content, kind, name, reference.rules)
        if kind in interchange.OUTPUTS:
            files[kind] = out / _file_name(kind)
            interchange.export_format(model, kind, files[kind], reference.rules)
    return files


def _fine_tune(
    model: keras.Model,
    kind: str,
    images: np.ndarray,
    split: Split,
    rules: Postprocess,
) -> bytes:
    if not importlib.util.find_spec("tensorflow_model_optimization"):
        raise MissingPackage(
            f"{kind} needs tensorflow-model-optimization; install it: "
            'pip install "keras-efsnet[tflite]".'
        )
    require_efsnet(model, kind)  # `tf_keras_copy` supports only its layers
    from keras_efsnet.tflite.qat import convert_fine_tuned

    return convert_fine_tuned(
        model, *FINE_TUNED[kind], images, split.train, rules=rules
    )


def _open(file: Path) -> Predictor:
    if file.suffix == ".tflite":
        return LiteModel(file)
    return interchange.ExportedModel(file)


def _replace(path: Path, target: Path) -> None:
    """Moves a file or folder and replaces an older one."""
    if target.is_dir():  # rename cannot replace a folder that is not empty
        target.rename(path.with_name(f"{path.name}.old"))
    path.rename(target)


def _report(
    name: str, split: Split, results: dict[str, Verification]
) -> dict[str, Any]:
    return {
        "model": name,
        "split_digest": split.digest,
        "subset": "validation",
        "files": {
            kind: {"passed": result.passed, **asdict(result)}
            for kind, result in results.items()
        },
    }
