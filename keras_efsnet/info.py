"""What is known of a model file: its card, tensors, size and hash."""

import hashlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from keras_efsnet.predictor import find_model, load_keras_model


def describe_model(model: str | Path) -> dict[str, str]:
    """Collects the facts of a preset or `.keras` file, by name, in reading order.

    Nested facts of the card get dotted names.

    Raises:
        ValueError: there is no such model, or it cannot be loaded.
    """
    files = find_model(model)
    network = load_keras_model(files.keras_file)
    trainable = sum(prod(weight.shape) for weight in network.trainable_weights)
    content = files.keras_file.read_bytes()
    facts = {
        "file": str(files.keras_file),
        "bytes": f"{len(content):,}",
        "sha256": hashlib.sha256(content).hexdigest(),
        "parameters": f"{network.count_params():,} ({trainable:,} trainable)",
    }
    for tensor in network.inputs:
        facts[f"input {tensor.name}"] = f"{tensor.dtype} {tensor.shape}"
    for name, tensor in zip(network.output_names, network.outputs, strict=True):
        facts[f"output {name}"] = f"{tensor.dtype} {tensor.shape}"
    return facts | dict(_flatten(files.card))


def _flatten(card: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in card.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
