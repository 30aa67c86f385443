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

COARSE, TUMOUR = "coarse", "tumour"
"""The outputs of `TrainingModel`."""

BENIGN, MALIGNANT = LABELS.index("benign"), LABELS.index("malignant")

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
        model: the network, or its `TrainingModel`.
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
    loss_weights = {"mask": 1.0, "class": 1.0}
    if COARSE in model.output:
        loss[COARSE] = DiceBCE()
        loss_weights[COARSE] = settings.deep_supervision
    if TUMOUR in model.output:
        loss[TUMOUR] = "binary_crossentropy"
        loss_weights[TUMOUR] = 1.0
    model.compile(
        optimizer,
        loss=loss,
        loss_weights=loss_weights,
        weighted_metrics={"mask": [Dice()], "class": ["sparse_categorical_accuracy"]},
        # On the CPU, XLA's convolutions are slower than TensorFlow's own.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )


class TrainingModel(keras.Model):
    """Adds outputs to a network that only its training needs.

    `coarse` is a mask of 1/8 size from EFSNet's encoder. Its loss trains the encoder to
    find lesions; its targets are the fractions of lesion in each 8 x 8 pixels of the
    mask. The head is discarded after training.

    `tumour` is the probability of malignant if there is a tumour, from `class`. It
    trains the class on sources that have no normal image, without a word on "normal".

    The weights are shared with `network`.

    Args:
        network: the network to train.
        coarse: add the coarse mask; only for EFSNet.
        tumour: add the probability of malignant if there is a tumour.

    Input shape: the network's; targets are those of `mask` and `class`, sample weights
        too, and `tumour` may have its own, 0 otherwise.
    Output shape: the network's, and `coarse`, `(batch, height / 8, width / 8, 1)`, and
        `tumour`, `(batch, 1)`, both in [0, 1].

    Reference: Lee et al., "Deeply-Supervised Nets", AISTATS 2015 (coarse mask).
    """

    def __init__(self, network: keras.Model, coarse: bool, tumour: bool) -> None:
        outputs = dict(network.output)
        if coarse:
            encoded = network.get_layer("csdc_2").output
            x = keras.layers.Conv2D(1, 1, name="coarse_logits")(encoded)
            outputs[COARSE] = keras.layers.Activation(
                "sigmoid", dtype="float32", name=COARSE
            )(x)
        if tumour:
            classes = outputs["class"]
            both = classes[:, BENIGN : BENIGN + 1] + classes[:, MALIGNANT:]
            outputs[TUMOUR] = classes[:, MALIGNANT:] / (both + keras.config.epsilon())
        super().__init__(network.input, outputs)
        self.added = [name for name in (COARSE, TUMOUR) if name in outputs]

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        y, sample_weight = self._complete(y, sample_weight)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        y, sample_weight = self._complete(y, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def _complete(self, y: dict[str, Any], weight: dict[str, Any]) -> tuple[Any, Any]:
        """Adds the targets and weights of the added outputs."""
        targets, weights = dict(y), dict(weight)
        if COARSE in self.added:
            mask = ops.cast(y["mask"], "float32")
            targets[COARSE] = ops.average_pool(mask, MULTIPLE, MULTIPLE)
            weights[COARSE] = weight["mask"]
        if TUMOUR in self.added:
            malignant = ops.cast(ops.equal(y["class"], MALIGNANT), "float32")
            targets[TUMOUR] = ops.reshape(malignant, (-1, 1))
            weights.setdefault(TUMOUR, ops.zeros_like(weight["class"]))
        return targets, weights
