"""EFSNet: encoder -> decoder -> mask, encoder -> class."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_efsnet.files import write_whole
from keras_efsnet.labels import CLASS, LABELS, TASKS, check_tasks, name_classes
from keras_efsnet.models import backend_ops, layers
from keras_efsnet.models.backend_ops import CHANNELS_LAST
from keras_efsnet.models.exporting import check_export, fixed_signature
from keras_efsnet.models.keras_archive import read_archive
from keras_efsnet.models.parts import Parts, Shared, shared_by
from keras_efsnet.models.presets import describe_presets, find_model, new_folder
from keras_efsnet.models.targets import GREY_MASKS, check_masks

MULTIPLE = 8
"""Height and width are multiples of 8, as the encoder halves them three times."""

SCALE, OFFSET = 1 / 127.5, -1.0
"""Rescale grey values from [0, 255] to [-1, 1], inside the model."""


class _Presets:
    """The property `EFSNet.presets`, of the class as of its models."""

    def __get__(self, model: Any, owner: type) -> dict[str, dict[str, Any]]:
        return describe_presets()


@keras.saving.register_keras_serializable(package="keras_efsnet")
class EFSNet(keras.Model):
    """EFSNet with two outputs: the lesion's mask and the image's class.

    Args:
        input_shape: `(height, width, 1)`, height and width multiples of 8, or None for
            any such size.
        num_classes: number of classes; None is the number of labels, or 3 without any.
        width: scales the channels 16, 64 and 128, rounded to multiples of 8.
        dropout: rate of the blocks' spatial dropouts.
        class_dropout: rate of the dropout before the class head.
        name: name of the model.
        trainable: False freezes every layer.
        dtype: dtype policy of the layers, such as "mixed_bfloat16"; None takes Keras's
            global policy.
        parts: for each layer's name, what was changed in it since it was made, such as
            `{"down_1": {"trainable": False}}`. Copies and files keep it.
        labels: the names of the classes, such as `("cyst", "solid")`. Copies and files
            keep them, and `efsnet predict` shows them. None names three classes normal,
            benign and malignant, and others not at all.
        tasks: `("mask", "class")`, or the one output that is trained. `efsnet predict`
            does not show the other one.

    Attributes:
        labels: the names of the classes; None if they have none, empty if the class is
            not trained.
        presets: the shipped presets, a dict by name; each has a dict `metadata` with
            `description`, `datasets`, `labels` and `licence` from its card.

    Input shape: `image`, `(batch, height, width, 1)`, grey values in [0, 255], integer
        or float. The model rescales them.
    Output shape: a dict, float32 under any dtype policy: `mask`, `(batch, height,
        width, 1)`, probability of lesion in each pixel; `class`, `(batch,
        num_classes)`, probabilities (softmax) in the order of `labels`.

    Raises:
        ValueError: a size, `num_classes`, `width` or a rate is outside its range,
            `dtype` is not a policy of floating numbers, a label is not allowed, or
            labels, `num_classes` and `tasks` contradict each other.

    Example:

    >>> model = EFSNet(input_shape=(64, 64, 1))
    >>> outputs = model(keras.ops.zeros((2, 64, 64, 1)))
    >>> tuple(outputs["mask"].shape), tuple(outputs["class"].shape)
    ((2, 64, 64, 1), (2, 3))

    Reference: Hu and Wang, "Efficient Fast Semantic Segmentation Using Continuous
    Shuffle Dilated Convolutions", IEEE Access 8, 2020. Chosen: a mask of one channel
    and, for the class, a dense layer on the globally pooled encoder.
    """

    presets = _Presets()

    def __init__(
        self,
        input_shape: tuple[int | None, int | None, int] = (256, 256, 1),
        num_classes: int | None = None,
        width: float = 1.0,
        dropout: float = 0.1,
        class_dropout: float = 0.3,
        name: str = "efsnet",
        *,
        trainable: bool = True,
        dtype: Any = None,
        parts: dict[str, dict[str, Any]] | None = None,
        labels: Sequence[str] | None = None,
        tasks: Sequence[str] = TASKS,
    ) -> None:
        tasks = check_tasks(tasks)
        labels = name_classes(labels, num_classes, tasks)
        num_classes = num_classes or len(labels or LABELS)
        _check_arguments(input_shape, num_classes, dropout, class_dropout)
        policy = _float_policy(dtype)
        small, middle, large = (scale_filters(n, width) for n in (16, 64, 128))
        own_parts = Parts(parts)
        shared = Shared(policy, trainable)

        def make(
            kind: type[keras.layers.Layer], name: str, *arguments: Any, **options: Any
        ) -> keras.layers.Layer:
            return own_parts.make(shared, kind, name, *arguments, name=name, **options)

        image = keras.Input(input_shape, name="image")
        x = make(keras.layers.Rescaling, "rescaling", SCALE, offset=OFFSET)(image)
        x = make(layers.InitialBlock, "initial", small)(x)
        x = skip_4 = make(layers.DownsamplingBlock, "down_1", middle, dropout)(x)
        for i in range(1, 5):
            x = make(layers.FactorizedBlock, f"factorized_{i}", middle, dropout)(x)
        x = skip_8 = make(layers.DownsamplingBlock, "down_2", large, dropout)(x)
        for i in range(1, 3):
            x = make(layers.CSDCBlock, f"csdc_{i}", large, dropout=dropout)(x)
        encoded = x

        x = make(layers.UpsamplingModule, "up_1", middle, dropout)([x, skip_8])
        for i in range(1, 3):
            x = make(layers.ShuffleUnit, f"shuffle_4_{i}", middle, 2, dropout)(x)
        x = make(layers.UpsamplingModule, "up_2", small, dropout)([x, skip_4])
        for i in range(1, 3):
            x = make(layers.ShuffleUnit, f"shuffle_2_{i}", small, 1, dropout)(x)
        x = make(layers.MaskHead, "mask_logits")(x)
        mask = make(keras.layers.Activation, "mask", "sigmoid", dtype="float32")(x)

        label = class_head(encoded, num_classes, class_dropout, make)

        outputs = {"mask": mask, "class": label}
        super().__init__(image, outputs, name=name, trainable=trainable)
        self.dtype_policy = policy
        self.num_classes = num_classes
        self.labels = labels
        self.tasks = tasks
        self.width = width
        self.dropout = dropout
        self.class_dropout = class_dropout
        self._parts = own_parts

    def call(self, inputs, training=None, mask=None, **kwargs):
        shape = keras.tree.flatten(inputs)[0].shape
        _check_size("image", tuple(shape)[1:3])
        return super().call(inputs, training=training, mask=mask, **kwargs)

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Trains as `keras.Model.fit`, after a look at the masks.

        Raises:
            ValueError: a mask has values above 1, such as 255. Looked at are all masks
                of arrays and `tf.data`, and those in the first batch of other data.
        """
        data = check_masks(x, y)
        try:
            return super().fit(data, y, *args, **kwargs)
        except Exception as error:  # of `tf.data`, which reads while training runs
            if GREY_MASKS in str(error) and not isinstance(error, ValueError):
                raise ValueError(GREY_MASKS) from None
            raise

    def export(
        self,
        filepath: str | Path,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Exports as `keras.Model.export`; `efsnet export` writes smaller LiteRT files.

        Args:
            filepath: the file or folder.
            format: "tf_saved_model", "onnx", "openvino" or "litert" on TensorFlow,
                "tf_saved_model" on JAX, "torch" on PyTorch.
            verbose: print where the file is.
            input_signature: as in Keras; None takes the model's size. JAX and PyTorch
                need a fixed height and width.
            **kwargs: as in Keras.

        Raises:
            MissingPackage: the format's package is not installed.
            ValueError: the backend does not export this format, or only fixed sizes.
        """
        with check_export(format):
            signature = input_signature or fixed_signature(self.input_shape)
            super().export(str(filepath), format, verbose, signature, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {
            "input_shape": self.input_shape[1:],
            "num_classes": self.num_classes,
            "width": self.width,
            "dropout": self.dropout,
            "class_dropout": self.class_dropout,
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "parts": self._parts.changes(shared_by(self)),
            "labels": None if self.labels in (None, (), LABELS) else list(self.labels),
            "tasks": list(self.tasks),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None):
        return cls(**config)

    @classmethod
    def from_preset(
        cls,
        preset: str | Path,
        load_weights: bool = True,
        dtype: Any = None,
        *,
        num_classes: int | None = None,
        labels: Sequence[str] | None = None,
        input_shape: tuple[int | None, int | None, int] | None = None,
        **kwargs: Any,
    ) -> "EFSNet":
        """Makes a preset's network, with its trained weights.

        Args:
            preset: name of a shipped preset (see `presets`); a `.keras` file saved from
                an EFSNet; a folder from `save_to_preset`; or such a folder on a hub,
                `hf://USER/MODEL` (needs `huggingface_hub`) or
                `kaggle://USER/MODEL/keras/VARIATION` (needs `kagglehub`).
            load_weights: False gives new, untrained weights.
            dtype: dtype policy. None keeps the preset's, but a float32 preset takes
                Keras's global policy.
            num_classes: None keeps the preset's; another number gives a new, untrained
                class head.
            labels: None keeps the preset's; others give a new class head too.
            input_shape: None keeps the preset's.
            **kwargs: other arguments of `EFSNet` that replace the preset's.

        Raises:
            MissingPackage: the hub's package is not installed.
            ValueError: there is no such preset or file, it cannot be downloaded, holds
                no EFSNet, or its weights do not fit the arguments.
        """
        trained = read_archive(find_model(preset).keras_file)
        if not isinstance(trained, cls):
            raise ValueError(
                f"{preset}: from_preset takes a file saved from an EFSNet, got a "
                f"{type(trained).__name__}; load it with keras.saving.load_model."
            )
        config = {**trained.get_config(), **kwargs}
        if CLASS not in config["tasks"]:
            config["labels"] = None
        if dtype is None and trained.dtype_policy.name != "float32":
            dtype = trained.dtype_policy
        if labels is not None or num_classes not in (None, trained.num_classes):
            config |= {"num_classes": num_classes, "labels": labels}
        names = name_classes(config["labels"], config["num_classes"], config["tasks"])
        classes = config["num_classes"] or len(names or LABELS)
        new_head = classes != trained.num_classes or names not in ((), trained.labels)
        if new_head:
            config["parts"].pop("class_logits", None)
        shape = input_shape or config["input_shape"]
        model = cls(**{**config, "input_shape": shape, "dtype": dtype})
        if not load_weights:
            return model
        if model.width != trained.width:
            raise ValueError(
                f"width must be the preset's, {trained.width}, to load its weights, "
                f"got {model.width}; leave width out, or give load_weights=False."
            )
        for layer in model.layers:
            if not (new_head and layer.name == "class_logits"):
                layer.set_weights(trained.get_layer(layer.name).get_weights())
        return model

    def save_to_preset(self, preset_dir: str | Path) -> None:
        """Writes a folder for `from_preset` and `efsnet predict --model`.

        It holds `model.keras`, with float32 weights, and can be uploaded to Hugging
        Face or Kaggle. There is no card.json: what it says of data and scores would be
        of other weights.

        Args:
            preset_dir: the folder; it is made if it does not exist.

        Raises:
            OSError: a file cannot be written.
            ValueError: the folder holds a card or exported files.
        """
        file = new_folder(preset_dir) / "model.keras"
        write_whole(file, float32_copy(self).save, durable=True)


def float32_copy(model: EFSNet) -> EFSNet:
    """Copies a network with its weights to the policy float32, in all its parts."""
    copy = EFSNet(**{**_without_dtype(model.get_config()), "dtype": "float32"})
    copy.set_weights(model.get_weights())
    return copy


def make_layer(
    kind: type[keras.layers.Layer], name: str, *arguments: Any, **options: Any
) -> keras.layers.Layer:
    return kind(*arguments, name=name, **options)


def class_head(
    encoded: Any,
    num_classes: int,
    dropout: float,
    make: Callable[..., keras.layers.Layer] = make_layer,
) -> Any:
    """Returns the output `class`, given the encoder's last feature map."""
    x = make(keras.layers.GlobalAveragePooling2D, "pool", data_format=CHANNELS_LAST)(
        encoded
    )
    # With a noise shape, PyTorch also uses the layer's seed: training resumes exactly.
    noise_shape = (None, encoded.shape[-1])
    x = make(keras.layers.Dropout, "class_dropout", dropout, noise_shape)(x)
    x = make(keras.layers.Dense, "class_logits", num_classes)(x)
    return make(keras.layers.Activation, "class", "softmax", dtype="float32")(x)


def scale_filters(filters: int, width: float) -> int:
    """Returns `filters * width`, rounded to a multiple of 8.

    Raises:
        ValueError: `width` is not above 0.
    """
    if width <= 0:
        raise ValueError(
            f"width must be above 0, got {width}; 1.0 is the network's own."
        )
    return max(round(filters * width / MULTIPLE), 1) * MULTIPLE


def _float_policy(dtype: Any) -> keras.DTypePolicy:
    policy = keras.dtype_policies.get(dtype)
    if policy.quantization_mode or "float" not in policy.compute_dtype:
        raise ValueError(
            "dtype must be a policy of floating numbers, such as float32 or "
            f"mixed_bfloat16, got {policy.name}; for fewer bits quantize the model."
        )
    if policy.variable_dtype == "float64" and not backend_ops.has_float64():
        raise ValueError(
            "dtype must be one that the backend has, got float64 on JAX without it; "
            'call jax.config.update("jax_enable_x64", True) first.'
        )
    return policy


def _check_arguments(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    dropout: float,
    class_dropout: float,
) -> None:
    if len(input_shape) != 3 or input_shape[-1] != 1:
        raise ValueError(
            "input_shape must be (height, width, 1), one grey channel, got "
            f"{tuple(input_shape)}; convert colour images to grey."
        )
    _check_size("input_shape", input_shape[:2])
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}.")
    for name, rate in (("dropout", dropout), ("class_dropout", class_dropout)):
        if not 0 <= rate < 1:
            raise ValueError(f"{name} must be in [0, 1), got {rate}.")


def _check_size(what: str, sizes: tuple[Any, ...]) -> None:
    """Raises ValueError if a size is known and no multiple of 8."""
    for name, size in zip(("height", "width"), sizes, strict=False):
        if isinstance(size, int) and (size < MULTIPLE or size % MULTIPLE):
            valid = max(-(-size // MULTIPLE), 1) * MULTIPLE
            raise ValueError(
                f"{what}: the {name} must be a multiple of {MULTIPLE}, got {size}; "
                f"the next valid one is {valid}."
            )


def _without_dtype(config: dict[str, Any]) -> dict[str, Any]:
    """Drops the dtype policies of a config and of its parts."""
    return {
        key: _without_dtype(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key != "dtype"
    }
