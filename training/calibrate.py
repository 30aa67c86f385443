"""Calibrates a trained model on validation images.

    python -m keras_efsnet.training.calibrate --model RUN/best.keras \
        --data DIR [--data DIR] --split FOLDS.csv --out PRESET

The temperature of the classes and the threshold of the mask are folded into the
network's last layers. So every exported file gives calibrated probabilities and cuts
masks at 0.5. Three rules go to the card and are applied by `prediction`: the smallest
lesion, the probability of normal that empties the mask, and referral (`fit_referral`).
Each source counts as much as any other, however many images it has.

Reference: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017
(temperature).
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.ndimage import label
from scipy.optimize import minimize_scalar

from keras_efsnet.files import write_text
from keras_efsnet.images.grey import resize_image
from keras_efsnet.images.reading import read_image
from keras_efsnet.labels import LABELS
from keras_efsnet.models.efsnet import EFSNet
from keras_efsnet.models.metrics import overlap_from_counts
from keras_efsnet.models.saving import save_model
from keras_efsnet.prediction.appearance import Appearance
from keras_efsnet.prediction.keras_runtime import KerasPredictor
from keras_efsnet.prediction.postprocess import Postprocess, postprocess
from keras_efsnet.training.datasets.reading import read_datasets
from keras_efsnet.training.datasets.sample import Sample, load_mask
from keras_efsnet.training.datasets.splits import read_split
from keras_efsnet.training.evaluate import (
    RawOutput,
    check_masks,
    run_network,
    score_output,
)
from keras_efsnet.training.fit_referral import (
    Malignancy,
    fit_appearance,
    fit_looks,
    fit_malignancy,
    fit_referral,
)
from keras_efsnet.training.per_image import make_columns
from keras_efsnet.training.scores import expected_calibration_error, find_errors
from keras_efsnet.training.seen import read_seen, refuse_seen

THRESHOLDS = tuple(np.arange(0.25, 0.8, 0.05).round(2).tolist())
LESION_FRACTIONS = (0.0, 0.001, 0.002, 0.004, 0.008)
NORMAL_GATES = (None, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
"""Values of the grid search."""

NEUTRAL = (0.5, 0.0, None)
"""The threshold, fraction and gate that change nothing; they win ties."""

NORMAL, MALIGNANT = LABELS.index("normal"), LABELS.index("malignant")


@dataclass(frozen=True)
class Calibration:
    """Fitted values and their effect on the validation images.

    Attributes:
        temperature: divides the class logits.
        mask_threshold: probability of lesion that becomes 0.5.
        rules: the smallest lesion, the normal gate and the referral rule.
        ece: expected calibration error of the classes, (before, after).
        dice: mean Dice of the images of each source at their own size, averaged over
            the sources, (before, after).
        malignancy: how the limit of malignancy was found.
        looks: the appearance of each source's training images, for `efsnet audit`.
        referred: fraction of images that are referred.
        errors_referred: the same for images with a wrong answer (see
            `scores.find_errors`); None without such images.
    """

    temperature: float
    mask_threshold: float
    rules: Postprocess
    ece: tuple[float, float]
    dice: tuple[float, float]
    malignancy: Malignancy
    looks: dict[str, Appearance]
    referred: float
    errors_referred: float | None


def calibrate(
    model_file: Path, samples: Sequence[Sample], training: Sequence[Sample]
) -> Calibration:
    """Fits temperature, threshold and rules.

    The temperature maximizes the likelihood of the true classes. Threshold, smallest
    lesion and gate maximize the mean Dice over all images, normal ones included, at
    their own sizes. In both, the sources have the same weight. The referral rule is
    fitted last, on the calibrated outputs.

    Args:
        model_file: a `.keras` file saved from an EFSNet.
        samples: validation images of every class; none of training or test.
        training: the images that the model was trained on, for the appearance rule.

    Raises:
        OSError: a file cannot be read.
        ValueError: a tumour image has no mask, or a file is not an image or mask.
    """
    check_masks(samples)
    predictor = KerasPredictor(model_file)
    outputs = list(run_network(predictor, samples))
    classes = np.stack([output.probabilities for output in outputs])
    labels = np.array([LABELS.index(sample.label) for sample in samples])
    weights = _balance([sample.source for sample in samples])
    temperature = _fit_temperature(classes, labels, weights)
    calibrated = _sharpen(classes, temperature)
    dice = dict(_score(outputs, calibrated, weights))
    best = max(dice, key=lambda choice: (round(dice[choice], 4), choice == NEUTRAL))
    threshold, fraction, gate = best
    folded = [
        replace(output, mask=_shift(output.mask, threshold), probabilities=row)
        for output, row in zip(outputs, calibrated, strict=True)
    ]
    rules = Postprocess(fraction, gate)
    images = [resize_image(read_image(s.image), predictor.size) for s in training]
    held_out = [resize_image(output.grey, predictor.size) for output in folded]
    malignancy = _fit_malignancy(folded)
    look = fit_appearance(images, held_out)
    refer = fit_referral(folded, rules, look, malignancy.limit)
    rules = replace(rules, refer=refer)
    referred, errors_referred = _judge(folded, rules)
    return Calibration(
        temperature=temperature,
        mask_threshold=threshold,
        rules=rules,
        ece=(
            expected_calibration_error(classes, labels),
            expected_calibration_error(calibrated, labels),
        ),
        dice=(dice[NEUTRAL], dice[best]),
        malignancy=malignancy,
        looks=fit_looks(_by_source(training, images), _by_source(samples, held_out)),
        referred=referred,
        errors_referred=errors_referred,
    )


def fold(model: EFSNet, calibration: Calibration) -> EFSNet:
    """Folds temperature and threshold into a model's last layers, in place."""
    head = model.get_layer("class_logits")
    head.set_weights([w / calibration.temperature for w in head.get_weights()])
    mask = model.get_layer("mask_logits")
    kernel, bias = mask.get_weights()
    mask.set_weights([kernel, bias - _logit(calibration.mask_threshold)])
    return model


