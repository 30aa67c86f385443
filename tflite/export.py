"""Files for deployment, made and verified in one go."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keras_efsnet.keras_predictor import KerasPredictor, load_keras_model
from keras_efsnet.predictor import ModelFiles
from keras_efsnet.tflite.convert import (
    export_files,
    representative_images,
)
from keras_efsnet.tflite.runtime import LiteModel
from keras_efsnet.tflite.trial import description_path
from keras_efsnet.tflite.verify import DEFAULT_LIMITS, Limits, Verification, verify
from keras_efsnet.training.busi import Split

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
    """Converts a model, compares each file with Keras and writes export.json.

    int8 files are calibrated on training images; the comparison is on validation
    images. Files that exceed a limit go to `out/rejected`, the others to `out`, all at
    the end: an interrupted export leaves `out` as it was.

    Args:
        model: the trained model, from `predictor.find_model`.
        split: images to calibrate and compare on.
        kinds: those of `convert.KINDS` to make.
        out: folder, made where it is missing.
        name: the model's name for the descriptions.
        limits: how far a file may be from Keras.

    Returns:
        The comparison of each kind.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the model is no EFSNet, or Keras does not run on TensorFlow.
    """
    out.mkdir(parents=True, exist_ok=True)
    reference = KerasPredictor(model.keras_file)
    images = representative_images(
        split.train, reference.size, REPRESENTATIVE_PER_CLASS, seed=0
    )
    with tempfile.TemporaryDirectory(dir=out, prefix=".unverified-") as part:
        files = export_files(
            load_keras_model(model.keras_file),
            kinds,
            part,
            representative=images,
            name=name,
            rules=reference.rules,
        )
        candidates = {kind: LiteModel(file) for kind, file in files.items()}
        results = verify(reference, candidates, split.validation, limits=limits)
        report = Path(part, "export.json")
        report.write_text(json.dumps(_report(name, split, results), indent=2) + "\n")
        for kind, file in files.items():
            folder = out if results[kind].passed else out / REJECTED
            folder.mkdir(exist_ok=True)
            for path in (file, description_path(file)):
                path.replace(folder / path.name)
        report.replace(out / report.name)
    return results


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
