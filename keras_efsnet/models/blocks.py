"""What EFSNet's blocks have in common."""

from typing import Any

import keras

from keras_efsnet.models.backend_ops import CHANNELS_LAST
from keras_efsnet.models.parts import Composite

REDUCTION = 4
"""Bottlenecks have 1/REDUCTION of their output channels inside (the paper's r)."""


def with_arguments(
    layer: keras.layers.Layer, config: dict[str, Any], *names: str
) -> dict[str, Any]:
    """Adds a layer's attributes `names` to its config."""
    return {**config, **{name: getattr(layer, name) for name in names}}


def require_divisible(what: str, value: int, groups: int) -> None:
    if value % groups:
        raise ValueError(
            f"{what} must be a multiple of groups, got {what}={value} and "
            f"groups={groups}; use {value + groups - value % groups} or another groups."
        )


def require_channels(filters: int, input_shape: tuple) -> None:
    """Raises ValueError unless a block that adds its input gets `filters` channels."""
    channels = input_shape[-1]
    if channels != filters:
        raise ValueError(
            "filters must be the number of input channels, as the block adds its "
            f"input, got filters={filters} and {channels} channels; use "
            f"filters={channels}, or set the channels with a ConvNorm first."
        )


def build_chain(layers: list[keras.layers.Layer], input_shape: tuple) -> None:
    shape = input_shape
    for layer in layers:
        layer.build(shape)
        shape = layer.compute_output_shape(shape)


def spatial_dropout(block: Composite, key: str, rate: float) -> keras.layers.Layer:
    kind = keras.layers.SpatialDropout2D
    return block.part(kind, key, rate, data_format=CHANNELS_LAST)