def write_preset(model_file: Path, calibration: Calibration, preset: Path) -> None:
    """Writes model.keras and a card.json with rules, which `card` completes later."""
    preset.mkdir(parents=True, exist_ok=True)
    model = fold(EFSNet.from_preset(model_file), calibration)
    save_model(model, preset / "model.keras")
    facts = asdict(calibration)
    rules, looks = facts.pop("rules"), facts.pop("looks")
    card = {
        "postprocess": rules,
        "calibration": facts,
        "looks": looks,
        "images_seen": read_seen(model_file),
    }
    write_text(preset / "card.json", json.dumps(card, indent=2) + "\n", durable=True)


def _balance(sources: Sequence[str | None]) -> np.ndarray:
    """Gives weights of sum 1 with the same sum for each source."""
    _, index, counts = np.unique(
        [source or "" for source in sources], return_inverse=True, return_counts=True
    )
    weights: np.ndarray = 1 / (len(counts) * counts[index])
    return weights


def _by_source(
    samples: Sequence[Sample], images: Sequence[np.ndarray]
) -> dict[str, list[np.ndarray]]:
    parts: dict[str, list[np.ndarray]] = {}
    for sample, image in zip(samples, images, strict=True):
        parts.setdefault(sample.source or "unknown", []).append(image)
    return parts


def _fit_malignancy(outputs: Sequence[RawOutput]) -> Malignancy:
    malignant = [o for o in outputs if o.sample.label == LABELS[MALIGNANT]]
    return fit_malignancy(
        [float(output.probabilities[MALIGNANT]) for output in malignant],
        [output.sample.person or output.sample.stem for output in malignant],
    )


