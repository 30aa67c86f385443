"""The images of a run: its split, and the cache of its training images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_efsnet.files import write_whole
from keras_efsnet.labels import CLASS, LABELS, MASK, TASKS
from keras_efsnet.phantoms import write_phantoms
from keras_efsnet.training import pipeline
from keras_efsnet.training.datasets.reading import read_dataset, read_datasets
from keras_efsnet.training.datasets.sample import Sample
from keras_efsnet.training.datasets.splits import Split, hold_out_fifth, read_split
from keras_efsnet.training.lesion_removal import remove_lesions
from keras_efsnet.training.settings import TrainSettings


def load_split(settings: TrainSettings, out: Path) -> Split:
    """Gives the run's samples, from its dataset or from phantoms generated in `out`."""
    if settings.on_phantoms:
        return hold_out_fifth(read_dataset(_make_phantoms(settings, out)))
    samples = read_datasets(settings.data)
    return read_split(samples, [Path(f) for f in settings.split], settings.fold)


def find_tasks(samples: Sequence[Sample], settings: TrainSettings) -> tuple[str, ...]:
    """Finds the outputs that the training images have a truth for.

    The mask needs an image with a mask; the class needs images of two classes, as a
    network that saw one would answer nothing else.

    Raises:
        ValueError: there is none, or `settings` name classes that no image has.
    """
    if settings.phantoms:
        return TASKS
    known = {
        MASK: any(sample.masks for sample in samples),
        CLASS: len({sample.label for sample in samples} - {None}) > 1,
    }
    if settings.labels and not known[CLASS]:
        raise ValueError(
            f"labels are {', '.join(settings.labels)}, but the training images are of "
            "fewer than two known classes; add labels to the dataset, or leave labels "
            "out to train the mask alone."
        )
    tasks = tuple(task for task in TASKS if known[task])
    if not tasks:
        raise ValueError(
            "no training image has a mask, and fewer than two classes are known; add "
            "masks or labels to the dataset."
        )
    return tasks


def load_training(
    samples: Sequence[Sample],
    settings: TrainSettings,
    out: Path,
    classes: tuple[str, ...] = LABELS,
    tasks: Sequence[str] = TASKS,
) -> pipeline.ImageCache:
    """Gives the run's training images, with those that are made for it in `out`."""
    samples = _with_phantoms(samples, settings, out)
    cache = pipeline.load_cache(samples, settings.image_size, classes, tasks)
    if not settings.removed_lesions:
        return cache
    # Kept, because it takes minutes and a resumed run needs the same images.
    file = out / "removed_lesions.npz"
    if not file.exists():
        images, originals = remove_lesions(
            cache.images,
            cache.masks,
            samples,
            settings.removed_lesions,
            settings.seed,
        )
        write_whole(
            file,
            lambda part: np.savez_compressed(part, images=images, originals=originals),
        )
    with np.load(file) as stored:
        return pipeline.add_normals(cache, stored["images"], stored["originals"])


def _with_phantoms(
    samples: Sequence[Sample], settings: TrainSettings, out: Path
) -> list[Sample]:
    if settings.on_phantoms or not settings.phantoms:
        return list(samples)
    return [*samples, *read_dataset(_make_phantoms(settings, out))]


def _make_phantoms(settings: TrainSettings, out: Path) -> Path:
    return write_phantoms(out / "phantoms", settings.phantoms, settings.seed)
