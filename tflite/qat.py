"""Fine-tunes deployment graphs by quantization-aware training or weight clustering.

tensorflow-model-optimization takes only tf_keras models. So a tf_keras copy of the
graph is fine-tuned with the losses and augmentation of training. Its weights are copied
back to the graph, which is converted as usual.

Reference: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018; Han et al., "Deep Compression", ICLR
2016.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.clustering.keras.experimental import (
    cluster,  # imported as in the toolkit's own guide
)

from keras_efsnet.models.losses import DiceBCE
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.tflite.convert import (
    convert_graph,
    graph_of,
    match_classes,
    to_frames,
)
from keras_efsnet.tflite.equalize import equalize
from keras_efsnet.tflite.tf_keras_copy import DepthToSpace, copy_to_tf_keras
from keras_efsnet.training.augmentation import Augmentation
from keras_efsnet.training.datasets.sample import Sample
from keras_efsnet.training.pipeline import (
    ImageCache,
    load_cache,
    steps_per_epoch,
    training_batches,
)
from keras_efsnet.training.settings import TrainSettings


@dataclass(frozen=True)
class Schedule:
    """Epochs and Adam's first learning rate, which follows a cosine decay."""

    epochs: int
    learning_rate: float


SCHEDULES: Mapping[str, Schedule] = {
    "quantize": Schedule(8, 2e-5),
    "cluster": Schedule(4, 1e-4),
}
"""Learning rates are low because rounding changes a trained network little."""

BATCH_SIZE = 8

CLUSTERS = 32
"""Number of different weights in a clustered kernel."""

SMALLEST_KERNEL = 256
"""Kernels with fewer weights are not clustered; they are a small part of a file."""

_log = logging.getLogger(__name__)
_quantization = tfmot.quantization.keras


def convert_fine_tuned(
    model: keras.Model,
    kind: str,
    step: str,
    representative: np.ndarray,
    samples: Sequence[Sample],
    schedules: Mapping[str, Schedule] = SCHEDULES,
    rules: Postprocess | None = None,
) -> bytes:
    """Fine-tunes a trained model's deployment graph and converts it.

    Args:
        model: an EFSNet with a square input.
        kind: of the file, "float32" or "int8".
        step: "quantize" or "cluster".
        representative: as in `convert.convert`.
        samples: training samples.
        rules: the model's labels and tasks; None is those of the shipped models.

    Returns:
        The `.tflite` file's content.
    """
    graph = graph_of(model, kind)
    frames = to_frames(representative, graph.input_shape[1:3])
    if kind == "int8":
        equalize(graph, frames)
    rules = rules or Postprocess()
    cache = load_cache(samples, graph.input_shape[1], rules.labels, rules.tasks)
    fine_tune(graph, step, cache, frames, schedules)
    content = convert_graph(graph, kind, representative)
    return match_classes(content, model, frames) if kind == "int8" else content


def fine_tune(
    graph: keras.Model,
    step: str,
    cache: ImageCache,
    frames: np.ndarray,
    schedules: Mapping[str, Schedule] = SCHEDULES,
) -> None:
    """Fine-tunes a deployment graph in place; weights of 0 stay 0.

    Args:
        graph: from `convert.graph_of`.
        step: "quantize" or "cluster".
        cache: training images of the graph's size.
        frames: calibration images, float32 `(n, height, width, 1)`.
    """
    _STEPS[step](graph, cache, frames, schedules[step])


class _Unquantized(tfmot.quantization.keras.QuantizeConfig):
    """For layers that only move values, and for the probabilities."""

    def get_weights_and_quantizers(self, layer):
        return []

    def get_activations_and_quantizers(self, layer):
        return []

    def set_quantize_weights(self, layer, quantize_weights):
        pass

    def set_quantize_activations(self, layer, quantize_activations):
        pass

    def get_output_quantizers(self, layer):
        return []

    def get_config(self):
        return {}


_UNQUANTIZED = (
    DepthToSpace,
    tf_keras.layers.Activation,
    tf_keras.layers.MaxPooling2D,
    tf_keras.layers.Rescaling,
    tf_keras.layers.Reshape,
)


class _KeepZeros(tf_keras.callbacks.Callback):
    """Keeps the zeros of dense kernels where the network has no weights."""

    def on_train_begin(self, logs=None):
        self._kernels = [
            (weight, tf.cast(weight != 0, weight.dtype))
            for weight in self.model.trainable_weights
            if "kernel" in weight.name
        ]

    def on_train_batch_end(self, batch, logs=None):
        for weight, kept in self._kernels:
            weight.assign(weight * kept)