def _fit_temperature(
    classes: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> float:
    def negative_log_likelihood(log_temperature: float) -> float:
        sharpened = _sharpen(classes, np.exp(log_temperature))
        return -float(weights @ _log(sharpened[np.arange(len(labels)), labels]))

    found = minimize_scalar(negative_log_likelihood, bounds=(-2, 2), method="bounded")
    return float(np.exp(found.x))


def _sharpen(classes: np.ndarray, temperature: float) -> np.ndarray:
    scaled = _log(classes) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


Choice = tuple[float, float, float | None]
"""Mask threshold, smallest lesion, normal gate."""


def _score(
    outputs: Sequence[RawOutput], classes: np.ndarray, weights: np.ndarray
) -> Iterator[tuple[Choice, float]]:
    """Gives the mean Dice of every choice."""
    normal = classes[:, NORMAL]
    called_normal = classes.argmax(axis=1) == NORMAL
    truths = [load_mask(o.sample, o.grey.shape) for o in outputs]
    truth = np.array([mask.sum() for mask in truths])
    for threshold in THRESHOLDS:
        pairs = zip(outputs, truths, strict=True)
        counts = np.array([_count(output, t, threshold) for output, t in pairs])
        for at, gate in product(range(len(LESION_FRACTIONS)), NORMAL_GATES):
            kept = ~called_normal | (normal < (2 if gate is None else gate))
            shared, predicted = (counts[:, at] * kept[:, np.newaxis]).T
            _, dice = overlap_from_counts(shared, truth, predicted)
            mean = float(weights @ keras.ops.convert_to_numpy(dice))
            yield (threshold, LESION_FRACTIONS[at], gate), mean


def _count(output: RawOutput, truth: np.ndarray, threshold: float) -> np.ndarray:
    """Counts the shared and the predicted pixels for each smallest lesion.

    Returns:
        float `(len(LESION_FRACTIONS), 2)`.
    """
    shifted, shape = _shift(output.mask, threshold), output.grey.shape
    image = resize_image(output.grey, shifted.shape)
    rules = Postprocess()
    mask = postprocess(shifted, output.probabilities, shape, rules, image).mask
    part, count = label(mask, np.ones((3, 3)))
    inside = part[mask] - 1
    area = np.bincount(inside, minlength=count)
    shared = np.bincount(inside, weights=truth[mask], minlength=count)
    kept = area >= np.array(LESION_FRACTIONS)[:, np.newaxis] * mask.size
    return np.stack([kept @ shared, kept @ area], axis=1)


def _shift(mask: np.ndarray, threshold: float) -> np.ndarray:
    """Shifts a map's logits so that the threshold becomes 0.5."""
    shifted = 1 / (1 + np.exp(_logit(threshold) - _logit(mask)))
    return shifted.astype(np.float32)


def _judge(
    outputs: Sequence[RawOutput], rules: Postprocess
) -> tuple[float, float | None]:
    """Gives the fractions of all images and of the wrong ones that are referred."""
    cases = [score_output(output, rules, "B") for output in outputs]
    table = make_columns([case.score for case in cases])
    wrong = find_errors(table)
    errors = float(table.referred[wrong].mean()) if wrong.any() else None
    return float(table.referred.mean()), errors


def _logit(probability: Any) -> Any:
    probability = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.log(probability / (1 - probability))


def _log(probability: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probability.astype(np.float64), 1e-12))


def main() -> None:
    parser = argparse.ArgumentParser(description="Calibrate a model for shipping.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--split", type=Path, nargs="+", required=True)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--allow-seen", action="store_true")
    options = parser.parse_args()
    split = read_split(read_datasets(options.data), options.split, options.fold)
    refuse_seen(options.model, split.validation, "validation", allow=options.allow_seen)
    calibration = calibrate(options.model, split.validation, split.train)
    write_preset(options.model, calibration, options.out)
    facts = asdict(replace(calibration, looks={}))
    facts["rules"]["refer"].pop("look")
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
