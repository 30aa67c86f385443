"""The teacher of a training run; PyTorch is imported on use."""

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import keras

from keras_efsnet.extras import MissingPackage
from keras_efsnet.labels import LABELS, TASKS
from keras_efsnet.training.datasets.splits import Split
from keras_efsnet.training.networks import labels_of, tasks_of
from keras_efsnet.training.settings import TrainSettings

if TYPE_CHECKING:
    from keras_efsnet.training.teacher import Teacher


def import_teacher() -> ModuleType:
    """Imports `training.teacher`, which needs PyTorch.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        from keras_efsnet.training import teacher
    except ImportError as error:
        raise MissingPackage(
            f"a teacher needs PyTorch ({error}); install it: "
            'pip install "keras-efsnet[teacher]".'
        ) from error
    return teacher


def load_teacher(
    settings: TrainSettings, split: Split, network: keras.Model
) -> "Teacher":
    """Loads the teacher of a run.

    Raises:
        MissingPackage: PyTorch or the encoder's packages are not installed.
        OSError: the file cannot be read.
        ValueError: it is no teacher, was trained on another split, or does not fit the
            network or the size.
    """
    file = str(settings.teacher)
    if labels_of(network) != LABELS or tasks_of(network) != TASKS:
        raise ValueError(
            f"{file}: a teacher answers with a mask and {', '.join(LABELS)}; leave it "
            "out for other labels, and for masks or classes alone."
        )
    teacher: Teacher = import_teacher().Teacher(Path(file))
    if teacher.split_digest != split.digest:
        raise ValueError(
            f"{file}: the teacher was trained on another split, so it may know images "
            "that are held out here; train it on this split."
        )
    if settings.image_size % teacher.size:
        raise ValueError(
            f"image_size must be a multiple of the teacher's, {teacher.size}, got "
            f"{settings.image_size}; use {teacher.size} or {2 * teacher.size}."
        )
    return teacher