def _quantize(
    graph: keras.Model, cache: ImageCache, frames: np.ndarray, schedule: Schedule
) -> None:
    """Fine-tunes with weights and activations rounded as in an int8 file."""

    def annotate(layer: Any) -> Any:
        config = _Unquantized() if isinstance(layer, _UNQUANTIZED) else None
        return _quantization.quantize_annotate_layer(layer, config)

    plain = copy_to_tf_keras(graph)
    annotated = tf_keras.models.clone_model(plain, clone_function=annotate)
    scope = {"_Unquantized": _Unquantized, "DepthToSpace": DepthToSpace}
    with _quantization.quantize_scope(scope):
        model = _quantization.quantize_apply(annotated)
    _set_ranges(model, plain, frames)
    _fit("quantize", model, cache, schedule, [_KeepZeros()])
    for layer in graph.layers:
        if layer.weights:
            trained = model.get_layer(f"quant_{layer.name}").trainable_weights
            layer.set_weights([weight.numpy() for weight in trained])


def _set_ranges(
    model: tf_keras.Model, plain: tf_keras.Model, frames: np.ndarray
) -> None:
    """Sets each activation's range from images; the toolkit's [-6, 6] adapts slowly."""
    layers = [layer for layer in plain.layers if layer.name != "image"]
    measure = tf_keras.Model(plain.input, [layer.output for layer in layers])
    rows = [
        [(x.min(), x.max()) for x in measure.predict(f[None], verbose=0)]
        for f in frames
    ]
    lows, highs = np.min(rows, axis=0)[:, 0], np.max(rows, axis=0)[:, 1]
    ranges = {
        f"quant_{layer.name}": found
        for layer, *found in zip(layers, lows, highs, strict=True)
    }
    image = [frames.min(), frames.max()]
    for layer in model.layers:
        # Only the layer that rounds the image is not in the copy.
        lowest, highest = ranges.get(layer.name, image)
        for weight in layer.non_trainable_weights:
            if "kernel" not in weight.name and weight.name.endswith("_min:0"):
                weight.assign(lowest)
            if "kernel" not in weight.name and weight.name.endswith("_max:0"):
                weight.assign(highest)


def _cluster(
    graph: keras.Model, cache: ImageCache, frames: np.ndarray, schedule: Schedule
) -> None:
    """Replaces the weights of each large kernel by a few values; zeros stay."""
    clustering = tfmot.clustering.keras
    model = _wrap_kernels(
        copy_to_tf_keras(graph),
        lambda layer: cluster.cluster_weights(
            layer,
            CLUSTERS,
            clustering.CentroidInitialization.KMEANS_PLUS_PLUS,
            preserve_sparsity=True,
        ),
    )
    _fit("cluster", model, cache, schedule, [])
    _take_weights(graph, clustering.strip_clustering(model))


_STEPS: Mapping[str, Callable[..., None]] = {"quantize": _quantize, "cluster": _cluster}


def _wrap_kernels(model: tf_keras.Model, wrap: Callable[[Any], Any]) -> Any:
    def clone(layer: Any) -> Any:
        size = layer.weights[0].shape.num_elements() if layer.weights else 0
        return wrap(layer) if size >= SMALLEST_KERNEL else layer

    return tf_keras.models.clone_model(model, clone_function=clone)


def _take_weights(graph: keras.Model, model: tf_keras.Model) -> None:
    for layer in graph.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights())


def _fit(
    step: str,
    model: tf_keras.Model,
    cache: ImageCache,
    schedule: Schedule,
    callbacks: list[Any],
) -> None:
    """Runs `fit` with the losses and batches of training."""
    mask_loss, epochs = DiceBCE(), schedule.epochs
    steps = steps_per_epoch(cache, BATCH_SIZE)
    batches = training_batches(
        cache,
        batch_size=BATCH_SIZE,
        seed=TrainSettings.seed,
        steps_per_epoch=steps,
        first_epoch=0,
        epochs=epochs,
        policy=Augmentation(),
        class_weight_at=lambda epoch: TrainSettings.class_loss_weight,
    )
    rate = tf_keras.optimizers.schedules.CosineDecay(
        schedule.learning_rate, epochs * steps
    )
    model.compile(
        tf_keras.optimizers.Adam(rate, global_clipnorm=TrainSettings.clip_norm),
        loss={"mask": mask_loss.call, "class": "sparse_categorical_crossentropy"},
    )
    log = tf_keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: _log.info(
            "%s, epoch %d/%d: loss %.4g", step, epoch + 1, epochs, logs["loss"]
        )
    )
    model.fit(
        batches,
        epochs=epochs,
        steps_per_epoch=steps,
        verbose=0,
        callbacks=[*callbacks, log],
    )
