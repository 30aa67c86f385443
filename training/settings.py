"""Settings of a training run, which are saved with its weights."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_efsnet.images.grey import SixteenBit
from keras_efsnet.labels import check_labels
from keras_efsnet.training.augmentation import Augmentation

PHANTOM = "phantom"
"""The `data` of a run on generated phantoms only."""

EARLIER_RUN = "of an earlier run"
"""What a card has for a file that another run made."""

NETWORKS = {"efsnet": 8, "unet": 16, "deeplab_v3_plus": 32}
"""The networks; height and width must be multiples of the number."""


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training run.

    Attributes:
        data: datasets (see `datasets.reading`), or "phantom" for generated phantoms;
            one alone may be given without a tuple.
        split: one folds file, or a list of training stems and one of validation stems;
            empty for phantoms, which are split 4 to 1.
        fold: test fold of a folds file; the next one is for validation.
        epochs: passes over the training images.
        labels: the network's classes, in their order; empty takes those of `init`, or
            normal, benign and malignant. Only for EFSNet.
        model: one of `NETWORKS`; the others than EFSNet are in `training.baselines`.
        image_size: height and width of training images, a multiple of 8 (16 for U-Net,
            32 for DeepLabV3+).
        batch_size: images in a step.
        seed: of weights, order, augmentation, dropout and phantoms.
        sixteen_bit: "full" or "minmax", the range of 16-bit grey files (see
            `images.grey.to_grey`).
        init: preset or `.keras` file to start from, or None for random weights.
        width: scales the network's channels.
        dropout: EFSNet's `dropout`.
        class_dropout: rate of the dropout before the class head. None means 1, 0.1 and
            0.3. But for EFSNet with `init`, all three are those of its network, and
            another value is an error.
        phantoms: number of generated phantoms of each class, added to the dataset's
            training images or used alone.
        removed_lesions: sources, such as "busbra", whose training images are also shown
            without the lesion, as normal images (see `lesion_removal`).
        shares: how often each group of training images is drawn, such as
            `{"busi/normal": 0.1, "busi/tumour": 0.3, "busbra/tumour": 0.6}` (see
            `pipeline.ImageCache.groups`); empty takes each image once an epoch.
        teacher: the teacher.pt of a network that answers the same augmented images (see
            `teacher`), or None. Its answers count as much as the truth. `image_size` is
            then a multiple of the teacher's.
        learning_rate: AdamW's highest rate, between warm-up and cosine decay.
        warmup_epochs: epochs of linear warm-up.
        weight_decay: AdamW's weight decay, on kernels only.
        clip_norm: limit of the gradient's global norm.
        ema_momentum: momentum of the averaged weights, which are validated and saved.
            The norms' statistics average over as many steps, and must fit the weights.
        class_loss_weight: weight of the class's cross-entropy; the mask's loss has 1.
        class_loss_start: first epoch, as a fraction of all, with the full class weight.
            It rises linearly until then, so that the class does not overfit early.
        deep_supervision: loss weight of the encoder's mask of 1/8 size; 0 switches it
            off. Only for EFSNet.
        dtype_policy: "float32", or "mixed_bfloat16" if the machine is faster with it.
        augmentation: settings of the augmentation.
    """

    data: tuple[str, ...] | str
    split: tuple[str, ...] = ()
    fold: int = 0
    labels: tuple[str, ...] = ()
    model: str = "efsnet"
    epochs: int = 100
    image_size: int = 256
    batch_size: int = 8
    seed: int = 0
    sixteen_bit: SixteenBit = "full"
    init: str | None = None
    width: float | None = None
    dropout: float | None = None
    class_dropout: float | None = None
    phantoms: int = 0
    removed_lesions: tuple[str, ...] = ()
    shares: dict[str, float] = field(default_factory=dict)
    teacher: str | None = None
    learning_rate: float = 2e-3
    warmup_epochs: float = 3
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    ema_momentum: float = 0.99
    class_loss_weight: float = 0.3
    class_loss_start: float = 0.1
    deep_supervision: float = 0.0
    dtype_policy: str = "float32"
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "image_size"):
            if getattr(self, name) < 1:
                value = self.__dict__[name]
                raise ValueError(f"{name} must be at least 1, got {value}.")
        if self.labels:
            check_labels(self.labels)
        self._check_network()
        self._check_earlier_runs()
        if isinstance(self.data, str):
            object.__setattr__(self, "data", _to_tuple(self.data))
        if self.on_phantoms and self.phantoms < 2:
            raise ValueError(
                f"phantoms must be at least 2 of each class with data={PHANTOM}, got "
                f"{self.phantoms}; use 100 for a small dataset."
            )
        if not self.on_phantoms and not self.split:
            raise ValueError(
                "split is missing; give a folds file, or TRAIN.txt and VAL.txt."
            )

    @property
    def on_phantoms(self) -> bool:
        """Whether the run sees generated phantoms alone."""
        return self.data == (PHANTOM,)

    def _check_network(self) -> None:
        if self.model not in NETWORKS:
            raise ValueError(
                f"model must be one of {', '.join(NETWORKS)}, got {self.model}."
            )
        multiple = NETWORKS[self.model]
        if self.image_size % multiple:
            valid = -(-self.image_size // multiple) * multiple
            raise ValueError(
                f"image_size must be a multiple of {multiple}, got {self.image_size}; "
                f"the next valid one is {valid}."
            )
        if self.deep_supervision and self.model != "efsnet":
            raise ValueError(
                f"deep_supervision reads EFSNet's encoder, and model is {self.model}; "
                "set deep_supervision to 0."
            )
        if self.labels and self.model != "efsnet":
            raise ValueError(
                f"labels are saved with EFSNet alone, and model is {self.model}; leave "
                "labels out."
            )

    def _check_earlier_runs(self) -> None:
        for name in ("init", "teacher"):
            if getattr(self, name) == EARLIER_RUN:
                raise ValueError(
                    f"{name} is a file {EARLIER_RUN}, which the card does not hold; "
                    f"make it with the card's `recipe`, and give it as {name}."
                )

    def class_loss_weight_at(self, epoch: int) -> float:
        """Gives the weight of the class's loss in an epoch (from 0)."""
        rising = self.class_loss_start * self.epochs
        return self.class_loss_weight * min((epoch + 1) / max(rising, 1), 1.0)

    def to_json(self) -> dict[str, Any]:
        """Gives the settings as JSON values for `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrainSettings":
        """Makes settings from JSON values.

        Raises:
            ValueError: a name is unknown, or `data` is missing.
        """
        _check_names(values, cls)
        if "data" not in values:
            raise ValueError(f"data is missing; give a dataset folder, or {PHANTOM}.")
        augmentation = values.get("augmentation", {})
        _check_names(augmentation, Augmentation)
        settings = {
            **values,
            "data": _to_tuple(values["data"]),
            "split": tuple(values.get("split", ())),
            "labels": tuple(values.get("labels", ())),
            "removed_lesions": tuple(values.get("removed_lesions", ())),
            "augmentation": Augmentation(**augmentation),
        }
        return cls(**settings)


def read_settings(path: Path) -> dict[str, Any]:
    """Reads the settings in a run's settings.json or a preset's card.json.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file has no settings.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        settings = values["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: must be a JSON file with `settings`, as training writes it "
            f"({type(error).__name__}); give a run's settings.json or a card.json."
        ) from error
    return settings


def _to_tuple(data: str | Sequence[str]) -> tuple[str, ...]:
    return (data,) if isinstance(data, str) else tuple(data)


def _check_names(values: Mapping[str, Any], kind: type) -> None:
    known = {setting.name for setting in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(
            f"unknown setting {', '.join(unknown)}; {kind.__name__} has "
            f"{', '.join(sorted(known))}."
        )
