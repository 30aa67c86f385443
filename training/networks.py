"""Builds or loads the network of a run and compiles it."""

from functools import partial
from typing import Any

import keras
from keras import ops

from keras_efsnet.labels import BENIGN, LABELS, MALIGNANT, TASKS
from keras_efsnet.models.efsnet import MULTIPLE, EFSNet
from keras_efsnet.models.losses import DiceBCE
from keras_efsnet.models.metrics import Dice
from keras_efsnet.training.baselines import build_baseline
from keras_efsnet.training.distribute import adamw
from keras_efsnet.training.pipeline import TAUGHT_CLASS, TAUGHT_MASK
from keras_efsnet.training.settings import TrainSettings

COARSE, TUMOUR = "coarse", "tumour"
"""The outputs of `TrainingModel`, beside `TAUGHT_MASK` and `TAUGHT_CLASS`."""

TEACHER_WEIGHT = 0.5
"""Weight of the teacher's answers in the losses of mask and class; the truth has the
rest."""

_BENIGN, _MALIGNANT = LABELS.index(BENIGN), LABELS.index(MALIGNANT)

UNDECAYED = ["gamma", "beta", "slope", "bias"]
"""Names of the weights without weight decay."""

NETWORK_SETTINGS = {"width": 1.0, "dropout": 0.1, "class_dropout": 0.3}
"""The settings of a network itself, with their values for a new one."""


def build_model(settings: TrainSettings, tasks: tuple[str, ...] = TASKS) -> keras.Model:
    """Builds the network of a run with its initial weights.

    Args:
        settings: of the run.
        tasks: the outputs that are trained, from `run_images.find_tasks`.

    Raises:
        MissingPackage: the network's package is not installed.
        ValueError: there is no such `init`, its network has other settings, or another
            network than EFSNet is to be trained for one output alone.
    """
    given = _given(settings)
    if settings.model != "efsnet" and tasks != TASKS:
        raise ValueError(
            f"the training images have a truth for the {tasks[0]} alone, which only "
            f"EFSNet notes, and model is {settings.model}; leave model out."
        )
    if settings.model != "efsnet":
        return build_baseline(settings, {**NETWORK_SETTINGS, **given})
    input_shape = (settings.image_size, settings.image_size, 1)
    labels = settings.labels or None
    if not settings.init:
        chosen = {**NETWORK_SETTINGS, **given}
        return EFSNet(input_shape, labels=labels, tasks=tasks, **chosen)
    start = partial(
        EFSNet.from_preset, settings.init, tasks=tasks, input_shape=input_shape
    )
    model = start(labels=labels)
    if model.labels is None:  # classes without names are of no use to the run
        model = start(labels=LABELS)
    for name, value in given.items():
        own = getattr(model, name)
        if value != own:
            raise ValueError(
                f"{name} is {value:g} in the settings, and {own:g} in the network of "
                f"{settings.init}; leave {name} out, or leave init out to train new "
                "weights."
            )
    return model


def labels_of(network: keras.Model) -> tuple[str, ...]:
    """Gives the names of a network's classes; empty if no class is trained."""
    labels: tuple[str, ...] = getattr(network, "labels", LABELS)
    return labels


def tasks_of(network: keras.Model) -> tuple[str, ...]:
    """Gives the outputs of a network that are trained."""
    tasks: tuple[str, ...] = getattr(network, "tasks", TASKS)
    return tasks


def describe_network(network: keras.Model, settings: TrainSettings) -> dict[str, float]:
    """Gives the settings that a network of `build_model` has."""
    if isinstance(network, EFSNet):
        return {name: getattr(network, name) for name in NETWORK_SETTINGS}
    chosen = {**NETWORK_SETTINGS, **_given(settings)}
    return {name: chosen[name] for name in ("width", "class_dropout")}


def _given(settings: TrainSettings) -> dict[str, Any]:
    return {
        name: value
        for name in NETWORK_SETTINGS
        if (value := getattr(settings, name)) is not None
    }


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
    if TAUGHT_MASK in model.output:
        loss |= {TAUGHT_MASK: DiceBCE(), TAUGHT_CLASS: "categorical_crossentropy"}
        loss_weights = {
            **dict.fromkeys(loss_weights, 1 - TEACHER_WEIGHT),
            TAUGHT_MASK: TEACHER_WEIGHT,
            TAUGHT_CLASS: TEACHER_WEIGHT,
        }
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

    `taught_mask` and `taught_class` are compared with a teacher's answers, the mask at
    the teacher's size.

    The weights are shared with `network`.

    Args:
        network: the network to train.
        coarse: add the coarse mask; only for EFSNet.
        tumour: add the probability of malignant if there is a tumour.
        taught_size: height and width of a teacher's mask, a divisor of the network's;
            None if there is no teacher.

    Input shape: the network's; targets are those of `mask` and `class`, sample weights
        too. `tumour` may have its own weights, and the taught outputs targets and
        weights; their losses are 0 otherwise.
    Output shape: the network's, and `coarse`, `(batch, height / 8, width / 8, 1)`,
        `tumour`, `(batch, 1)`, `taught_mask`, `(batch, taught_size, taught_size, 1)`,
        and `taught_class`, as `class`; all in [0, 1].

    Reference: Lee et al., "Deeply-Supervised Nets", AISTATS 2015 (coarse mask).
    """

    def __init__(
        self,
        network: keras.Model,
        coarse: bool,
        tumour: bool,
        taught_size: int | None = None,
    ) -> None:
        outputs = dict(network.output)
        if coarse:
            encoded = network.get_layer("csdc_2").output
            x = keras.layers.Conv2D(1, 1, name="coarse_logits")(encoded)
            outputs[COARSE] = keras.layers.Activation(
                "sigmoid", dtype="float32", name=COARSE
            )(x)
        if tumour:
            classes = outputs["class"]
            both = classes[:, _BENIGN : _BENIGN + 1] + classes[:, _MALIGNANT:]
            outputs[TUMOUR] = classes[:, _MALIGNANT:] / (both + keras.config.epsilon())
        if taught_size:
            times = network.input_shape[1] // taught_size
            outputs[TAUGHT_MASK] = keras.layers.AveragePooling2D(
                times, dtype="float32", name=TAUGHT_MASK
            )(outputs["mask"])
            outputs[TAUGHT_CLASS] = keras.layers.Identity(
                dtype="float32", name=TAUGHT_CLASS
            )(outputs["class"])
        super().__init__(network.input, outputs)
        self.tasks = tasks_of(network)
        self.added = [name for name in outputs if name not in network.output]

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
            malignant = ops.cast(ops.equal(y["class"], _MALIGNANT), "float32")
            targets[TUMOUR] = ops.reshape(malignant, (-1, 1))
            weights.setdefault(TUMOUR, ops.zeros_like(weight["class"]))
        for name in {TAUGHT_MASK, TAUGHT_CLASS}.intersection(self.added):
            # Validation has no teacher.
            shape = (ops.shape(y["class"])[0], *self.output[name].shape[1:])
            targets.setdefault(name, ops.zeros(shape))
            weights.setdefault(name, ops.zeros_like(weight["class"]))
        return targets, weights
