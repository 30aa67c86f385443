"""Measures which out-of-distribution images are referred, and the risk that is left.

    python benchmarks/referral.py --data DIR --split FOLDS.csv

For each kind of image, prints the fractions referred because it does not look like
B-mode and for any reason. Unchanged validation images give the false alarms.
"""

import argparse
import io
import timeit
from pathlib import Path

import numpy as np
from not_b_mode import KINDS
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy.ndimage import binary_dilation, binary_erosion
from sklearn.metrics import roc_auc_score

from keras_efsnet.images.frame import Frame
from keras_efsnet.images.grey import resize_image
from keras_efsnet.images.reading import read_image
from keras_efsnet.labels import LABELS
from keras_efsnet.models.presets import DEFAULT_MODEL
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.prediction.predictor import predict_frame
from keras_efsnet.prediction.referral import NOT_B_MODE
from keras_efsnet.training.datasets.reading import read_dataset
from keras_efsnet.training.datasets.splits import read_split
from keras_efsnet.training.evaluate import run_network, score_output
from keras_efsnet.training.risk_coverage import risk_coverage
from keras_efsnet.training.scores import compute_metrics

IMAGES = 40
"""Images of each drawn kind."""


def jpeg(grey):
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=30)
    return np.asarray(Image.open(file))


def crop(grey, part):
    height, width = grey.shape
    top, left = int(height * (1 - part) / 2), int(width * (1 - part) / 2)
    return grey[top : height - top, left : width - left]


CHANGES = {
    "as it is": lambda grey: grey,
    "mirrored": lambda grey: grey[:, ::-1],
    "brighter by 25": lambda grey: np.minimum(grey, 230) + np.uint8(25),
    "darker by 25": lambda grey: np.maximum(grey, 25) - np.uint8(25),
    "gamma 0.7": lambda grey: (255 * (grey / 255) ** 0.7).astype(np.uint8),
    "gamma 1.4": lambda grey: (255 * (grey / 255) ** 1.4).astype(np.uint8),
    "JPEG quality 30": jpeg,
    "middle 80 %": lambda grey: crop(grey, 0.8),
    "middle 60 %": lambda grey: crop(grey, 0.6),
    "half the size": lambda g: resize_image(g, (g.shape[0] // 2, g.shape[1] // 2)),
    "black sides of 10 %": lambda g: np.pad(g, ((0, 0), (g.shape[1] // 10,) * 2)),
    "black sides of 25 %": lambda g: np.pad(g, ((0, 0), (g.shape[1] // 4,) * 2)),
    "inverted": lambda grey: 255 - grey,
    "upside down": lambda grey: grey[::-1],
    "turned by 90 degrees": np.rot90,
}


def pictures(samples):
    """Gives each kind's name and images."""
    greys = [read_image(sample.image) for sample in samples]
    for name, change in CHANGES.items():
        yield f"validation, {name}", map(np.ascontiguousarray, map(change, greys))
    for label in LABELS:
        phantoms = (make_phantom(label, seed).image for seed in range(IMAGES))
        yield f"phantom, {label}", phantoms
    for name, make in KINDS.items():
        images = (make(np.random.default_rng(seed)) for seed in range(IMAGES))
        yield name, map(np.ascontiguousarray, images)


def print_kinds(predictor, samples):
    table = Table("kind", "images", "does not look like B-mode", "any reason")
    for name, images in pictures(samples):
        reasons = [predict_frame(predictor, Frame(image)).refer for image in images]
        look = np.mean([NOT_B_MODE in refer for refer in reasons])
        any_reason = np.mean([bool(refer) for refer in reasons])
        table.add_row(name, str(len(reasons)), f"{look:.3f}", f"{any_reason:.3f}")
    Console(width=100).print(table)


def by_border(probability):
    """The mean of |2 p - 1| within 3 pixels of the mask's border."""
    mask = probability > 0.5
    border = binary_dilation(mask, iterations=3) & ~binary_erosion(mask, iterations=3)
    return np.abs(2 * probability[border] - 1).mean()


def soft_dice(probability):
    mask = probability > 0.5
    return 2 * probability[mask].sum() / (probability.sum() + mask.sum())


CONFIDENCES = {
    "highest p": lambda probability: 2 * probability.max() - 1,
    "mean p in the mask": lambda probability: probability[probability > 0.5].mean(),
    "|2 p - 1| by the border": by_border,
    "soft Dice of p and the mask": soft_dice,
}
"""Confidence in a mask; for an empty mask it is always 1 - 2 x its highest p."""


def print_confidences(predictor, samples):
    """Prints how well other confidences than the mask margin sort the masks."""
    outputs = list(run_network(predictor, samples))
    cases = [score_output(output, predictor.rules, "B") for output in outputs]
    loss = np.array([1 - case.dice for case in cases])
    masks = [output.mask for output in outputs]
    table = Table("confidence in the mask", "area under 1 - Dice", "AUROC, Dice < 0.5")
    for name, measure in CONFIDENCES.items():
        values = [measure(p) if (p > 0.5).any() else 1 - 2 * p.max() for p in masks]
        confidence = np.array(values)
        area = risk_coverage(confidence, loss)[1].mean()
        auroc = roc_auc_score(loss > 0.5, -confidence)
        table.add_row(name, f"{area:.3f}", f"{auroc:.3f}")
    Console(width=100).print(table)


def print_time(predictor, samples):
    look = predictor.rules.refer.look
    image = resize_image(read_image(samples[0].image), predictor.size)
    seconds = timeit.repeat(lambda: look.accepts(image), number=10, repeat=20)
    print(f"the look of an image: {100 * min(seconds):.2f} ms, best of 20")


def print_risk(predictor, samples):
    rows = [
        score_output(output, predictor.rules, "B").score
        for output in run_network(predictor, samples)
    ]
    table = Table("validation", "value", "95 % interval")
    figures = compute_metrics(rows)["refer"]
    for name, value in figures.items():
        if isinstance(value, float):
            interval = figures[f"{name}_ci"]
            shown = " to ".join(f"{end:.3f}" for end in interval or ())
            table.add_row(name, f"{value:.3f}", shown)
    for reason in sorted({reason for row in rows for reason in row.refer}):
        share = np.mean([reason in row.refer for row in rows])
        table.add_row(f"referred: {reason}", f"{share:.3f}", "")
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, nargs="+", required=True)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    arguments = parser.parse_args()
    split = read_split(read_dataset(arguments.data), arguments.split)
    predictor = load_predictor(arguments.model)
    if predictor.rules.refer is None or predictor.rules.refer.look is None:
        parser.error(
            f"{arguments.model}: its card.json has no refer rule with a look; fit it "
            "with `efsnet calibrate`."
        )
    print_time(predictor, split.validation)
    print_confidences(predictor, split.validation)
    print_risk(predictor, split.validation)
    print_kinds(predictor, split.validation)


if __name__ == "__main__":
    main()
