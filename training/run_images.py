"""The images of a run: its split, and the cache of its training images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_efsnet.files import write_whole
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


def load_training(
    samples: Sequence[Sample], settings: TrainSettings, out: Path
) -> pipeline.ImageCache:
    """Gives the run's training images, with those that are made for it in `out`."""
    samples = _with_phantoms(samples, settings, out)
    cache = pipeline.load_cache(samples, settings.image_size)
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
