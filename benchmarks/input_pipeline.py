"""Measures how many augmented training images the input pipeline makes per second.

    KERAS_BACKEND=tensorflow python benchmarks/input_pipeline.py
    KERAS_BACKEND=torch python benchmarks/input_pipeline.py --image-size 128

Images are phantoms. "CPU" is the time of one core for one image. A fit step that keeps
all cores busy loses this time.
"""

import argparse
import os
import time

import keras
import numpy as np

from keras_efsnet.images.grey import resize_image, resize_mask
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.training.pipeline import ImageCache, training_batches

PHANTOMS = 6
WARM_UP = 5


def phantom_cache(count: int, image_size: int) -> ImageCache:
    """Makes a cache that repeats a few phantoms; augmentation changes each copy."""
    size = (image_size, image_size)
    numbers = np.arange(count) % PHANTOMS
    phantoms = [make_phantom(LABELS[i % 3], seed=i) for i in range(PHANTOMS)]
    images = np.stack([resize_image(p.image, size) for p in phantoms])
    masks = np.stack([resize_mask(p.mask, size) for p in phantoms]).astype(np.uint8)
    ones = np.ones(count, np.float32)
    return ImageCache(images[numbers], masks[numbers], numbers % 3, ones, ones)


def measure(cache: ImageCache, batch_size: int, steps: int) -> tuple[float, float]:
    """Returns images per second and CPU milliseconds per image."""
    per_epoch = len(cache) // batch_size
    epochs = -(-(steps + WARM_UP) // per_epoch)
    options = {"batch_size": batch_size, "steps_per_epoch": per_epoch, "epochs": epochs}
    batches = iter(training_batches(cache, **options, seed=0, first_epoch=0))
    for _ in range(WARM_UP):
        next(batches)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        next(batches)
    images = steps * batch_size
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return images / wall, 1000 * cpu / images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    cache = phantom_cache(8 * arguments.batch_size, arguments.image_size)
    rate, cpu = measure(cache, arguments.batch_size, arguments.steps)
    print(
        f"{keras.backend.backend()}, {os.cpu_count()} cores, batch "
        f"{arguments.batch_size} at {arguments.image_size} x {arguments.image_size}: "
        f"{rate:.0f} images/s, CPU {cpu:.2f} ms/image"
    )


if __name__ == "__main__":
    main()
