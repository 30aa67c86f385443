"""Makes the batches of `model.fit`: decodes once, shuffles, augments and prefetches.

Each batch depends only on seed, epoch and batch number, on every backend. So training
can resume exactly at any epoch. TensorFlow gets a `tf.data.Dataset`, other backends a
`keras.utils.PyDataset`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from hashlib import sha256
from typing import Any

import keras
import numpy as np

from keras_efsnet.images.grey import resize_image, resize_mask
from keras_efsnet.images.reading import read_image
from keras_efsnet.labels import LABELS, MASK, NORMAL, TASKS
from keras_efsnet.training.augment import augment_batch
from keras_efsnet.training.augmentation import Augmentation
from keras_efsnet.training.datasets.sample import Sample, check_known, load_mask
from keras_efsnet.training.distribute import device_count

Batch = tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]
"""`(x, y, sample_weight)` for `model.fit`.

x: float32 `(n, height, width, 1)` in [0, 255]. y: `mask`, float32 of x's shape, 1 =
lesion, and `class`, int32 `(n,)`. sample_weight: `mask` and `class`, float32 `(n,)`;
and `tumour` if a source has tumours alone (see `tumours_only`). With a teacher, y and
sample_weight also have its `taught_mask` and `taught_class`.
"""

TAUGHT_MASK, TAUGHT_CLASS = "taught_mask", "taught_class"

_WORKERS = 2
_AHEAD = 4
"""Batches made in advance, enough for steps of uneven duration."""

# First words of the seeds, so that shuffling and augmentation differ.
_ORDER, _CHANGE = 0, 1


@dataclass(frozen=True)
class ImageCache:
    """A decoded and resized dataset, in the order of its samples.

    Attributes:
        images: uint8 `(n, height, width)`.
        masks: uint8 `(n, height, width)`, 1 = lesion.
        labels: int64 `(n,)`, positions in `classes`; 0 if the class is unknown.
        mask_weight: float32 `(n,)`, 0 if the mask is unknown, else 1.
        class_weight: float32 `(n,)`, 0 if the class is unknown, else 1.
        groups: str `(n,)`, the source and what the image shows: `busbra/tumour`,
            `busi/normal`, `busbra/removed` (see `add_normals`).
        classes: the network's labels; empty if no class is trained.

    Raises:
        ValueError: a mask has values above 1, such as 255.
    """

    images: np.ndarray
    masks: np.ndarray
    labels: np.ndarray
    mask_weight: np.ndarray
    class_weight: np.ndarray
    groups: np.ndarray
    classes: tuple[str, ...] = LABELS

    def __post_init__(self) -> None:
        if self.masks.size and self.masks.max() > 1:
            raise ValueError(
                "masks must be 0 and 1, got values up to "
                f"{self.masks.max()}; divide masks of 0 and 255 by 255."
            )

    def __len__(self) -> int:
        return len(self.images)

    def digest(self) -> str:
        """Gives a hash (SHA-256, hex) of all that it holds."""
        content = sha256(repr(self.classes).encode())
        arrays = [getattr(self, field.name) for field in fields(self)[:-1]]
        for array in arrays:
            content.update(f"{array.dtype} {array.shape}".encode())
            content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()


def load_cache(
    samples: Sequence[Sample],
    image_size: int,
    classes: tuple[str, ...] = LABELS,
    tasks: Sequence[str] = TASKS,
) -> ImageCache:
    """Decodes each file once and resizes it to the network's size.

    Without a mask file, a normal image has an empty mask and any other image an unknown
    mask. A sample whose label is None has an unknown class.

    Args:
        samples: at least one.
        image_size: height and width in pixels.
        classes: the network's labels; empty if no class is trained.
        tasks: the outputs that are trained; every truth of another is unknown.

    Raises:
        OSError, ValueError: a file cannot be read, there is no sample, or a sample's
            label is not one of `classes`.
    """
    if not samples:
        raise ValueError("samples is empty; give a subset with at least one image.")
    if classes:
        check_known(samples, classes)
    load = partial(_load, size=(image_size, image_size))
    with ThreadPoolExecutor() as pool:
        images, masks = zip(*pool.map(load, samples), strict=True)
    return ImageCache(
        images=np.stack(images),
        masks=np.stack(masks),
        labels=np.array([_label(sample, classes) for sample in samples], np.int64),
        mask_weight=np.array(
            [MASK in tasks and _has_mask(sample) for sample in samples], np.float32
        ),
        class_weight=np.array([s.label in classes for s in samples], np.float32),
        groups=np.array([_group(sample) for sample in samples]),
        classes=classes,
    )


def add_normals(
    cache: ImageCache, images: np.ndarray, originals: np.ndarray
) -> ImageCache:
    """Adds normal images made by `lesion_removal.remove_lesions`.

    Args:
        cache: the real images.
        images: uint8 `(m, height, width)`.
        originals: int `(m,)`, positions in `cache`.
    """
    count = len(images)
    known = np.ones(count, np.float32)
    has_normal = NORMAL in cache.classes
    sources = [group.rpartition("/")[0] for group in cache.groups[originals]]
    more = ImageCache(
        images=images,
        masks=np.zeros_like(images),
        labels=np.full(
            count, cache.classes.index(NORMAL) if has_normal else 0, np.int64
        ),
        mask_weight=known,
        class_weight=known * has_normal,
        groups=np.array([f"{source}/removed" for source in sources], str),
    )
    parts = {
        field.name: np.concatenate([getattr(c, field.name) for c in (cache, more)])
        for field in fields(ImageCache)
        if field.name != "classes"
    }
    return ImageCache(**parts, classes=cache.classes)


def tumours_only(cache: ImageCache) -> np.ndarray:
    """Finds the images of sources that show tumours alone.

    Such a source must not teach that its hospital's look rules out "normal". So its
    images have no weight in the loss of `class`, but one in the loss of `tumour`:
    malignant against benign (see `networks.TrainingModel`).

    Returns:
        bool `(n,)`. False everywhere if all images are of one source, or the classes
        are not `LABELS`.
    """
    if cache.classes != LABELS:
        return np.zeros(len(cache), bool)
    sources = np.array([group.rpartition("/")[0] for group in cache.groups])
    normal = (cache.labels == LABELS.index(NORMAL)) & (cache.class_weight > 0)
    with_normals = sources[normal]
    alone: np.ndarray = ~np.isin(sources, with_normals)
    return alone & (len(np.unique(sources)) > 1)


def steps_per_epoch(cache: ImageCache, batch_size: int) -> int:
    """Counts the full batches of an epoch; each epoch leaves out the remaining images.

    Raises:
        ValueError: the images do not fill one batch.
    """
    if not 1 <= batch_size <= len(cache):
        raise ValueError(
            f"batch_size must lie between 1 and the number of training images, "
            f"{len(cache)}, got {batch_size}."
        )
    return len(cache) // batch_size


def training_batches(
    cache: ImageCache,
    *,
    batch_size: int,
    seed: int,
    steps_per_epoch: int,
    first_epoch: int,
    epochs: int,
    policy: Augmentation | None = None,
    class_weight_at: Callable[[int], float] = lambda epoch: 1.0,
    shares: Mapping[str, float] | None = None,
    teacher: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None,
) -> Any:
    """Makes the shuffled, augmented batches of epochs `first_epoch` to `epochs - 1`.

    For `model.fit(data, epochs=epochs, initial_epoch=first_epoch,
    steps_per_epoch=steps_per_epoch, shuffle=False)`. Images do not repeat in an epoch
    unless `shares` are given.

    Args:
        cache: the training images.
        batch_size: images per batch; every batch is full.
        seed: a non-negative integer.
        steps_per_epoch: at most `steps_per_epoch(cache, batch_size)`.
        first_epoch: 0 unless training resumes.
        epochs: the epoch to stop before.
        policy: the augmentation; None means the defaults.
        class_weight_at: takes an epoch and gives a factor of the class's weights.
        shares: how often an image of each of `cache.groups` is drawn, relative to the
            others; None takes each image once.
        teacher: answers the augmented images, see `teacher.Teacher`; or None.

    Returns:
        `tf.data.Dataset` on the TensorFlow backend, else `keras.utils.PyDataset`, of
        `Batch`.

    Raises:
        ValueError: an epoch needs more images than there are, or `shares` and the
            groups differ.
    """
    chances = _chances(cache, shares) if shares else None
    tumours = tumours_only(cache)
    if steps_per_epoch * batch_size > len(cache):
        raise ValueError(
            f"steps_per_epoch, {steps_per_epoch}, must be at most "
            f"{len(cache) // batch_size}: {len(cache)} images in batches of "
            f"{batch_size}."
        )

    def make(step: int) -> Batch:
        epoch, number = divmod(step, steps_per_epoch)
        rng = np.random.default_rng([_ORDER, seed, epoch])
        count = len(cache)
        order = (
            rng.permutation(count)
            if chances is None
            else rng.choice(count, steps_per_epoch * batch_size, p=chances)
        )
        chosen = order[number * batch_size :][:batch_size]
        images, masks = augment_batch(
            cache.images[chosen],
            cache.masks[chosen],
            (_CHANGE, seed, epoch, number),
            policy,
        )
        x, y, weight = _batch(cache, chosen, images, masks)
        known = weight.pop("class")
        # The class's loss is a mean over the batch: over the known classes alone.
        factor = class_weight_at(epoch) * batch_size / max(known.sum(), 1)
        known = np.float32(factor) * known
        if tumours.any():
            weight["tumour"] = known * tumours[chosen]
        weight["class"] = known * ~tumours[chosen]
        if teacher:
            y[TAUGHT_MASK], y[TAUGHT_CLASS] = teacher(images)
            weight[TAUGHT_MASK] = np.ones(batch_size, np.float32)
            weight[TAUGHT_CLASS] = np.full(
                batch_size, class_weight_at(epoch), np.float32
            )
        return x, y, weight

    steps = range(first_epoch * steps_per_epoch, epochs * steps_per_epoch)
    if keras.backend.backend() == "tensorflow":
        return _tf_dataset(make, steps)
    return _OrderedBatches(make, steps)


def evaluation_batches(cache: ImageCache, batch_size: int) -> Any:
    """Makes batches of all images, unchanged and in order, as in `training_batches`.

    The last batch may be smaller. If several devices share a batch, images of weight 0
    fill it to a multiple of their number.
    """

    def make(step: int) -> Batch:
        chosen = np.arange(len(cache))[step * batch_size :][:batch_size]
        count = len(chosen)
        chosen = np.pad(chosen, (0, -count % devices), mode="edge")
        x, y, weight = _batch(cache, chosen, cache.images[chosen], cache.masks[chosen])
        real = np.arange(len(chosen)) < count
        return x, y, {name: values * real for name, values in weight.items()}

    devices = device_count()

    steps = range(math.ceil(len(cache) / batch_size))
    if keras.backend.backend() == "tensorflow":
        return _tf_dataset(make, steps)
    return _Batches(make, steps)


def _load(sample: Sample, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    grey = read_image(sample.image)
    mask = load_mask(sample, grey.shape)
    return resize_image(grey, size), resize_mask(mask, size).astype(np.uint8)


def _chances(cache: ImageCache, shares: Mapping[str, float]) -> np.ndarray:
    """Gives each image's probability of being drawn."""
    groups, sizes = np.unique(cache.groups, return_counts=True)
    if set(groups) != set(shares) or min(shares.values()) < 0:
        raise ValueError(
            f"shares must hold a number of at least 0 for each of {', '.join(groups)}, "
            f"got {', '.join(f'{k}: {v}' for k, v in shares.items())}."
        )
    each = {group: shares[group] / n for group, n in zip(groups, sizes, strict=True)}
    chances = np.array([each[group] for group in cache.groups])
    return chances / chances.sum()


