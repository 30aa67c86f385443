"""Which images a model was trained and validated on, as hashes of their pixels.

A run's folder holds them in images.json, a preset's card under `images_seen`; names are
in neither. So no model is evaluated by mistake on the images that trained it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from keras_efsnet.images.reading import read_image
from keras_efsnet.models.presets import find_folder, read_card
from keras_efsnet.training.datasets.sample import Sample
from keras_efsnet.training.datasets.splits import Split

FILE = "images.json"
DIGITS = 16

Seen = Mapping[str, Sequence[str]]
"""Hashes of images by subset: "train" and "validation"."""


def hash_pixels(grey: np.ndarray) -> str:
    """Gives a hash of an image's size and pixels, of 16 hexadecimal digits.

    Args:
        grey: uint8 `(height, width)`.
    """
    height, width = grey.shape
    content = f"{height} {width} ".encode() + np.ascontiguousarray(grey).tobytes()
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def hash_images(samples: Sequence[Sample]) -> list[str]:
    """Gives the hash of each image, the same whatever `--sixteen-bit` is.

    Raises:
        OSError, ValueError: an image cannot be read.
    """
    with ThreadPoolExecutor() as pool:
        images = pool.map(lambda s: read_image(s.image, "full"), samples)
        return list(map(hash_pixels, images))


def describe_seen(split: Split, start: Seen | None = None) -> dict[str, list[str]]:
    """Gives the hashes of a run's images, sorted, as images.json holds them.

    Args:
        split: of the run.
        start: of the model that the run starts from; its training images are added.

    Raises:
        OSError, ValueError: an image cannot be read.
    """
    train = {*hash_images(split.train), *(start or {}).get("train", ())}
    validation = set(hash_images(split.validation)) - train
    return {"train": sorted(train), "validation": sorted(validation)}


def add_seen(
    seen: Seen | None, train: Sequence[Sample], validation: Sequence[Sample] = ()
) -> Seen | None:
    """Adds the images that a model was fine-tuned or calibrated on.

    Args:
        seen: what the model has seen; None if that is unknown, and stays so.
        train, validation: the images.

    Raises:
        OSError, ValueError: an image cannot be read.
    """
    if seen is None:
        return None
    trained = {*seen.get("train", ()), *hash_images(train)}
    validated = {*seen.get("validation", ()), *hash_images(validation)}
    return {"train": sorted(trained), "validation": sorted(validated - trained)}


def read_seen(model: str | Path) -> Seen | None:
    """Reads the hashes of a preset, or of a `.keras` or `.tflite` file in its folder.

    Returns:
        None if neither a card nor images.json says anything.

    Raises:
        ValueError: the file is damaged.
    """
    folder = find_folder(model) or Path(model).parent
    seen = read_card(folder / "card.json").get("images_seen")
    file = folder / FILE
    if seen is None and file.is_file():
        seen = _read(file)
    return seen


def count_seen(seen: Seen, samples: Sequence[Sample], subset: str) -> int:
    """Counts the images that a model has seen as part of another subset.

    Raises:
        OSError, ValueError: an image cannot be read.
    """
    others = _union(hashes for name, hashes in seen.items() if name != subset)
    return sum(digest in others for digest in hash_images(samples))


def refuse_seen_training(model: str | Path, split: Split, allow: bool) -> None:
    """Refuses a split to calibrate or export with, as `refuse_seen` does.

    Raises:
        OSError, ValueError: as `refuse_seen`, for training and validation images.
    """
    for subset in ("train", "validation"):
        refuse_seen(model, getattr(split, subset), subset, allow)


def refuse_seen(
    model: str | Path, samples: Sequence[Sample], subset: str, allow: bool
) -> int | None:
    """Counts as `count_seen` does and refuses seen images unless they are allowed.

    Args:
        model: preset or file.
        samples: the images.
        subset: what they are in the split: "train", "validation" or "test".
        allow: do not refuse them.

    Returns:
        The number of seen images; None if the model does not say what it has seen.

    Raises:
        OSError: an image cannot be read.
        ValueError: the model has seen images, or an image cannot be read.
    """
    seen = read_seen(model)
    if seen is None:
        return None
    count = count_seen(seen, samples, subset)
    if count and not allow:
        raise ValueError(
            f"{model}: was trained or validated on {count} of the {len(samples)} "
            f"{subset} images, so figures would be too good; give the split that it "
            "was trained with, or --allow-seen."
        )
    return count


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: not a JSON file: {error}") from error


def _union(parts: Iterable[Iterable[str]]) -> set[str]:
    return {digest for part in parts for digest in part}
