"""What borders around a scan cost: letterboxing, and a black frame.

    python benchmarks/borders.py --data DIR [--data DIR] --split FOLDS.csv [--model M]

Prints the mean Dice of the validation images of each source, as they are, letterboxed
to a square, and with a black border of 15 % of the side on each side. The rules of the
card are applied, and masks are compared at the size of the changed image.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_efsnet.images.frame import Frame
from keras_efsnet.images.reading import read_image
from keras_efsnet.models.presets import DEFAULT_MODEL
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.prediction.predictor import predict_frame
from keras_efsnet.training.datasets.reading import read_datasets
from keras_efsnet.training.datasets.sample import load_mask
from keras_efsnet.training.datasets.splits import read_split

BORDER = 0.15


def letterbox(pixels: np.ndarray) -> np.ndarray:
    side = max(pixels.shape)
    before = [(side - length) // 2 for length in pixels.shape]
    after = [side - length - b for length, b in zip(pixels.shape, before, strict=True)]
    return np.pad(pixels, list(zip(before, after, strict=True)))


def frame(pixels: np.ndarray) -> np.ndarray:
    return np.pad(pixels, [(round(BORDER * length),) * 2 for length in pixels.shape])


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda pixels: pixels,
    "letterboxed": letterbox,
    "border of 15 %": frame,
}


def dice(truth: np.ndarray, mask: np.ndarray) -> float:
    total = truth.sum() + mask.sum()
    return float(2 * (truth & mask).sum() / total) if total else 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    options = parser.parse_args()
    samples = read_split(read_datasets(options.data), [options.split]).validation
    predictor = load_predictor(options.model)
    scores: dict[tuple[str, str], list[float]] = {}
    for sample in samples:
        grey = read_image(sample.image)
        truth = load_mask(sample, grey.shape)
        for name, change in CHANGES.items():
            found = predict_frame(predictor, Frame(change(grey)))
            score = dice(change(truth), found.mask)
            scores.setdefault((sample.source or "", name), []).append(score)
            if truth.any():
                key = (f"{sample.source}, lesions", name)
                scores.setdefault(key, []).append(score)
    print("| source | images |", " | ".join(CHANGES), "|")
    print("|---" * (2 + len(CHANGES)) + "|")
    for source in sorted({source for source, _ in scores}):
        means = [float(np.mean(scores[source, name])) for name in CHANGES]
        cells = [
            f"{means[0]:.3f}",
            *(f"{m:.3f} ({m - means[0]:+.3f})" for m in means[1:]),
        ]
        print(
            f"| {source} | {len(scores[source, 'as it is'])} |", " | ".join(cells), "|"
        )


if __name__ == "__main__":
    main()
