"""What MediaPipe's own scaling costs: its answers on images of several sizes.

    python benchmarks/mediapipe_sizes.py build/clients [--data DIR] [--images N]

Prints the mask's Dice with Keras's mask, both at the image's own size, without rules,
and the images with the same class: as MediaPipe gets them, and scaled first by
`resize_image`. `clients.py --install build/clients mediapipe` makes the environment.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from borders import dice
from clients import SEEDS, run_worker

from keras_efsnet.images.grey import resize_image, resize_probability
from keras_efsnet.images.reading import read_image
from keras_efsnet.labels import LABELS
from keras_efsnet.models.presets import DEFAULT_MODEL, find_model
from keras_efsnet.models.saving import load_keras_model
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.keras_runtime import KerasPredictor
from keras_efsnet.tflite.mediapipe_files import CLASSIFIER, SEGMENTER, write_task_files
from keras_efsnet.training.datasets.reading import read_dataset

SIZES = ((256, 256), (400, 600), (512, 512), (768, 1024))

Answer = tuple[np.ndarray, np.ndarray]
"""Probability of lesion at an image's own size, and of the classes."""


def ask_mediapipe(
    images: Sequence[np.ndarray], files: Path, home: Path
) -> list[Answer]:
    answers: dict[int, Answer] = {}
    for shape in {image.shape for image in images}:
        places = [i for i, image in enumerate(images) if image.shape == shape]
        with tempfile.TemporaryDirectory() as name:
            out = Path(name)
            np.save(out / "images.npy", np.stack([images[i] for i in places]))
            paths = (files / SEGMENTER, files / CLASSIFIER, out / "images.npy", out)
            run_worker(home / "mediapipe", "mediapipe", *paths)
            found = zip(
                np.load(out / "mask.npy"), np.load(out / "class.npy"), strict=True
            )
            answers |= dict(zip(places, found, strict=True))
    return [answers[i] for i in range(len(images))]


def ask_keras(image: np.ndarray, model: KerasPredictor) -> Answer:
    outputs = model(np.float32(resize_image(image, model.size))[None, ..., None])
    mask = resize_probability(outputs["mask"][0, ..., 0], image.shape)
    return mask, outputs["class"][0]


def print_rows(
    name: str,
    images: Sequence[np.ndarray],
    model: KerasPredictor,
    files: Path,
    home: Path,
) -> None:
    expected = [ask_keras(image, model) for image in images]
    for scaled in (False, True):
        given = [resize_image(i, model.size) if scaled else i for i in images]
        scores, same = [], 0
        for found, truth in zip(
            ask_mediapipe(given, files, home), expected, strict=True
        ):
            mask = resize_probability(found[0], truth[0].shape)
            scores.append(dice(truth[0] > 0.5, mask > 0.5))
            same += int(found[1].argmax() == truth[1].argmax())
        print(
            f"| {len(images)} {name} | {'scaled first' if scaled else 'as they are'}"
            f" | {np.mean(scores):.3f}, {min(scores):.3f} | {same} of {len(images)} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with the environments")
    parser.add_argument("--data", action="append", default=[])
    parser.add_argument("--images", type=int, default=40, help="of each --data")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    options = parser.parse_args()
    model = KerasPredictor(find_model(options.model).keras_file)
    print("| images | given to MediaPipe | mask Dice, mean and lowest | same class |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        files = Path(name)
        write_task_files(load_keras_model(find_model(options.model).keras_file), files)
        inputs = (model, files, options.folder)
        for size in SIZES:
            phantoms = [make_phantom(c, seed, size) for c in LABELS for seed in SEEDS]
            title = f"phantoms of {size[0]} x {size[1]}"
            print_rows(title, [phantom.image for phantom in phantoms], *inputs)
        for folder in options.data:
            samples = read_dataset(folder)
            drawn = np.random.default_rng(0).permutation(len(samples))
            images = [read_image(samples[i].image) for i in drawn[: options.images]]
            print_rows(f"images of {Path(folder).name}", images, *inputs)


if __name__ == "__main__":
    main()
