"""Loading and saving of `.keras` files; Keras is imported on use."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_efsnet.extras import MissingPackage
from keras_efsnet.files import write_whole

if TYPE_CHECKING:
    import keras


def load_keras_model(file: Path) -> "keras.Model":
    """Loads a `.keras` file in safe mode, with EFSNet's layers registered.

    Raises:
        MissingPackage: no Keras backend is installed.
        ValueError: as in `keras_archive.read_archive`.
    """
    start_keras()
    from keras_efsnet.models.keras_archive import read_archive

    return read_archive(file)


def save_model(model: "keras.Model", path: Path) -> None:
    """Saves a model as float32, whatever its dtype policy."""
    copy = _float32_copy(model)
    copy.set_weights(model.get_weights())
    write_whole(path, copy.save, durable=True)


def start_keras() -> None:
    """Imports Keras and registers EFSNet's layers, losses and metrics.

    Raises:
        MissingPackage: no Keras backend is installed.
    """
    try:
        import keras_efsnet.models.efsnet
        import keras_efsnet.models.losses
        import keras_efsnet.models.metrics  # noqa: F401
    except ImportError as error:
        raise MissingPackage(
            f"Keras cannot start ({error}); install a backend: "
            'pip install "keras-efsnet[tensorflow]", or [jax] or [torch] and set '
            "KERAS_BACKEND."
        ) from error


def _float32_copy(model: "keras.Model") -> "keras.Model":
    import keras

    from keras_efsnet.models.efsnet import EFSNet

    if not isinstance(model, EFSNet):  # Keras's layers, each with its own policy
        return keras.models.clone_model(
            model,
            clone_function=lambda layer: type(layer).from_config(
                {**layer.get_config(), "dtype": "float32"}
            ),
        )
    return EFSNet(**{**_without_dtype(model.get_config()), "dtype": "float32"})


def _without_dtype(config: dict[str, Any]) -> dict[str, Any]:
    """Drops the dtype policies of a config and of its parts."""
    return {
        key: _without_dtype(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key != "dtype"
    }
