"""Builds or loads the network of a run and compiles it."""

from typing import Any

import keras
from keras import ops

from keras_efsnet.labels import LABELS
from keras_efsnet.models.efsnet import MULTIPLE, EFSNet
from keras_efsnet.models.losses import DiceBCE
from keras_efsnet.models.metrics import Dice
from keras_efsnet.training.baselines import build_baseline
from keras_efsnet.training.distribute import adamw
from keras_efsnet.training.settings import TrainSettings

COARSE = "coarse"
"""The output for deep supervision of the encoder."""

UNDECAYED = ["gamma", "beta", "slope", "bias"]
"""Names of the weights without weight decay."""


def build_model(settings: TrainSettings) -> keras.Model:
    """Builds the network of a run with its initial weights."""
    if settings.model != "efsnet":
        return build_baseline(settings)
    input_shape = (settings.image_size, settings.image_size, 1)
    if settings.init:
        return EFSNet.from_preset(settings.init, len(LABELS), input_shape)
    return EFSNet(
        input_shape,
        width=settings.width,
        dropout=settings.dropout,
        class_dropout=settings.class_dropout,
    )


def compile_model(model: keras.Model, settings: TrainSettings, steps: int) -> None:
    """Compiles a model with the losses, metrics and optimizer of a run.

    Args:
        model: the network, or its `DeeplySupervised` model.
        settings: the run's settings.
        steps: batches per epoch.
    """
    warmup = round(settings.warmup_epochs * steps)
    rate = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate / 100,
        decay_steps=max(settings.epochs * steps - warmup, 1),
        alpha=0.01,
        warmup_target=settings.learning_rate,
        warmup_steps=warmup,
    )
    optimizer = adamw(
        learning_rate=rate,
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip_norm,
        use_ema=True,
        ema_momentum=settings.ema_momentum,
    )
    optimizer.exclude_from_weight_decay(var_names=UNDECAYED)
    optimizer.build(model.trainable_variables)
    loss = {"mask": DiceBCE(), "class": "sparse_categorical_crossentropy"}
    loss_weights = None
    if settings.deep_supervision:
        loss[COARSE] = DiceBCE()
        loss_weights = {"mask": 1.0, "class": 1.0, COARSE: settings.deep_supervision}
    model.compile(
        optimizer,
        loss=loss,
        loss_weights=loss_weights,
        weighted_metrics={"mask": [Dice()], "class": ["sparse_categorical_accuracy"]},
        # On the CPU, XLA's convolutions are slower than TensorFlow's own.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )


class DeeplySupervised(keras.Model):
    """Adds a mask output of 1/8 size to EFSNet's encoder, for training only.

    The extra loss trains the encoder to find lesions. Its targets are the fractions of
    lesion in each 8 x 8 pixels of the mask. The weights are shared with `network`; the
    head of the coarse mask is discarded after training.

    Args:
        network: the EFSNet to train.

    Input shape: EFSNet's; targets and sample weights are those of `mask` and `class`.
    Output shape: EFSNet's, and `coarse`, `(batch, height / 8, width / 8, 1)` in [0, 1].

    Reference: Lee et al., "Deeply-Supervised Nets", AISTATS 2015.
    """

    def __init__(self, network: EFSNet) -> None:
        encoded = network.get_layer("csdc_2").output
        x = keras.layers.Conv2D(1, 1, name="coarse_logits")(encoded)
        coarse = keras.layers.Activation("sigmoid", dtype="float32", name=COARSE)(x)
        super().__init__(network.input, {**network.output, COARSE: coarse})

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        y, sample_weight = _with_coarse(y, sample_weight)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        y, sample_weight = _with_coarse(y, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)


def _with_coarse(y: dict[str, Any], weight: dict[str, Any]) -> tuple[Any, Any]:
    mask = ops.cast(y["mask"], "float32")
    coarse = ops.average_pool(mask, MULTIPLE, MULTIPLE)
    return {**y, COARSE: coarse}, {**weight, COARSE: weight["mask"]}
