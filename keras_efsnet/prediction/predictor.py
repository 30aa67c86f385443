"""The interface of every runtime, and prediction of one frame."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from keras_efsnet.images.frame import Frame
from keras_efsnet.images.grey import Size, resize_image, to_grey
from keras_efsnet.images.reading import read_frame
from keras_efsnet.images.screen_region import ScreenRegion
from keras_efsnet.prediction.parallel import map_in_order
from keras_efsnet.prediction.postprocess import Postprocess, Prediction, postprocess
from keras_efsnet.prediction.turns import seconds_waited

Image = str | Path | np.ndarray | Frame
Images = Iterable[Image] | Image
"""Files, arrays and frames, or one of them."""


class Predictor(Protocol):
    """A loaded network, which threads may share.

    Calling it maps float32 grey `(n, height, width, 1)` in [0, 255] to a dict of
    `mask`, `(n, height, width, 1)`, and `class`, `(n, classes)`, both in [0, 1]. What
    they mean is in `rules`.
    """

    size: Size
    rules: Postprocess

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]: ...


class LoadedPredictor(Predictor, Protocol):
    """A predictor and the file of its weights."""

    file: Path


def to_frames(images: Images) -> list[Frame]:
    """Reads files of one image and converts arrays; frames are returned unchanged.

    Raises:
        OSError, ValueError: an image cannot be read.
    """
    return [_to_frame(image) for image in _list(images)]


def predict_batch(
    predictor: Predictor, images: Images, threads: int | None = None
) -> list[Prediction]:
    """Reads and predicts images, several at a time.

    Args:
        predictor: from `load_predictor`.
        images: as in `keras_efsnet.predict`.
        threads: images at a time; None is one for each core.

    Returns:
        One prediction per image, in the order of the images.

    Raises:
        OSError, ValueError: an image cannot be read, or `threads` is below 1.

    Example:

        from keras_efsnet import load_predictor, predict_batch

        predictor = load_predictor()
        for prediction in predict_batch(predictor, ["one.png", "two.png"]):
            print(prediction.label)
    """
    check_threads(threads)

    def predict(image: Image) -> Prediction:
        return predict_frame(predictor, _to_frame(image))

    return list(map_in_order(predict, _list(images), threads))


def _list(images: Images) -> Iterable[Image]:
    return [images] if isinstance(images, Image) else images


def _to_frame(image: Image) -> Frame:
    if isinstance(image, Frame):
        return image
    if isinstance(image, np.ndarray):
        return Frame(to_grey(image))
    return read_frame(image)


def predict_frame(predictor: Predictor, frame: Frame) -> Prediction:
    """Predicts and times one frame.

    If `frame.scan` is set, the network sees only that part. The prediction is in the
    whole frame's pixels, without lesion outside the part.
    """
    whole = ScreenRegion.whole(frame.pixels.shape)
    if frame.scan is None or frame.scan == whole:
        return _predict(predictor, frame.pixels)
    part = _predict(predictor, frame.pixels[frame.scan.slices])
    mask = np.zeros(frame.pixels.shape, bool)
    mask[frame.scan.slices] = part.mask
    probability = np.zeros(frame.pixels.shape, np.float32)
    probability[frame.scan.slices] = part.probability
    return replace(
        part,
        mask=mask,
        probability=probability,
        lesion_fraction=None
        if part.lesion_area_px is None
        else part.lesion_area_px / mask.size,
        boxes=[frame.scan.to_frame(box) for box in part.boxes],
    )


def _predict(predictor: Predictor, grey: np.ndarray) -> Prediction:
    start = time.perf_counter() - seconds_waited()
    image = resize_image(grey, predictor.size)
    outputs = predictor(image.astype(np.float32)[None, :, :, None])
    prediction = postprocess(
        outputs["mask"][0, :, :, 0],
        outputs["class"][0],
        grey.shape,
        predictor.rules,
        image,
    )
    milliseconds = 1000 * (time.perf_counter() - seconds_waited() - start)
    return replace(prediction, milliseconds=milliseconds)


def check_threads(threads: int | None) -> None:
    """Raises ValueError if `threads` is below 1."""
    if threads is not None and threads < 1:
        raise ValueError(
            f"threads must be at least 1, got {threads}; leave it out for the "
            "runtime's own choice."
        )


def count_classes(file: Path, shapes: Mapping[str, tuple[int, ...]], size: Size) -> int:
    """Returns the number of a model's classes.

    Args:
        file: the model's file.
        shapes: the outputs' shapes by name; empty if they have no names.
        size: the network's `(height, width)`.

    Raises:
        ValueError: the outputs are not `mask` and `class` of one image.
    """
    classes = shapes.get("class", ())[-1:]
    expected = {"mask": (1, *size, 1), "class": (1, *classes)}
    if shapes != expected or not classes or classes[0] < 2:
        raise ValueError(
            f"{file}: the outputs must have the names and shapes mask {(1, *size, 1)} "
            f"and class (1, number of classes), got {dict(shapes) or 'no names'}; give "
            "a model made by EFSNet."
        )
    return classes[0]
