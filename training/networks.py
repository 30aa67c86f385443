"""A second mask loss inside the network, while it trains."""

from typing import Any

import keras
from keras import ops

from keras_efsnet.model import MULTIPLE, EFSNet

COARSE = "coarse"


class DeeplySupervised(keras.Model):
    """EFSNet with a mask of 1/8 size read off its encoder, for training alone.

    The encoder learns where lesions are from a loss of its own, not only through the
    decoder. Its targets are the shares of lesion in each 8 x 8 pixels of the mask. The
    network's weights are EFSNet's own; the head that reads the coarse mask is thrown
    away with this model.

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
