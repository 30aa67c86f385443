"""Files of a run that are complete or not there at all."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_efsnet.files import write_whole
from keras_efsnet.model import EFSNet


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file whole, as `write_whole`, and on the disk before it takes its name.

    So that a power cut leaves the old file or the new one, too.
    """

    def write_through(part: Path) -> None:
        write(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())

    write_whole(path, write_through)


def save_model(model: keras.Model, path: Path) -> None:
    """Saves a model's weights as a float32 model, whatever policy trained them."""
    twin = _float32_twin(model)
    twin.set_weights(model.get_weights())
    write_atomically(path, twin.save)


def _float32_twin(model: keras.Model) -> keras.Model:
    if not isinstance(model, EFSNet):  # one of Keras's layers, each with its policy
        return keras.models.clone_model(
            model,
            clone_function=lambda layer: type(layer).from_config(
                {**layer.get_config(), "dtype": "float32"}
            ),
        )
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        return EFSNet(**model.get_config())
    finally:
        keras.config.set_dtype_policy(policy)


class TrainingState:
    """Everything that the next epoch depends on, in one file.

    Weights, averaged weights and optimizer, the dropouts' seeds, the epochs done and
    the best value so far.
    """

    def __init__(self, model: keras.Model, path: Path) -> None:
        self.model = model
        self.path = path

    def save(self, epochs_done: int, best: float) -> None:
        """Writes the state; the previous one stays until this one is complete."""
        arrays = {f"v{i:05}": np.asarray(v) for i, v in enumerate(self._variables())}
        facts = json.dumps({"epochs_done": epochs_done, "best": best})
        arrays["facts"] = np.frombuffer(facts.encode(), np.uint8)
        write_atomically(
            self.path, lambda part: np.savez(part, allow_pickle=False, **arrays)
        )

    def restore(self) -> tuple[int, float]:
        """Sets the model and its optimizer; gives the epochs done and the best value.

        Raises:
            ValueError: the file is damaged or of another network.
        """
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                facts = json.loads(arrays["facts"].tobytes())
                variables = self._variables()
                for i, variable in enumerate(variables):
                    variable.assign(arrays[f"v{i:05}"])
        except (KeyError, EOFError, ValueError, OSError) as error:
            raise ValueError(
                f"{self.path}: not a state of this network ({error}); resume with the "
                "settings of the run, or train into another folder."
            ) from error
        return facts["epochs_done"], facts["best"]

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]
