"""EFSNet's blocks as Keras layers."""

from keras_efsnet.models.decoder import MaskHead, ShuffleUnit, UpsamplingModule
from keras_efsnet.models.encoder import (
    CSDCBlock,
    DownsamplingBlock,
    FactorizedBlock,
    InitialBlock,
    SDCBlock,
)

__all__ = [
    "CSDCBlock",
    "DownsamplingBlock",
    "FactorizedBlock",
    "InitialBlock",
    "MaskHead",
    "SDCBlock",
    "ShuffleUnit",
    "UpsamplingModule",
]
