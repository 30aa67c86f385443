"""Other networks with EFSNet's input and outputs, for comparison.

They use the same training settings. Their files have only Keras's own layers and work
with `efsnet evaluate` and `efsnet export`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_efsnet.extras import MissingPackage
from keras_efsnet.labels import LABELS
from keras_efsnet.models.efsnet import class_head, scale_filters
from keras_efsnet.models.presets import find_model
from keras_efsnet.models.saving import load_keras_model
from keras_efsnet.training.settings import TrainSettings

Shape = tuple[int, int, int]


def build_baseline(
    settings: TrainSettings, network: Mapping[str, float]
) -> keras.Model:
    """Builds the network of a run, where `model` is one of `BUILDERS`.

    Args:
        settings: of the run.
        network: its `width` and `class_dropout`.

    Raises:
        MissingPackage: the network's package is not installed.
        ValueError: `init` is missing, or is of another network or width.
    """
    input_shape = (settings.image_size, settings.image_size, 1)
    build = BUILDERS[settings.model]
    model = build(input_shape, network["width"], network["class_dropout"])
    if settings.init:
        trained = load_keras_model(find_model(settings.init).keras_file)
        try:
            model.set_weights(trained.get_weights())
        except ValueError as error:
            raise ValueError(
                f"{settings.init}: not the weights of {settings.model} with width "
                f"{network['width']:g}; give a file saved from this network."
            ) from error
    return model


def unet(
    input_shape: Shape = (256, 256, 1), width: float = 1.0, class_dropout: float = 0.3
) -> keras.Model:
    """Builds a U-Net with batch normalization.

    It has two 3x3 convolutions at each of five sizes, with 64 to 1024 channels. After
    each upsampling, a 3x3 convolution halves the channels.

    Args:
        input_shape: `(height, width, 1)`, multiples of 16.
        width: scales the channels, rounded to multiples of 8.
        class_dropout: rate of the dropout before the class head.

    Reference: Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image
    Segmentation", MICCAI 2015, as in the tables of UNeXt's and CMUNeXt's successors
    (34.52 million parameters): `same` padding, norms, upsampling instead of transposed
    convolutions. Chosen: the class head on the smallest maps; bilinear instead of
    nearest upsampling, for which LiteRT has a fast kernel.
    """
    filters = [scale_filters(n, width) for n in (64, 128, 256, 512, 1024)]
    image = keras.Input(input_shape, name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(image)
    skips: list[Any] = []
    for level, count in enumerate(filters, start=1):
        if skips:
            x = keras.layers.MaxPooling2D(2, name=f"pool_{level}")(x)
        for i in (1, 2):
            x = _conv_norm_relu(x, count, f"down_{level}_{i}")
        skips.append(x)
    encoded = skips.pop()
    for level, count in reversed(list(enumerate(filters[:-1], start=1))):
        x = _upsample(x, 2, f"upsample_{level}")
        x = _conv_norm_relu(x, count, f"up_{level}")
        x = keras.layers.Concatenate(name=f"skip_{level}")([skips.pop(), x])
        for i in (1, 2):
            x = _conv_norm_relu(x, count, f"up_{level}_{i}")
    x = keras.layers.Conv2D(1, 1, name="mask_logits")(x)
    return _two_outputs(image, x, encoded, class_dropout, "unet")


def deeplab_v3_plus(
    input_shape: Shape = (256, 256, 1), width: float = 1.0, class_dropout: float = 0.3
) -> keras.Model:
    """Builds keras-cv's DeepLabV3+ on a ResNet-18 (V2) from Keras's own layers.

    Args:
        input_shape: `(height, width, 1)`, multiples of 32.
        width: scales the channels, rounded to multiples of 8, except the first stage's
            64 and the 48 of the decoder's skip.
        class_dropout: rate of the dropout before the class head.

    Raises:
        MissingPackage: keras-cv is not installed.

    Reference: Chen et al., "Encoder-Decoder with Atrous Separable Convolution for
    Semantic Image Segmentation", ECCV 2018. Chosen: one logit instead of a softmax;
    upsampling after the last convolution instead of before, with equal results; the
    class head on the pyramid at the encoder's end.
    """
    try:
        import keras_cv
    except ImportError as error:
        raise MissingPackage(
            f"deeplab_v3_plus needs keras-cv ({error}); install it: "
            'pip install "keras-efsnet[baselines]".'
        ) from error
    channels = scale_filters(256, width)
    backbone = keras_cv.models.ResNetV2Backbone(
        stackwise_filters=[64, *(scale_filters(n, width) for n in (128, 256, 512))],
        stackwise_blocks=[2, 2, 2, 2],
        stackwise_strides=[1, 2, 2, 2],
        block_type="basic_block",
        include_rescaling=True,
        input_shape=input_shape,
    )
    pyramid = keras_cv.layers.SpatialPyramidPooling([6, 12, 18], channels)
    decoder = keras.Sequential(
        [
            keras.layers.Conv2D(channels, 1, use_bias=False, name="decoder_conv"),
            keras.layers.BatchNormalization(name="decoder_norm"),
            keras.layers.ReLU(name="decoder_relu"),
            keras.layers.Conv2D(1, 1, name="mask_logits"),
            keras.layers.UpSampling2D(4, interpolation="bilinear", name="upsample"),
        ]
    )
    network = keras_cv.models.DeepLabV3Plus(
        backbone, 1, spatial_pyramid_pooling=pyramid, segmentation_head=decoder
    )
    image = keras.Input(input_shape, name="image")
    flat = keras.models.clone_model(
        network,
        input_tensors=image,
        clone_function=lambda layer: layer,
        call_function=_call_plain,
    )
    encoded = flat.get_layer("encoder_output_upsampling").input
    return _two_outputs(image, flat.output, encoded, class_dropout, "deeplab_v3_plus")


BUILDERS: dict[str, Callable[[Shape, float, float], keras.Model]] = {
    "unet": unet,
    "deeplab_v3_plus": deeplab_v3_plus,
}


def _two_outputs(
    image: Any, logits: Any, encoded: Any, class_dropout: float, name: str
) -> keras.Model:
    mask = keras.layers.Activation("sigmoid", dtype="float32", name="mask")(logits)
    label = class_head(encoded, len(LABELS), class_dropout)
    return keras.Model(image, {"mask": mask, "class": label}, name=name)


def _conv_norm_relu(x: Any, filters: int, name: str) -> Any:
    x = keras.layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv")(x)
    x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _upsample(x: Any, size: int | tuple[int, int], name: str) -> Any:
    return keras.layers.UpSampling2D(size, interpolation="bilinear", name=name)(x)


def _call_plain(layer: Any, x: Any, prefix: str = "", **options: Any) -> Any:
    """Calls new layers of Keras's own that compute the same as `layer`."""
    if isinstance(layer, keras.Sequential):
        for inner in layer.layers:
            x = _copy(inner, prefix)(x)
        return x
    if isinstance(layer, keras.Model):
        return keras.models.clone_model(layer, [x], clone_function=_copy).output
    if hasattr(layer, "aspp_parallel_channels"):
        *branches, pooled = (
            _call_plain(branch, x, f"pyramid_{i}_")
            for i, branch in enumerate(layer.aspp_parallel_channels)
        )
        pooled = _upsample(pooled, x.shape[1:3], "pyramid_pooled")
        x = keras.layers.Concatenate(name="pyramid")([*branches, pooled])
        return _call_plain(layer.projection, x, "pyramid_projection_")
    return _copy(layer)(x)


def _copy(layer: keras.layers.Layer, prefix: str = "") -> keras.layers.Layer:
    """Copies a layer and drops the number that Keras adds to its name."""
    # With other names after a resume, TensorFlow's results differ in the last digits.
    name = prefix + re.sub(r"_\d+$", "", layer.name)
    return type(layer).from_config({**layer.get_config(), "name": name})
