"""Merges several layers into the weights of one convolution.

Computed with NumPy in float64, so that the result is rounded only once. Kernels are
`(height, width, inputs, outputs)`, as in `keras.layers.Conv2D`.
"""

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import keras
import numpy as np

from keras_efsnet.models.convolutions import (
    BatchNorm,
    ConvNorm,
    GroupedPointwiseConv2D,
    SeparableConv2D,
)
from keras_efsnet.models.decoder import MaskHead, phase_kernel


@dataclass(frozen=True)
class Weights:
    """A convolution's kernel and its bias `(outputs,)`."""

    kernel: np.ndarray
    bias: np.ndarray


def to_numpy(variable: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable).astype(np.float64)


def fold_norm(kernel: np.ndarray, norm: BatchNorm) -> Weights:
    """Folds a norm into the convolution before it, which has no bias."""
    variance = to_numpy(norm.moving_variance + norm.epsilon)
    scale = to_numpy(norm.gamma) / np.sqrt(variance)
    bias = to_numpy(norm.beta) - to_numpy(norm.moving_mean) * scale
    return Weights(kernel * scale, bias)


@singledispatch
def dense_kernel(conv: keras.layers.Layer) -> np.ndarray:
    """Gives the kernel of the dense convolution that equals a layer of EFSNet."""
    return to_numpy(conv.kernel)


@dense_kernel.register
def _(conv: GroupedPointwiseConv2D) -> np.ndarray:
    return np.tile(to_numpy(conv.kernel), (1, 1, conv.groups, 1)) * conv.blocks


@dense_kernel.register
def _(conv: SeparableConv2D) -> np.ndarray:
    return to_numpy(conv.depthwise_kernel) * to_numpy(conv.pointwise_kernel)


def fold_block(block: ConvNorm) -> Weights:
    """Folds a block's norm into its convolution, made dense."""
    return fold_norm(dense_kernel(block.conv), block.norm)


def take_unshuffled(kernel: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Permutes a kernel's inputs to replace the shuffle before it.

    Args:
        order: the shuffle's output channel i is its input channel `order[i]`.
    """
    return kernel[:, :, np.argsort(order)]


def transposed_as_pointwise(weights: Weights) -> Weights:
    """Rewrites a 2x2 transposed convolution of stride 2 for depth-to-space.

    Args:
        weights: of the transposed convolution, the kernel `(2, 2, inputs, outputs)`.

    Returns:
        Weights of a 1x1 convolution to four times the outputs, ordered (row, column,
        output), before depth-to-space by 2.
    """
    inputs = weights.kernel.shape[2]
    kernel = np.moveaxis(weights.kernel, 2, 0).reshape(1, 1, inputs, -1)
    return Weights(kernel, np.tile(weights.bias, 4))


def fold_pointwise(pointwise: Weights, weights: Weights) -> Weights:
    """Folds a 1x1 convolution into the next one, whose padding must be its bias."""
    kernel = pointwise.kernel[0, 0] @ weights.kernel
    return Weights(kernel, weights.bias + pointwise.bias @ weights.kernel.sum((0, 1)))


def stack_inputs(first: Weights, second: Weights) -> Weights:
    """Rewrites a sum of two convolutions as one of both inputs, concatenated."""
    kernel = np.concatenate([first.kernel, second.kernel], axis=2)
    return Weights(kernel, first.bias + second.bias)


def mask_head_as_strided(head: MaskHead) -> Weights:
    """Rewrites a mask head as a 3x3 convolution of stride 2 and depth-to-space by 4.

    3x3 inputs determine a 4x4 block of pixels, one per output. The 2x2 convolution of
    `decoder.phase_kernel` has fewer products, but its four outputs leave most lanes of
    a vector register empty.

    Returns:
        Weights of a `same` convolution to 16 times the head's filters, ordered (row,
        column, filter).
    """
    phases = to_numpy(phase_kernel(head.kernel))
    inputs = phases.shape[2]
    phases = phases.reshape(2, 2, inputs, 2, 2, head.filters)
    kernel = np.zeros((3, 3, inputs, 4, 4, head.filters))
    for y, x in np.ndindex(2, 2):
        rows, columns = slice(2 * y, 2 * y + 2), slice(2 * x, 2 * x + 2)
        kernel[y : y + 2, x : x + 2, :, rows, columns] = phases
    bias = np.tile(to_numpy(head.bias), 16)
    return Weights(kernel.reshape(3, 3, inputs, -1), bias)


def mask_head_by_rows(head: MaskHead) -> tuple[Weights, Weights]:
    """Rewrites a mask head as two 2x2 convolutions, for even and for odd rows.

    Returns:
        Weights of `same` convolutions to `2 * filters` channels, ordered (column,
        filter).
    """
    phases = np.split(to_numpy(phase_kernel(head.kernel)), 2, axis=-1)
    bias = np.tile(to_numpy(head.bias), 2)
    even, odd = (Weights(kernel, bias) for kernel in phases)
    return even, odd


def fold_columns(weights: Weights, columns: int, stride: int = 1) -> Weights:
    """Rewrites a `same` convolution for maps whose columns are folded into channels.

    Folding reshapes `(height, width, channels)` to `(height, width / n, n * channels)`
    without a copy. The convolution then computes n columns at once and fills vector
    registers that few channels leave empty.

    Args:
        weights: of the convolution on unfolded maps.
        columns: output columns to fold; the input has `stride * columns`.
        stride: of the convolution, in both axes; the folded one has `(stride, 1)`.

    Returns:
        Weights of the folded convolution, also `same`.
    """
    kernel = weights.kernel
    height, width, inputs, outputs = kernel.shape
    padding = max(width - stride, 0) // 2
    taken = stride * np.arange(columns)[:, None] + np.arange(width) - padding
    block, place = np.divmod(taken, stride * columns)
    block -= block.min()
    folded = np.zeros(
        (height, block.max() + 1, stride * columns, inputs, columns, outputs)
    )
    for at in np.ndindex(taken.shape):
        column, tap = at
        folded[:, block[at], place[at], :, column] = kernel[:, tap]
    shape = (height, -1, stride * columns * inputs, columns * outputs)
    return Weights(folded.reshape(shape), np.tile(weights.bias, columns))
