"""Trains a network, with checkpoints and exact resume."""

import csv
import importlib.util
import json
import logging
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from keras_efsnet import __version__
from keras_efsnet.files import write_text, write_whole
from keras_efsnet.images.reading import sixteen_bit_as
from keras_efsnet.labels import TASKS
from keras_efsnet.training import pipeline, seen
from keras_efsnet.training.callbacks import Checkpoints
from keras_efsnet.training.datasets.leaks import warn_of_leaks
from keras_efsnet.training.datasets.sample import check_known
from keras_efsnet.training.datasets.splits import Split
from keras_efsnet.training.networks import (
    TrainingModel,
    build_model,
    compile_model,
    describe_network,
    labels_of,
    tasks_of,
)
from keras_efsnet.training.run_images import find_tasks, load_split, load_training
from keras_efsnet.training.settings import TrainSettings
from keras_efsnet.training.state import TrainingState
from keras_efsnet.training.taught import load_teacher

if TYPE_CHECKING:
    from keras_efsnet.training.teacher import Teacher

STATE_NAME = "state.npz"


def train(
    settings: TrainSettings,
    out: Path,
    *,
    resume: bool = False,
    check_leaks: bool = True,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Path:
    """Trains EFSNet or another network and writes the run's folder.

    `out` holds settings.json (with versions and the split's hash), images.json (hashes
    of the images, see `seen`), log.csv, TensorBoard events (if TensorFlow is
    installed), best.keras (averaged weights of the best epoch by validation Dice),
    last.keras (those of the last epoch, at the end of the run) and state.npz (the last
    epoch's state).

    Args:
        settings: of the run.
        out: the run's folder.
        resume: continue after the last complete epoch of the run in `out`, or from the
            start if no epoch is complete. The result is the same as without the
            interruption (same backend and versions).
        check_leaks: warn if a scan or patient lies on two sides of the split. A resumed
            run does not look; without groups in the split file it takes minutes.
        callbacks: additional Keras callbacks.

    Returns:
        The path of best.keras.

    Raises:
        ValueError: a setting, the split or the dataset is wrong; `out` holds a run but
            `resume` is False; `resume` is True but `out` holds no run, or one with
            other settings, another split or other images, masks or classes; there is
            no such teacher (`MissingPackage` without its packages), or it was trained
            on another split or does not fit `image_size`; the loss is not a finite
            number.
        OSError: a file cannot be read or written.
    """
    _check_run_folder(settings, out, resume)
    out.mkdir(parents=True, exist_ok=True)
    split = load_split(settings, out)
    with _dtype_policy(settings.dtype_policy), sixteen_bit_as(settings.sixteen_bit):
        keras.utils.set_random_seed(settings.seed)
        network = build_model(settings, find_tasks(split.train, settings))
        _check_classes(network, split)
        teacher = load_teacher(settings, split, network) if settings.teacher else None
        if resume:
            _check_split(split, out / "settings.json")
        elif check_leaks and not settings.on_phantoms:
            warn_of_leaks(split, settings.split)
        if not (out / STATE_NAME).exists():
            _note_run(settings, split, network, out)
        _fit(network, teacher, settings, split, out, callbacks)
    return out / "best.keras"


def _fit(
    network: keras.Model,
    teacher: "Teacher | None",
    settings: TrainSettings,
    split: Split,
    out: Path,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    meaning = labels_of(network), tasks_of(network)
    training = load_training(split.train, settings, out, *meaning)
    validation = pipeline.load_cache(split.validation, settings.image_size, *meaning)
    steps = pipeline.steps_per_epoch(training, settings.batch_size)
    model = _training_model(network, settings, training, teacher)
    compile_model(model, settings, steps)

    data = training.digest() + validation.digest()
    state = TrainingState(model, out / STATE_NAME, data)
    epochs_done, best = state.restore() if state.path.exists() else (0, -1.0)
    model.fit(
        pipeline.training_batches(
            training,
            batch_size=settings.batch_size,
            seed=settings.seed,
            steps_per_epoch=steps,
            first_epoch=epochs_done,
            epochs=settings.epochs,
            policy=settings.augmentation,
            class_weight_at=settings.class_loss_weight_at,
            shares=settings.shares,
            teacher=teacher,
        ),
        validation_data=pipeline.evaluation_batches(validation, settings.batch_size),
        epochs=settings.epochs,
        initial_epoch=epochs_done,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
        callbacks=[
            *_loggers(out, epochs_done),
            Checkpoints(state, network, out / "best.keras", best),
            *callbacks,
        ],
    )


def _check_classes(network: keras.Model, split: Split) -> None:
    """Refuses a class that the network does not have; warns of an untrained output."""
    if labels := labels_of(network):
        check_known([*split.train, *split.validation, *split.test], labels)
    for task in set(TASKS) - set(tasks_of(network)):
        logging.getLogger(__name__).warning(
            "the training images have no truth for the %s, so the model will not "
            "predict it",
            task,
        )


def _training_model(
    network: keras.Model,
    settings: TrainSettings,
    training: pipeline.ImageCache,
    teacher: "Teacher | None",
) -> keras.Model:
    coarse = settings.deep_supervision > 0
    tumour = bool(pipeline.tumours_only(training).any())
    if not (coarse or tumour or teacher):
        return network
    return TrainingModel(network, coarse, tumour, teacher.size if teacher else None)


@contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    """Makes a policy the global one for a while."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def describe_run(
    settings: TrainSettings, split: Split, network: keras.Model
) -> dict[str, Any]:
    """Gives the content of settings.json.

    Returns:
        The settings, those that the network has, its labels and tasks, the split's
        hash, numbers of images, and versions.
    """
    backend = keras.backend.backend()
    packages = ["keras", backend, "numpy", "pillow"]
    return {
        "settings": settings.to_json(),
        "network": describe_network(network, settings),
        "labels": list(labels_of(network)),
        "tasks": list(tasks_of(network)),
        "split_digest": split.digest,
        "protocol": split.protocol,
        "images": {
            "train": len(split.train),
            "validation": len(split.validation),
            "test": len(split.test),
        },
        "versions": {
            "keras_efsnet": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in packages},
        },
        "backend": backend,
    }


def _check_run_folder(settings: TrainSettings, out: Path, resume: bool) -> None:
    state, saved = out / STATE_NAME, out / "settings.json"
    if not resume:
        if state.exists():
            raise ValueError(
                f"{out}: holds a run already; go on with --resume or choose another "
                "folder."
            )
        return
    if not saved.exists():
        raise ValueError(f"{out}: no run to resume here; omit --resume.")
    stored = json.loads(saved.read_text(encoding="utf-8"))["settings"]
    if TrainSettings.from_json(stored) != settings:
        raise ValueError(
            f"{saved}: the run has other settings; resume it with --settings {saved}."
        )


def _note_run(
    settings: TrainSettings, split: Split, network: keras.Model, out: Path
) -> None:
    if not settings.on_phantoms:
        _note_images(settings, split, out)
    _write_json(out / "settings.json", describe_run(settings, split, network))


def _check_split(split: Split, saved: Path) -> None:
    stored = json.loads(saved.read_text(encoding="utf-8")).get("split_digest")
    if stored != split.digest:
        raise ValueError(
            f"{saved}: the run has another split, so the dataset or the split file has "
            "changed since; restore them, or train into another folder."
        )


def _note_images(settings: TrainSettings, split: Split, out: Path) -> None:
    """Writes images.json; warns if the start was trained on images held out here."""
    start = seen.read_seen(settings.init) if settings.init else None
    held_out = dict.fromkeys([*split.validation, *split.test])
    known = {"train": (start or {}).get("train", ())}
    count = seen.count_seen(known, list(held_out), "none") if start else 0
    if count:
        logging.getLogger(__name__).warning(
            "%s was trained on %d of the validation and test images, so their figures "
            "will be too good",
            settings.init,
            count,
        )
    _write_json(out / seen.FILE, seen.describe_seen(split, start))


def _loggers(out: Path, epochs_done: int) -> list[keras.callbacks.Callback]:
    log = out / "log.csv"
    if epochs_done:
        _cut_log(log, epochs_done)
    loggers = [keras.callbacks.CSVLogger(str(log), append=epochs_done > 0)]
    if importlib.util.find_spec("tensorflow") and importlib.util.find_spec(
        "tensorboard"
    ):
        loggers.append(keras.callbacks.TensorBoard(str(out / "tensorboard")))
    return loggers


def _cut_log(log: Path, epochs_done: int) -> None:
    """Removes the lines of epochs after the saved state."""
    with log.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    kept = [rows[0], *(row for row in rows[1:] if int(row[0]) < epochs_done)]

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(kept)

    write_whole(log, write, durable=True)


def _write_json(path: Path, values: Any) -> None:
    write_text(path, json.dumps(values, indent=2) + "\n", durable=True)
