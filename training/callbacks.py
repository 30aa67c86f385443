"""Callbacks of a training run."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_efsnet.labels import CLASS, MASK
from keras_efsnet.models.saving import save_model
from keras_efsnet.training.distribute import average_replicas
from keras_efsnet.training.networks import tasks_of
from keras_efsnet.training.state import TrainingState

MONITORS = {
    MASK: "val_mask_dice",
    CLASS: "val_class_sparse_categorical_accuracy",
}
"""What the best epoch is chosen by: the mask's, or the class's if it is alone."""


class Checkpoints(keras.callbacks.Callback):
    """Validates the averaged weights and saves the best model and the run's state.

    Every epoch ends with the best model by validation Dice, or by the accuracy of the
    class if no mask is trained (averaged weights), then the state (raw weights). A run
    killed between the two repeats the epoch and writes the same best model. The run
    ends with the averaged weights of the last epoch, as last.keras. A loss or weight
    that is not finite stops the run before it is saved.
    """

    def __init__(
        self, state: TrainingState, network: keras.Model, best_file: Path, best: float
    ) -> None:
        super().__init__()
        self.state = state
        self.network = network
        self.best_file = best_file
        self.best = best
        self._raw: list[Any] = []

    def on_train_begin(self, logs=None):
        # Again, because `fit` may build layers, which advances the seeds.
        if self.state.path.exists():
            self.state.restore()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self._batch = batch
        if not math.isfinite(logs["loss"]):
            raise self._diverged("the loss")

    def on_test_begin(self, logs=None):
        average_replicas(self.model.non_trainable_variables)
        self._raw = self._average()

    def on_test_end(self, logs=None):
        self._put_back(self._raw)

    def on_epoch_end(self, epoch, logs=None):
        # The last step's update has not affected a loss yet.
        weights = self.model.trainable_variables
        if not all(np.isfinite(np.asarray(weight)).all() for weight in weights):
            raise self._diverged("a weight")
        value = logs[MONITORS[tasks_of(self.network)[0]]]
        if value > self.best:
            self.best = float(value)
            self._save_average(self.best_file)
        self.state.save(epoch + 1, self.best)

    def on_train_end(self, logs=None):
        self._save_average(self.best_file.with_name("last.keras"))

    def _diverged(self, what: str) -> ValueError:
        kept = (
            f"{self.best_file.name} and {self.state.path.name} are of the epoch before"
        )
        return ValueError(
            f"{self.best_file.parent}: {what} is no finite number after epoch "
            f"{self._epoch + 1}, batch {self._batch + 1}; "
            f"{kept if self._epoch else 'nothing is saved yet'}; train again with a "
            "lower learning_rate."
        )

    def _save_average(self, file: Path) -> None:
        raw = self._average()
        save_model(self.network, file)
        self._put_back(raw)

    def _average(self) -> list[Any]:
        """Sets the averaged weights; gives the raw ones."""
        variables = self.model.trainable_variables
        raw = [keras.ops.copy(variable.value) for variable in variables]
        self.model.optimizer.finalize_variable_values(variables)
        for variable in variables:
            # A copy, because JAX donates the optimizer's own array in the next step.
            variable.assign(keras.ops.copy(variable.value))
        return raw

    def _put_back(self, raw: list[Any]) -> None:
        for variable, value in zip(self.model.trainable_variables, raw, strict=True):
            variable.assign(value)


class EpochReport(keras.callbacks.Callback):
    """Calls `report` after every epoch.

    Args:
        report: takes the number of finished epochs and the values to show, with the
            `seconds_left`.
    """

    SHOWN = {
        MASK: ("mask_loss", "val_mask_loss", MONITORS[MASK]),
        CLASS: (MONITORS[CLASS],),
    }

    def __init__(self, report: Callable[[int, dict[str, float]], None]) -> None:
        super().__init__()
        self.report = report

    def on_train_begin(self, logs=None):
        self._started = time.monotonic()
        self._first: int | None = None

    def on_epoch_begin(self, epoch, logs=None):
        if self._first is None:
            self._first = epoch

    def on_epoch_end(self, epoch, logs=None):
        done = epoch + 1 - self._first
        spent = time.monotonic() - self._started
        left = spent / done * (self.params["epochs"] - epoch - 1)
        names = [name for task in tasks_of(self.model) for name in self.SHOWN[task]]
        shown = {name: logs[name] for name in names}
        self.report(epoch + 1, {**shown, "seconds_left": left})
