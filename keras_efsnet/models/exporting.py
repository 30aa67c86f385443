"""Which formats `EFSNet.export` writes on which backend."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from keras_efsnet.extras import MissingPackage

FORMATS = {
    "tensorflow": ("tf_saved_model", "onnx", "openvino", "litert"),
    "jax": ("tf_saved_model",),
    "torch": ("torch",),
}
"""The formats that work on each backend. On JAX and PyTorch, Keras refuses the others,
fails, writes a file that does not load, or needs packages that we did not test."""


def fixed_signature(shape: tuple[int | None, ...]) -> list[keras.InputSpec]:
    """Gives the signature of one image of a model's input shape, for any batch size.

    Raises:
        ValueError: a size is None, and the backend exports only fixed sizes.
    """
    if None in shape[1:] and keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"the {keras.backend.backend()} backend exports models of a fixed size, "
            f"got the input shape {shape}; give input_signature=[keras.InputSpec("
            '"float32", shape=(None, 256, 256, 1), name="image")].'
        )
    return [keras.InputSpec("float32", shape=shape, name="image")]


@contextmanager
def check_export(format: str) -> Iterator[None]:
    """Refuses a format that does not work on this backend.

    Raises:
        MissingPackage: the export needs a package that is not installed.
        ValueError: the format works on another backend.
    """
    backend = keras.backend.backend()
    homes = [name for name, formats in FORMATS.items() if format in formats]
    if homes and backend not in homes:
        raise ValueError(
            f"format {format} cannot be exported on the {backend} backend, which has "
            f"{' and '.join(FORMATS[backend])}; save the model and export it with "
            f"KERAS_BACKEND={homes[0]}."
        )
    try:
        yield
    except ImportError as error:
        raise MissingPackage(
            f"format {format} needs a package that is not installed ({error}); "
            "install it with pip."
        ) from error
