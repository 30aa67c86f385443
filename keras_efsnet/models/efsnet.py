"""EFSNet: encoder -> decoder -> mask, encoder -> class."""

from pathlib import Path
from typing import Any

import keras

from keras_efsnet.models import layers
from keras_efsnet.models.keras_archive import read_archive
from keras_efsnet.models.presets import find_model

MULTIPLE = 8
"""Height and width are multiples of 8, as the encoder halves them three times."""


@keras.saving.register_keras_serializable(package="keras_efsnet")
class EFSNet(keras.Model):
    """EFSNet with two outputs: the lesion's mask and the image's class.

    Args:
        input_shape: `(height, width, 1)`, height and width multiples of 8, or None for
            any such size.
        num_classes: number of classes.
        width: scales the channels 16, 64 and 128, rounded to multiples of 8.
        dropout: rate of the blocks' spatial dropouts.
        class_dropout: rate of the dropout before the class head.
        name: name of the model.

    Input shape: `image`, `(batch, height, width, 1)`, grey values in [0, 255], integer
        or float. The model rescales them.
    Output shape: a dict, float32 under any dtype policy: `mask`, `(batch, height,
        width, 1)`, probability of lesion in each pixel; `class`, `(batch,
        num_classes)`, probabilities (softmax) of normal, benign and malignant.

    Raises:
        ValueError: a size, `num_classes`, `width` or a rate is outside its range.

    Example:

    >>> model = EFSNet(input_shape=(64, 64, 1))
    >>> outputs = model(keras.ops.zeros((2, 64, 64, 1)))
    >>> tuple(outputs["mask"].shape), tuple(outputs["class"].shape)
    ((2, 64, 64, 1), (2, 3))

    Reference: Hu and Wang, "Efficient Fast Semantic Segmentation Using Continuous
    Shuffle Dilated Convolutions", IEEE Access 8, 2020. Chosen: a mask of one channel
    and, for the class, a dense layer on the globally pooled encoder.
    """

    def __init__(
        self,
        input_shape: tuple[int | None, int | None, int] = (256, 256, 1),
        num_classes: int = 3,
        width: float = 1.0,
        dropout: float = 0.1,
        class_dropout: float = 0.3,
        name: str = "efsnet",
        **kwargs: Any,
    ) -> None:
        _check_arguments(input_shape, num_classes, dropout, class_dropout)
        small, middle, large = (scale_filters(n, width) for n in (16, 64, 128))

        image = keras.Input(input_shape, name="image")
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(image)
        x = layers.InitialBlock(small, name="initial")(x)
        x = skip_4 = layers.DownsamplingBlock(middle, dropout, name="down_1")(x)
        for i in range(1, 5):
            x = layers.FactorizedBlock(middle, dropout, name=f"factorized_{i}")(x)
        x = skip_8 = layers.DownsamplingBlock(large, dropout, name="down_2")(x)
        for i in range(1, 3):
            x = layers.CSDCBlock(large, dropout=dropout, name=f"csdc_{i}")(x)
        encoded = x

        x = layers.UpsamplingModule(middle, dropout, name="up_1")([x, skip_8])
        for i in range(1, 3):
            x = layers.ShuffleUnit(middle, 2, dropout, name=f"shuffle_4_{i}")(x)
        x = layers.UpsamplingModule(small, dropout, name="up_2")([x, skip_4])
        for i in range(1, 3):
            x = layers.ShuffleUnit(small, 1, dropout, name=f"shuffle_2_{i}")(x)
        x = layers.MaskHead(name="mask_logits")(x)
        mask = keras.layers.Activation("sigmoid", dtype="float32", name="mask")(x)

        label = class_head(encoded, num_classes, class_dropout)

        super().__init__(image, {"mask": mask, "class": label}, name=name, **kwargs)
        self.num_classes = num_classes
        self.width = width
        self.dropout = dropout
        self.class_dropout = class_dropout

    def get_config(self) -> dict[str, Any]:
        return {
            "input_shape": self.input_shape[1:],
            "num_classes": self.num_classes,
            "width": self.width,
            "dropout": self.dropout,
            "class_dropout": self.class_dropout,
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None):
        return cls(**config)

    @classmethod
    def from_preset(
        cls,
        preset: str | Path,
        num_classes: int | None = None,
        input_shape: tuple[int | None, int | None, int] | None = None,
    ) -> "EFSNet":
        """Loads trained weights.

        Args:
            preset: name of a shipped preset, or a `.keras` file saved from an EFSNet.
            num_classes: None keeps the preset's; another number gives a new, untrained
                class head.
            input_shape: None keeps the preset's.

        Raises:
            ValueError: there is no such preset or file, or it holds no EFSNet.
        """
        trained = read_archive(find_model(preset).keras_file)
        if not isinstance(trained, cls):
            raise ValueError(
                f"{preset}: from_preset takes a file saved from an EFSNet, got a "
                f"{type(trained).__name__}; load it with keras.saving.load_model."
            )
        changes = {"num_classes": num_classes, "input_shape": input_shape}
        wanted = {key: value for key, value in changes.items() if value is not None}
        model = cls(**{**trained.get_config(), **wanted})
        for layer in model.layers:
            weights = trained.get_layer(layer.name).get_weights()
            if layer.name != "class_logits" or model.num_classes == trained.num_classes:
                layer.set_weights(weights)
        return model


def class_head(encoded: Any, num_classes: int, dropout: float) -> Any:
    """Returns the output `class`, given the encoder's last feature map."""
    x = keras.layers.GlobalAveragePooling2D(name="pool")(encoded)
    # With a noise shape, PyTorch also uses the layer's seed: training resumes exactly.
    x = keras.layers.Dropout(
        dropout, noise_shape=(None, encoded.shape[-1]), name="class_dropout"
    )(x)
    x = keras.layers.Dense(num_classes, name="class_logits")(x)
    return keras.layers.Activation("softmax", dtype="float32", name="class")(x)


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
    for name, size in zip(("height", "width"), input_shape[:2], strict=True):
        if size is not None and (size < MULTIPLE or size % MULTIPLE):
            valid = max(-(-size // MULTIPLE), 1) * MULTIPLE
            raise ValueError(
                f"input_shape: the {name} must be a multiple of {MULTIPLE}, got "
                f"{size}; the next valid one is {valid}."
            )
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}.")
    for name, rate in (("dropout", dropout), ("class_dropout", class_dropout)):
        if not 0 <= rate < 1:
            raise ValueError(f"{name} must be in [0, 1), got {rate}.")
