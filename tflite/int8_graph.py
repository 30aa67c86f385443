"""Rewrites a trained EFSNet for int8 on CPUs: a "dense" graph that keeps every grey.

A model rescales the image first. In int8 this would round 256 greys to fewer, and the
middle of each step would be a tie that runtimes round in different ways. So the image
is only moved to be around 0, which loses nothing, and the first convolutions rescale
it. The rewrite is exact up to rounding, except at the border of the image: the padding
around it is the grey value 128, where the model has 127.5.
"""

from functools import singledispatch
from typing import Any

import keras
import numpy as np

from keras_efsnet.models import layers
from keras_efsnet.models.efsnet import OFFSET, SCALE
from keras_efsnet.prediction.litert import MIDDLE_GREY
from keras_efsnet.tflite.deploy import conv, folded_strided, rewrite
from keras_efsnet.tflite.folding import Weights, fold_block, fold_pointwise
from keras_efsnet.tflite.graph_copy import copy_graph

RESCALE = Weights(
    np.full((1, 1, 1, 1), SCALE), np.full(1, SCALE * MIDDLE_GREY + OFFSET)
)
"""A 1x1 convolution from the grey value minus `MIDDLE_GREY` to the rescaled image."""


def int8_graph(model: keras.Model) -> keras.Model:
    """Builds the inference graph of a trained EFSNet for an int8 file.

    Returns:
        A functional model as from `deploy.deployment_graph`.

    Raises:
        ValueError: Keras does not run on TensorFlow.
    """
    return copy_graph(model, _rewrite)


@singledispatch
def _rewrite(layer: Any, *args: Any, **kwargs: Any) -> Any:
    return rewrite(layer, *args, style="dense", **kwargs)


@_rewrite.register
def _(layer: keras.layers.Rescaling, x: Any) -> Any:
    return keras.layers.Rescaling(1.0, offset=-MIDDLE_GREY, name=layer.name)(x)


@_rewrite.register
def _(layer: layers.InitialBlock, x: Any) -> Any:
    weights = fold_pointwise(RESCALE, fold_block(layer.conv))
    features = folded_strided(x, weights, layer.conv.act, f"{layer.name}_conv")
    pooled = rescaled_pool(x, layer.name)
    return keras.layers.Concatenate(name=layer.name)([features, pooled])


def rescaled_pool(x: Any, name: str) -> Any:
    pooled = keras.layers.MaxPooling2D(2, name=f"{name}_pool")(x)
    return conv(pooled, RESCALE, f"{name}_rescale")
