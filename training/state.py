"""Saves and restores the state of a run for exact resume."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_efsnet.files import write_whole


class TrainingState:
    """Everything that the next epoch depends on, in one file.

    It holds weights, averaged weights, the optimizer, the dropouts' seeds, the number
    of finished epochs and the best validation value.

    Args:
        model: compiled.
        path: the file.
        data_digest: of the run's images, masks and classes.
    """

    def __init__(self, model: keras.Model, path: Path, data_digest: str = "") -> None:
        self.model = model
        self.path = path
        self.data_digest = data_digest

    def save(self, epochs_done: int, best: float) -> None:
        """Writes the state atomically."""
        arrays = {f"v{i:05}": np.asarray(v) for i, v in enumerate(self._variables())}
        facts = {"epochs_done": epochs_done, "best": best, "data": self.data_digest}
        arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
        write_whole(
            self.path,
            lambda part: np.savez(part, allow_pickle=False, **arrays),
            durable=True,
        )

    def restore(self) -> tuple[int, float]:
        """Restores model and optimizer; gives finished epochs and the best value.

        Raises:
            ValueError: the file is damaged, or of another network or other data.
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
        if facts.get("data", self.data_digest) != self.data_digest:
            raise ValueError(
                f"{self.path}: the run's images, masks or classes have changed since; "
                "restore them, or train into another folder."
            )
        return facts["epochs_done"], facts["best"]

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]
