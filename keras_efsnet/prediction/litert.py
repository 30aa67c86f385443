"""Prediction with LiteRT; needs only NumPy, Pillow and ai-edge-litert."""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Semaphore
from typing import Any

import numpy as np

from keras_efsnet.extras import MissingPackage
from keras_efsnet.images.grey import Size
from keras_efsnet.models.presets import check_digest
from keras_efsnet.prediction.parallel import count_cores
from keras_efsnet.prediction.postprocess import Prediction, read_rules
from keras_efsnet.prediction.predictor import (
    Images,
    check_threads,
    count_classes,
    predict_batch,
)
from keras_efsnet.prediction.sandbox import check_file
from keras_efsnet.prediction.turns import take_turn

SIGNATURE = "serving_default"
SCALE_TOLERANCE = 1e-3
"""Largest error of an integer input's scale of 1: a quarter of a grey level at 255."""

MIDDLE_GREY = 128
"""The grey value whose int8 input is 0."""


class LiteModel:
    """A `.tflite` file of EFSNet, run by LiteRT on the CPU.

    The file has one signature, `serving_default`, from `image` to `mask` and `class`,
    for one image of a fixed size. `image` is float32, uint8 with scale 1 and zero point
    0, or int8, the grey value minus 128. The outputs are float32 or int8. The rules of
    a `card.json` beside the file apply. The file must match the hash in its
    description, `<file>.json`; without one it first runs in a separate process, see
    `sandbox`. Loading runs one image, to exclude set-up from timings. Threads may share
    a model: it runs as many images at a time as there are cores, each on a copy of the
    network (about 12 MB) that is made when it is first needed; the others wait.

    Args:
        path: the `.tflite` file.
        threads: CPU threads for one image; None leaves the choice to LiteRT, which
            takes one.

    Attributes:
        file: the `.tflite` file.
        size: the network's `(height, width)`.
        rules: the model's labels and postprocess.
        classes: size of the output `class`.
        input_type: dtype of the input, float32, uint8 or int8.

    Raises:
        OSError: the file cannot be read.
        MissingPackage: ai-edge-litert is not installed.
        ValueError: the file is damaged, does not match its card, or has other inputs or
            outputs; `threads` is below 1; the card has other rules.

    Example:

        from keras_efsnet.prediction.litert import LiteModel

        model = LiteModel("model_int8.tflite", threads=2)
        print(model.predict("scan.png")[0].label)
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        path = self.file = Path(path)
        check_threads(threads)
        interpreter = _import_interpreter()
        content = path.read_bytes()
        check_digest(path, content)
        check_file(path, content)
        self._open = partial(_open, interpreter, path, content, threads)
        # Two threads would mix their images in a runner's one set of tensors.
        self._turns = Semaphore(count_cores())
        self._idle: deque[Any] = deque()
        run = self._open()
        self.size, self.input_type = _check_input(
            path, run.get_input_details()["image"]
        )
        self._outputs = run.get_output_details()
        self.classes = _check_outputs(path, self._outputs, self.size)
        self.rules = read_rules(path, self.classes)
        try:
            self._idle.append(self._warm_up(run))
        except (RuntimeError, ValueError) as error:
            raise _unusable(path, error) from error

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the network on images of its size.

        Args:
            images: float32 or uint8 `(n, height, width, 1)`, grey in [0, 255]; rounded
                if the file takes integers.

        Returns:
            `mask`, float32 `(n, height, width, 1)`, and `class`, float32 `(n,
            classes)`, both in [0, 1].

        Raises:
            ValueError: another shape.
        """
        if images.shape[1:] != (*self.size, 1):
            raise ValueError(
                f"images must be (n, {self.size[0]}, {self.size[1]}, 1), got "
                f"{images.shape}; `predict` takes images of any size."
            )
        masks = np.empty((len(images), *self.size, 1), np.float32)
        classes = np.empty((len(images), self.classes), np.float32)
        pixels = _to_type(images, self.input_type)
        for number in range(len(images)):
            with take_turn(self._runner()) as run:
                outputs = run(image=pixels[number : number + 1])
            masks[number] = self._to_float("mask", outputs)
            classes[number] = self._to_float("class", outputs)
        return {"mask": masks, "class": classes}

    @contextmanager
    def _runner(self) -> Iterator[Any]:
        """Lends a runner that no other thread uses."""
        with self._turns:
            try:
                run = self._idle.pop()
            except IndexError:
                run = self._warm_up(self._open())
            try:
                yield run
            finally:
                self._idle.append(run)

    def _warm_up(self, run: Any) -> Any:
        """Runs an image, as the first one takes longer."""
        run(image=np.zeros((1, *self.size, 1), self.input_type))
        return run

    def _to_float(self, name: str, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        values = outputs[name][0]
        if values.dtype == np.float32:
            return values
        scale, zero_point = self._outputs[name]["quantization"]
        return np.float32(scale) * (values.astype(np.float32) - zero_point)

    def predict(self, images: Images) -> list[Prediction]:
        """Predicts images of any size, as `keras_efsnet.predict`.

        Raises:
            OSError, ValueError: an image cannot be read.
        """
        return predict_batch(self, images)


def _import_interpreter() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingPackage(
            f"LiteRT cannot start ({error}); install it: "
            'pip install "keras-efsnet[lite]".'
        ) from error
    return Interpreter


def _open(make: Any, path: Path, content: bytes, threads: int | None) -> Any:
    """Returns the runner of the file's signature."""
    try:
        interpreter = make(model_content=content, num_threads=threads)
    except (RuntimeError, ValueError) as error:
        raise _unusable(path, error) from error
    signatures = interpreter.get_signature_list()
    if signatures.get(SIGNATURE, {}).get("inputs") != ["image"]:
        raise ValueError(
            f"{path}: it needs the signature {SIGNATURE} with the one input image, got "
            f"{signatures or 'none'}; give a file made by `efsnet export`."
        )
    # As fast as raw access to the tensors, but by name.
    return interpreter.get_signature_runner(SIGNATURE)


def _check_input(path: Path, tensor: Mapping[str, Any]) -> tuple[Size, np.dtype]:
    shape, dtype = _shape(tensor), np.dtype(tensor["dtype"])
    fixed = len(shape) == 4 and min(shape) > 0
    if not fixed or (shape[0], shape[3]) != (1, 1):
        raise ValueError(
            f"{path}: the input must be one grey image of a fixed size, (1, height, "
            f"width, 1), got {shape}; give a file made by `efsnet export`."
        )
    scale, zero_point = tensor["quantization"]
    is_grey = abs(scale - 1) <= SCALE_TOLERANCE and zero_point == 0
    if dtype != np.float32 and not (dtype in (np.uint8, np.int8) and is_grey):
        raise ValueError(
            f"{path}: the input must be float32, or uint8 or int8 with scale 1 and "
            f"zero point 0, got {dtype} with scale {scale} and zero point "
            f"{zero_point}; give a file made by `efsnet export`."
        )
    return (shape[1], shape[2]), dtype


def _check_outputs(path: Path, tensors: Mapping[str, Any], size: Size) -> int:
    """Returns the number of classes."""
    shapes = {name: _shape(t) for name, t in tensors.items()}
    classes = count_classes(path, shapes, size)
    for name, tensor in tensors.items():
        if tensor["dtype"] not in (np.float32, np.int8):
            raise ValueError(
                f"{path}: the outputs must be float32 or int8, but {name} is "
                f"{np.dtype(tensor['dtype'])}; give a file made by `efsnet export`."
            )
    return classes


def _shape(tensor: Mapping[str, Any]) -> tuple[int, ...]:
    """A tensor's shape, with -1 for sizes that are not fixed."""
    return tuple(tensor["shape_signature"].tolist())


def _to_type(images: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype != np.float32 and images.dtype != np.uint8:
        images = np.rint(images).clip(0, 255)
    if dtype == np.int8:
        images = images.astype(np.int16) - MIDDLE_GREY
    return images.astype(dtype, copy=False)


def _unusable(path: Path, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())
    return ValueError(
        f"{path}: not a .tflite file that LiteRT can run ({reason}); export or copy it "
        "again."
    )
