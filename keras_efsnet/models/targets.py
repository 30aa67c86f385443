"""Check of the masks that `EFSNet.fit` is given."""

import sys
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import keras

GREY_MASKS = (
    "masks must be 0 and 1, or probabilities between, got values above 1; divide masks "
    "of 0 and 255 by 255."
)


def check_masks(x: Any, y: Any) -> Any:
    """Looks at the masks of training data, outside the compiled step.

    Args:
        x: the first argument of `fit`: arrays, a `tf.data.Dataset`, a `PyDataset`, a
            `DataLoader` of PyTorch or a generator.
        y: the second: a dict of arrays, or None.

    Returns:
        What to train on in place of `x`, with the same batches. A generator and a
        `tf.data.Dataset` cannot be read twice without a change of their order, so these
        look when a batch is made.

    Raises:
        ValueError: a mask has values above 1.
    """
    if y is not None:
        _check_batch((x, y))
    elif isinstance(x, keras.utils.PyDataset):
        _check_batch(x[0])
    elif isinstance(x, Generator):
        return _check_first(x)
    elif _is_a(x, "torch", "utils.data.DataLoader"):
        next(_check_first(x), None)
    elif _is_a(x, "tensorflow", "data.Dataset") and _has_masks(x.element_spec):
        return x.map(_check_tf_batch)
    return x


def _has_masks(batch: Any) -> bool:
    is_pair = isinstance(batch, list | tuple) and len(batch) > 1
    return is_pair and isinstance(batch[1], dict) and "mask" in batch[1]


def _check_batch(batch: Any) -> None:
    if not _has_masks(batch):
        return
    masks = keras.ops.convert_to_numpy(batch[1]["mask"])
    if masks.size and masks.max() > 1:
        raise ValueError(GREY_MASKS)


def _check_first(batches: Iterable) -> Iterator[Any]:
    for number, batch in enumerate(batches):
        if number == 0:
            _check_batch(batch)
        yield batch


def _check_tf_batch(*batch: Any) -> Any:
    import tensorflow as tf

    largest = tf.reduce_max(tf.cast(batch[1]["mask"], tf.float32))
    tf.debugging.assert_less_equal(largest, 1.0, GREY_MASKS)
    return batch


def _is_a(value: Any, package: str, name: str) -> bool:
    """Whether a value is of a class of a package that need not be installed."""
    kind: Any = sys.modules.get(package)
    for part in name.split(".") if kind else ():
        kind = getattr(kind, part, None)
    return kind is not None and isinstance(value, kind)