def _group(sample: Sample) -> str:
    what = "normal" if sample.label == NORMAL else "tumour"
    return f"{sample.source or 'unknown'}/{what}"


def _label(sample: Sample, classes: Sequence[str]) -> int:
    return classes.index(sample.label) if sample.label in classes else 0


def _has_mask(sample: Sample) -> bool:
    return bool(sample.masks) or sample.label == NORMAL


def _batch(
    cache: ImageCache, chosen: np.ndarray, images: np.ndarray, masks: np.ndarray
) -> Batch:
    target = {
        "mask": masks[..., None].astype(np.float32),
        "class": cache.labels[chosen].astype(np.int32),
    }
    weight = {"mask": cache.mask_weight[chosen], "class": cache.class_weight[chosen]}
    return images[..., None].astype(np.float32), target, weight


def _tf_dataset(make: Callable[[int], Batch], steps: range) -> Any:
    import tensorflow as tf

    first = make(steps.start)  # for the names and types
    flat_first = tf.nest.flatten(first)
    types = [tf.as_dtype(array.dtype) for array in flat_first]

    def flat(step: np.ndarray) -> list[np.ndarray]:
        return list(tf.nest.flatten(make(int(step))))

    def load(step: Any) -> Any:
        tensors = tf.numpy_function(flat, [step], types)
        for tensor, array in zip(tensors, flat_first, strict=True):
            # The last batch of an evaluation is smaller.
            tensor.set_shape((None, *array.shape[1:]))
        return tf.nest.pack_sequence_as(first, tensors)

    data = tf.data.Dataset.range(steps.start, steps.stop)
    data = data.map(load, num_parallel_calls=_WORKERS, deterministic=True)
    return data.prefetch(_AHEAD)


class _Batches(keras.utils.PyDataset):
    """Batches by position; threads make the next few in advance."""

    # Keras's own workers are not used. They mix up batches after `fit` has looked at
    # the first one.
    def __init__(self, make: Callable[[int], Batch], steps: range) -> None:
        super().__init__(workers=1)
        self._make = make
        self._steps = steps
        self._pool = ThreadPoolExecutor(_WORKERS)
        self._pending: dict[int, Future[Batch]] = {}

    @property
    def num_batches(self) -> int | None:
        return len(self._steps)

    def __iter__(self) -> Iterator[Batch]:
        return (self[index] for index in range(len(self._steps)))

    def __getitem__(self, index: int) -> Batch:
        # Not limited to `steps`: `fit` reads batch 0 even if no epoch is left.
        first = self._steps.start + index
        self._pending = {
            step: self._pending.get(step) or self._pool.submit(self._make, step)
            for step in range(first, first + _AHEAD)
        }
        return self._pending[first].result()


class _OrderedBatches(_Batches):
    """Batches that `fit` reads in order, because their number is unknown."""

    @property
    def num_batches(self) -> None:
        return None  # With a number, `fit` would shuffle the batches of all epochs.
