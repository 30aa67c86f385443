"""One image of a dataset: its name, class, files and what is known about it."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_efsnet.images.mask_names import check_image_name
from keras_efsnet.labels import LABELS, check_label
from keras_efsnet.training.datasets.masks import read_mask_file


@dataclass(frozen=True)
class Sample:
    """One image with its class, its files and the facts that its dataset gives.

    Attributes:
        name: names this image alone among all datasets used together, such as
            `busbra/bus_0001-l`; BUSI's images keep their stems, `benign (4)`.
        label: the class, such as one of `LABELS`, or None where it is unknown.
        image: the image file.
        masks: the mask files, whose union is the lesion. Without one a normal image
            has no lesion, and the lesion of any other image is unknown.
        source: the dataset, such as "busbra".
        patient: the patient's name within the source.
        device: the scanner.
        birads: the BI-RADS category, such as "4" or "4a".
        histology: the tissue found by biopsy.
        doppler: whether the image shows a Doppler overlay.
        marks: whether callipers or text are burned into the image.
        fold: the fold that the dataset's authors, or a manifest, give the image.

    Raises:
        ValueError: `label` is not allowed, or `image` is a mask by its name.
    """

    name: str
    label: str | None
    image: Path
    masks: tuple[Path, ...] = ()
    source: str | None = None
    patient: str | None = None
    device: str | None = None
    birads: str | None = None
    histology: str | None = None
    doppler: bool | None = None
    marks: bool | None = None
    fold: int | None = None

    def __post_init__(self) -> None:
        if self.label is not None:
            try:
                check_label(self.label)
            except ValueError as error:
                raise ValueError(f"{self.image}: {error}") from None
        check_image_name(self.image)

    @property
    def stem(self) -> str:
        """The name, as folds files and per_image.csv call it."""
        return self.name

    @property
    def person(self) -> str | None:
        """The patient's name among all sources; None where it is unknown."""
        return None if self.patient is None else f"{self.source or ''}/{self.patient}"


def load_mask(sample: Sample, shape: tuple[int, int]) -> np.ndarray:
    """Reads the union of a sample's masks, each by the rule of `masks.read_mask_file`.

    Args:
        sample: the image.
        shape: `(height, width)` of the image.

    Returns:
        bool of that shape, True = lesion; all False where there is no mask file.

    Raises:
        OSError, ValueError: a mask cannot be read, is ambiguous, or its size is not
            the image's.
    """
    union = np.zeros(shape, dtype=bool)
    for path in sample.masks:
        mask = read_mask_file(path)
        if mask.shape != union.shape:
            raise ValueError(
                f"{path}: a mask must have its image's size, {_size(union)}, but has "
                f"{_size(mask)}; redraw it on {sample.image.name}."
            )
        union |= mask
    return union


def check_known(samples: Sequence[Sample], labels: Sequence[str]) -> None:
    """Raises ValueError for a sample whose class is not one of a model's labels."""
    for sample in samples:
        if sample.label is not None and sample.label not in labels:
            found = order_labels(samples)
            raise ValueError(
                f"{sample.image}: its label is '{sample.label}', but the model's are "
                f"{', '.join(labels)}; correct it, or train a model with --labels "
                f"{shlex.quote(','.join(found))}."
            )


def order_labels(samples: Iterable[Sample]) -> list[str]:
    """Lists the classes of samples: those of `LABELS` in their order, then by name."""
    found = {sample.label for sample in samples if sample.label is not None}
    return [*(x for x in LABELS if x in found), *sorted(found - set(LABELS))]


def by_name(samples: Iterable[Sample]) -> dict[str, Sample]:
    """Gives the samples by their names.

    Raises:
        ValueError: two have the same one.
    """
    result: dict[str, Sample] = {}
    for sample in samples:
        twin = result.setdefault(sample.name, sample)
        if twin is not sample:
            raise ValueError(
                f"{sample.image}: a name stands for one image, but {twin.image} is "
                f"'{sample.name}' too; rename one of them."
            )
    return result


def _size(mask: np.ndarray) -> str:
    return f"{mask.shape[0]} x {mask.shape[1]} (height x width)"
