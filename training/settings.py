"""What a training run is made of, in one place that is saved beside its weights."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_efsnet.training.augmentation import Augmentation

PHANTOM = "phantom"
"""The `data` of a run on generated phantoms alone."""

NETWORKS = {"efsnet": 8, "unet": 16, "deeplab_v3_plus": 32}
"""The networks, and what height and width must be multiples of for each."""


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training run.

    Attributes:
        data: dataset folder in BUSI's layout, or "phantom" for generated phantoms.
        split: one folds file, or a list of training and one of validation stems; empty
            for phantoms, which are split 4 to 1.
        fold: test fold of a folds file; the next one validates.
        epochs: passes over the training images.
        model: one of `NETWORKS`; those beside EFSNet are in `training.baselines`.
        image_size: height and width the network is trained at, a multiple of 8 (16 for
            a U-Net, 32 for DeepLabV3+).
        batch_size: images in a step.
        seed: of weights, order, augmentation, dropout and phantoms.
        init: preset or `.keras` file to start from, or None for fresh weights.
        width: scales the network's channels, for fresh weights.
        dropout: EFSNet's `dropout`, for fresh weights.
        class_dropout: rate of the dropout before the class head, for fresh weights.
        phantoms: generated phantoms of each class added to the training images (alone,
            the number of each class in all).
        learning_rate: AdamW's highest, after the warm-up; it falls as a cosine.
        warmup_epochs: epochs of linear warm-up.
        weight_decay: AdamW's, on kernels alone.
        clip_norm: limit of the gradient's global norm.
        ema_momentum: of the averaged weights, a step; these are validated and saved.
            The norms' statistics average as many steps; weights averaged over far
            more would not fit them.
        class_loss_weight: weight of the class's cross-entropy beside the mask's loss.
        class_loss_start: first epoch, as a fraction of all, with the full class weight;
            before, it rises linearly, so that the class does not overfit before the
            mask works.
        deep_supervision: weight of the loss of a mask of 1/8 size that the encoder
            must give while it trains; 0 is none. For EFSNet alone.
        dtype_policy: "float32", or "mixed_bfloat16" where the machine gains from it.
        augmentation: strengths of the augmentation.
    """

    data: str
    split: tuple[str, ...] = ()
    fold: int = 0
    model: str = "efsnet"
    epochs: int = 100
    image_size: int = 256
    batch_size: int = 8
    seed: int = 0
    init: str | None = None
    width: float = 1.0
    dropout: float = 0.1
    class_dropout: float = 0.3
    phantoms: int = 0
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
                raise ValueError(
                    f"{name} must be at least 1, got {self.__dict__[name]}."
                )
        self._check_network()
        if self.data == PHANTOM and self.phantoms < 2:
            raise ValueError(
                f"phantoms must be at least 2 of each class with data={PHANTOM}, got "
                f"{self.phantoms}; 100 make a small dataset."
            )
        if self.data != PHANTOM and not self.split:
            raise ValueError(
                "split is missing; give a folds file, or TRAIN.txt and VAL.txt."
            )

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
                "set it to 0."
            )

    def class_loss_weight_at(self, epoch: int) -> float:
        """Weight of the class's loss in an epoch (from 0)."""
        rising = self.class_loss_start * self.epochs
        return self.class_loss_weight * min((epoch + 1) / max(rising, 1), 1.0)

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values; `from_json` reads them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrainSettings":
        """Settings from JSON values.

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
            "split": tuple(values.get("split", ())),
            "augmentation": Augmentation(**augmentation),
        }
        return cls(**settings)


def read_settings(path: Path) -> dict[str, Any]:
    """Reads the settings in a run's settings.json or a preset's card.json.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no settings.
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


def _check_names(values: Mapping[str, Any], kind: type) -> None:
    known = {setting.name for setting in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(
            f"unknown setting {', '.join(unknown)}; {kind.__name__} has "
            f"{', '.join(sorted(known))}."
        )
