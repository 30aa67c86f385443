"""Writes two files for MediaPipe Tasks, and runs them with LiteRT.

`model_segmenter.tflite` is for ImageSegmenter, `model_classifier.tflite` for
ImageClassifier. Both are made from one network; each has only the layers that its
output needs. They take one RGB image, float32 `(1, height, width, 3)` in [0, 255], and
compute its grey values (ITU-R 601). MediaPipe resizes the image and the masks.

ImageSegmenter takes one mask or several. Chosen: two, `background` and `lesion`, which
add up to 1. With one, its category mask would be 0 in the lesion and 255 around it.
With two it is the index of the label: 1 in the lesion, where the probability is above
0.5. The file computes probabilities, not logits: MediaPipe then interpolates them, as
`keras_efsnet.prediction.postprocess` does.

Chosen: float32, whose probabilities are within 1e-5 of our other float32 file's. With
`efsnet_base_breast`, float16 would make the two files 0.76 instead of 1.41 MB, little
beside MediaPipe's library, and change probabilities by up to 0.03. int8 weights
("dynamic") would make them 0.48 MB, change probabilities by up to 0.1, and be slower.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from keras_efsnet.images.grey import Size
from keras_efsnet.labels import LABELS
from keras_efsnet.tflite.convert import convert_graph
from keras_efsnet.tflite.deploy import conv, deployment_graph
from keras_efsnet.tflite.folding import Weights
from keras_efsnet.tflite.task_metadata import with_task_metadata

SEGMENTER, CLASSIFIER = "model_segmenter.tflite", "model_classifier.tflite"
MASKS = ("background", "lesion")

_LUMA = np.reshape([0.299, 0.587, 0.114], (1, 1, 3, 1))
_LESS_AND_AS_IS = np.reshape([-1.0, 1.0], (1, 1, 1, 2))


def write_task_files(
    model: keras.Model, folder: Path, classes: Sequence[str] = LABELS
) -> None:
    """Writes a trained model's two files to a folder, made if it is missing.

    Args:
        model: the network.
        folder: of the files.
        classes: the names of the classes.

    Raises:
        OSError: a file cannot be written.
        ValueError: Keras does not run on TensorFlow.
    """
    image, outputs = _in_colour(deployment_graph(model))
    masks = Weights(_LESS_AND_AS_IS, np.array([1.0, 0.0]))  # 1 - mask and mask
    outputs["mask"] = conv(outputs["mask"], masks, "masks")
    folder.mkdir(parents=True, exist_ok=True)
    for name, output, labels in (
        (SEGMENTER, "mask", MASKS),
        (CLASSIFIER, "class", classes),
    ):
        graph = keras.Model(image, {output: outputs[output]})
        content = convert_graph(graph, "float32")
        content = with_task_metadata(content, output, labels)
        (folder / name).write_bytes(content)


def _in_colour(graph: keras.Model) -> tuple[Any, dict[str, Any]]:
    """Gives a grey graph's layers an RGB image; returns it and the outputs."""
    image = keras.Input((*graph.input_shape[1:3], 3), batch_size=1, name="image")
    grey = conv(image, Weights(_LUMA, np.zeros(1)), "grey")

    def call_with_grey(layer: Any, *args: Any, **kwargs: Any) -> Any:
        args = keras.tree.map_structure(lambda x: grey if x is image else x, args)
        return layer(*args, **kwargs)

    copy = keras.models.clone_model(
        graph,
        input_tensors=image,
        clone_function=lambda layer: layer,
        call_function=call_with_grey,
    )
    return image, dict(copy.output)


def open_task_files(folder: Path) -> tuple[Size, Callable[..., Any]]:
    """Opens a folder's two files.

    Returns:
        The network's `(height, width)`, and a function from one grey image, float32
        `(1, height, width, 1)`, to the lesion's `mask` and to `class`.
    """
    segment, classify = (
        Interpreter(str(folder / name)).get_signature_runner()
        for name in (SEGMENTER, CLASSIFIER)
    )

    def run(grey: np.ndarray) -> dict[str, np.ndarray]:
        rgb = np.repeat(grey, 3, axis=-1)
        masks = segment(image=rgb)["mask"]
        return {
            "mask": masks[..., MASKS.index("lesion"), None],
            "class": classify(image=rgb)["class"],
        }

    _, height, width, _ = segment.get_input_details()["image"]["shape"].tolist()
    return (height, width), run
