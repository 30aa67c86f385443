"""Loading and saving of `.keras` files; Keras is imported on use."""

from pathlib import Path
from typing import TYPE_CHECKING

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
    write_whole(path, _float32_copy(model).save, durable=True)


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

    from keras_efsnet.models.efsnet import EFSNet, float32_copy

    if isinstance(model, EFSNet):
        return float32_copy(model)
    copy = keras.models.clone_model(  # Keras's layers, each with its own policy
        model,
        clone_function=lambda layer: type(layer).from_config(
            {**layer.get_config(), "dtype": "float32"}
        ),
    )
    copy.set_weights(model.get_weights())
    return copy
