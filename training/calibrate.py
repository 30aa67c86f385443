"""Calibrates a trained model on validation images, for `efsnet calibrate`.

The temperature of the classes and the threshold of the mask are folded into the
network's last layers. So every exported file gives calibrated probabilities and cuts
masks at 0.5. Three rules go to the card and are applied by `prediction`: the smallest
lesion, the probability of normal that empties the mask, and referral (`fit_referral`).
Each source counts as much as any other, however many images it has. What needs a class
or an output that the model lacks is left out.

Reference: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017
(temperature).
"""

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
from keras_efsnet.labels import CLASS, MALIGNANT, MASK, NORMAL
from keras_efsnet.models.efsnet import EFSNet
from keras_efsnet.models.metrics import overlap_from_counts
from keras_efsnet.models.presets import check_card_folder, new_folder
from keras_efsnet.models.saving import save_model
from keras_efsnet.prediction.appearance import Appearance
from keras_efsnet.prediction.keras_runtime import KerasPredictor
from keras_efsnet.prediction.postprocess import Postprocess, postprocess
from keras_efsnet.training.datasets.sample import Sample, load_mask
from keras_efsnet.training.datasets.splits import Split
from keras_efsnet.training.evaluate import (
    RawOutput,
    check_truth,
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
from keras_efsnet.training.seen import add_seen, read_seen

THRESHOLDS = tuple(np.arange(0.25, 0.8, 0.05).round(2).tolist())
LESION_FRACTIONS = (0.0, 0.001, 0.002, 0.004, 0.008)
NORMAL_GATES = (None, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
"""Values of the grid search."""

NEUTRAL = (0.5, 0.0, None)
"""The threshold, fraction and gate that change nothing; they win ties."""


@dataclass(frozen=True)
class Calibration:
    """Fitted values and their effect on the validation images.

    Attributes:
        temperature: divides the class logits; None without classes.
        mask_threshold: probability of lesion that becomes 0.5; None without a mask.
        rules: the smallest lesion, the normal gate and the referral rule.
        ece: expected calibration error of the classes, (before, after); None without.
        dice: mean Dice of the images of each source at their own size, averaged over
            the sources, (before, after); None without a mask.
        malignancy: how the limit of malignancy was found; None without this class.
        looks: the appearance of each source's training images, for `efsnet audit`.
        referred: fraction of images that are referred.
        errors_referred: the same for images with a wrong answer (see
            `scores.find_errors`); None without such images.
    """

    temperature: float | None
    mask_threshold: float | None
    rules: Postprocess
    ece: tuple[float, float] | None
    dice: tuple[float, float] | None
    malignancy: Malignancy | None
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
        ValueError: a truth is missing, or a file is not an image or mask.
    """
    predictor = KerasPredictor(model_file)
    own = predictor.rules
    plain = Postprocess(labels=own.labels, tasks=own.tasks)
    check_truth(samples, plain)
    outputs = list(run_network(predictor, samples))
    weights = _balance([sample.source for sample in samples])
    temperature, ece, outputs = _calibrate_classes(outputs, plain, weights)
    dice = dict(_score(outputs, plain, weights))
    best = max(dice, key=lambda choice: (round(dice[choice], 4), choice == NEUTRAL))
    threshold, fraction, gate = best
    folded = [replace(o, mask=_shift(o.mask, threshold)) for o in outputs]
    rules = replace(plain, minimum_lesion_fraction=fraction, normal_gate=gate)
    images = [resize_image(read_image(s.image), predictor.size) for s in training]
    held_out = [resize_image(output.grey, predictor.size) for output in folded]
    malignancy = _fit_malignancy(folded, rules)
    look = fit_appearance(images, held_out)
    limit = malignancy.limit if malignancy else 1.0
    refer = fit_referral(folded, rules, look, limit)
    rules = replace(rules, refer=refer)
    referred, errors_referred = _judge(folded, rules)
    has_mask = MASK in rules.tasks
    return Calibration(
        temperature=temperature,
        mask_threshold=threshold if has_mask else None,
        rules=rules,
        ece=ece,
        dice=(dice[NEUTRAL], dice[best]) if has_mask else None,
        malignancy=malignancy,
        looks=fit_looks(_by_source(training, images), _by_source(samples, held_out)),
        referred=referred,
        errors_referred=errors_referred,
    )


def fold(model: EFSNet, calibration: Calibration) -> EFSNet:
    """Folds temperature and threshold into a model's last layers, in place."""
    head = model.get_layer("class_logits")
    if calibration.temperature is not None:
        head.set_weights([w / calibration.temperature for w in head.get_weights()])
    mask = model.get_layer("mask_logits")
    if calibration.mask_threshold is not None:
        kernel, bias = mask.get_weights()
        mask.set_weights([kernel, bias - _logit(calibration.mask_threshold)])
    return model


def prepare_preset(preset: str | Path) -> Path:
    """Makes the folder of a new preset with a card.

    Raises:
        OSError: it cannot be made.
        ValueError: it holds files of other weights.
    """
    check_card_folder(Path(preset))
    return new_folder(preset)


def write_preset(
    model_file: Path,
    calibration: Calibration,
    preset: Path,
    split: Split | None = None,
) -> None:
    """Writes model.keras and a card.json with rules, which `card` completes later.

    The card's `images_seen` are those of the model, and those of `split`.
    """
    seen = read_seen(model_file)
    if split:
        seen = add_seen(seen, split.train, split.validation)
    preset.mkdir(parents=True, exist_ok=True)
    model = fold(EFSNet.from_preset(model_file), calibration)
    save_model(model, preset / "model.keras")
    facts = asdict(calibration)
    looks = facts.pop("looks")
    del facts["rules"]
    rules = calibration.rules
    card = {
        "labels": list(rules.labels),
        "tasks": list(rules.tasks),
        "postprocess": rules.to_json(),
        "calibration": facts,
        "looks": looks,
        "images_seen": seen,
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


def _calibrate_classes(
    outputs: list[RawOutput], rules: Postprocess, weights: np.ndarray
) -> tuple[float | None, tuple[float, float] | None, list[RawOutput]]:
    """Gives the temperature, the calibration errors and the calibrated outputs."""
    if CLASS not in rules.tasks:
        return None, None, outputs
    classes = np.stack([output.probabilities for output in outputs])
    labels = np.array([rules.labels.index(str(o.sample.label)) for o in outputs])
    temperature = _fit_temperature(classes, labels, weights)
    calibrated = _sharpen(classes, temperature)
    before, after = (
        expected_calibration_error(values, labels) for values in (classes, calibrated)
    )
    pairs = zip(outputs, calibrated, strict=True)
    sharpened = [replace(output, probabilities=row) for output, row in pairs]
    return temperature, (before, after), sharpened


def _fit_malignancy(
    outputs: Sequence[RawOutput], rules: Postprocess
) -> Malignancy | None:
    if MALIGNANT not in rules.labels:
        return None
    at = rules.labels.index(MALIGNANT)
    malignant = [o for o in outputs if o.sample.label == MALIGNANT]
    return fit_malignancy(
        [float(output.probabilities[at]) for output in malignant],
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
    outputs: Sequence[RawOutput], rules: Postprocess, weights: np.ndarray
) -> Iterator[tuple[Choice, float]]:
    """Gives the mean Dice of every choice; of the neutral one without a mask."""
    if MASK not in rules.tasks:
        yield NEUTRAL, 0.0
        return
    gates, normal, called_normal = _find_normal(outputs, rules)
    truths = [load_mask(o.sample, o.grey.shape) for o in outputs]
    truth = np.array([mask.sum() for mask in truths])
    for threshold in THRESHOLDS:
        pairs = zip(outputs, truths, strict=True)
        counts = np.array([_count(output, rules, t, threshold) for output, t in pairs])
        for at, gate in product(range(len(LESION_FRACTIONS)), gates):
            kept = ~called_normal | (normal < (2 if gate is None else gate))
            shared, predicted = (counts[:, at] * kept[:, np.newaxis]).T
            _, dice = overlap_from_counts(shared, truth, predicted)
            mean = float(weights @ keras.ops.convert_to_numpy(dice))
            yield (threshold, LESION_FRACTIONS[at], gate), mean


def _find_normal(
    outputs: Sequence[RawOutput], rules: Postprocess
) -> tuple[Sequence[float | None], np.ndarray, np.ndarray]:
    """Gives the gates to try, P(normal), and which images are called normal."""
    if NORMAL not in rules.labels:
        return (None,), np.zeros(len(outputs)), np.zeros(len(outputs), bool)
    classes = np.stack([output.probabilities for output in outputs])
    at = rules.labels.index(NORMAL)
    return NORMAL_GATES, classes[:, at], classes.argmax(axis=1) == at


def _count(
    output: RawOutput, rules: Postprocess, truth: np.ndarray, threshold: float
) -> np.ndarray:
    """Counts the shared and the predicted pixels for each smallest lesion.

    Returns:
        float `(len(LESION_FRACTIONS), 2)`.
    """
    shifted, shape = _shift(output.mask, threshold), output.grey.shape
    image = resize_image(output.grey, shifted.shape)
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
