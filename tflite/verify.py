"""Compares an exported network with its reference on labelled images.

It measures the difference of the raw outputs and of the metrics of `efsnet evaluate`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keras_efsnet.labels import CLASS, MASK
from keras_efsnet.models.metrics import overlap_from_counts
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.prediction.predictor import Predictor
from keras_efsnet.training.datasets.sample import Sample
from keras_efsnet.training.evaluate import (
    RawOutput,
    check_truth,
    run_network,
    score_output,
)
from keras_efsnet.training.per_image import ImageScore
from keras_efsnet.training.scores import compute_metrics

PROTOCOL = "B"
"""Masks are compared at each image's own size."""


@dataclass(frozen=True)
class Limits:
    """Allowed differences between a candidate and its reference.

    Args:
        dice_loss: largest allowed fall of the mean Dice of tumour images, in [0, 1].
        class_agreement: least fraction of images with the same class, in [0, 1].

    Raises:
        ValueError: a number is outside its range.
    """

    dice_loss: float = 0.01
    class_agreement: float = 0.97

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise ValueError(
                    f"{name} must be a fraction in [0, 1], got {value}; the default is "
                    f"{getattr(type(self), name)}."
                )


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Verification:
    """Differences between a candidate and its reference.

    Attributes:
        images: number of images compared.
        mask_mean, mask_worst: mean and largest absolute difference of the lesion
            probability, over all pixels at the network's size.
        class_mean, class_worst: the same for the class probabilities.
        mask_dice: mean Dice of the two masks, cut at 0.5 at the network's size; 1 for
            two empty masks.
        class_agreement: fraction of images with the same most probable class; None if
            the model has no classes.
        dice_loss: the reference's mean Dice of tumour images minus the candidate's;
            None if the model has no mask.
        reference, candidate: their metrics, see `training.scores.compute_metrics`.
        failures: a sentence for each limit that is exceeded.
    """

    images: int
    mask_mean: float
    mask_worst: float
    class_mean: float
    class_worst: float
    mask_dice: float
    class_agreement: float | None
    dice_loss: float | None
    reference: dict[str, Any]
    candidate: dict[str, Any]
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.failures


@dataclass(frozen=True)
class _Comparison:
    """One image's differences; pixels are counted at the network's size."""

    score: ImageScore
    mask_mean: float
    mask_worst: float
    class_mean: float
    class_worst: float
    reference_px: int
    candidate_px: int
    shared_px: int
    same_class: bool


def verify(
    reference: Predictor,
    candidates: Mapping[str, Predictor],
    samples: Sequence[Sample],
    *,
    limits: Limits = DEFAULT_LIMITS,
) -> dict[str, Verification]:
    """Compares networks with their reference on labelled images.

    All networks use the reference's postprocess, so only the networks differ.

    Args:
        reference: usually the trained Keras model.
        candidates: the networks to compare, by name.
        samples: labelled images, at least one with a lesion if the model has a mask.
        limits: allowed differences.

    Returns:
        A verification for each candidate, by its name.

    Raises:
        OSError: a file cannot be read.
        ValueError: no sample has a lesion, a truth is missing, a file is not an image
            or mask, or the networks have different sizes.
    """
    _check(reference, candidates, samples)
    expected_scores: list[ImageScore] = []
    comparisons: dict[str, list[_Comparison]] = {name: [] for name in candidates}
    networks = (reference, *candidates.values())
    for outputs in zip(*(run_network(n, samples) for n in networks), strict=True):
        expected, *found = outputs
        expected_scores.append(_score(expected, reference.rules))
        for rows, output in zip(comparisons.values(), found, strict=True):
            rows.append(_compare(expected, output, reference.rules))
    metrics = compute_metrics(expected_scores)
    if MASK in reference.rules.tasks and metrics["mask"]["dice_tumour"] is None:
        raise ValueError("verification needs an image with a lesion; add tumours.")
    return {name: _judge(metrics, rows, limits) for name, rows in comparisons.items()}


def _check(
    reference: Predictor, candidates: Mapping[str, Predictor], samples: Sequence[Sample]
) -> None:
    if not samples:
        raise ValueError("verification needs labelled images, got none; add samples.")
    check_truth(samples, reference.rules)
    for name, candidate in candidates.items():
        if candidate.size != reference.size:
            raise ValueError(
                f"{name}: its size is {candidate.size}, but the reference's is "
                f"{reference.size}; verify it against a model of its own size."
            )


def _score(output: RawOutput, rules: Postprocess) -> ImageScore:
    return score_output(output, rules, PROTOCOL).score


def _compare(expected: RawOutput, output: RawOutput, rules: Postprocess) -> _Comparison:
    mask = np.abs(output.mask - expected.mask)
    classes = np.abs(output.probabilities - expected.probabilities)
    cut, expected_cut = output.mask > 0.5, expected.mask > 0.5
    return _Comparison(
        score=_score(output, rules),
        mask_mean=float(mask.mean(dtype=np.float64)),
        mask_worst=float(mask.max()),
        class_mean=float(classes.mean(dtype=np.float64)),
        class_worst=float(classes.max()),
        reference_px=int(expected_cut.sum()),
        candidate_px=int(cut.sum()),
        shared_px=int((cut & expected_cut).sum()),
        same_class=bool(
            output.probabilities.argmax() == expected.probabilities.argmax()
        ),
    )


def _judge(
    reference: dict[str, Any], rows: Sequence[_Comparison], limits: Limits
) -> Verification:
    candidate = compute_metrics([row.score for row in rows])
    loss = agreement = None
    if MASK in rows[0].score.tasks:
        loss = reference["mask"]["dice_tumour"] - candidate["mask"]["dice_tumour"]
    if CLASS in rows[0].score.tasks:
        agreement = float(np.mean([row.same_class for row in rows]))
    return Verification(
        images=len(rows),
        mask_mean=float(np.mean([row.mask_mean for row in rows])),
        mask_worst=max(row.mask_worst for row in rows),
        class_mean=float(np.mean([row.class_mean for row in rows])),
        class_worst=max(row.class_worst for row in rows),
        mask_dice=_mean_dice(rows),
        class_agreement=agreement,
        dice_loss=loss,
        reference=reference,
        candidate=candidate,
        failures=tuple(_failures(loss, agreement, limits)),
    )


def _mean_dice(rows: Sequence[_Comparison]) -> float:
    shared = np.array([row.shared_px for row in rows])
    reference = np.array([row.reference_px for row in rows])
    candidate = np.array([row.candidate_px for row in rows])
    _, dice = overlap_from_counts(shared, reference, candidate)
    return float(ops.convert_to_numpy(dice).mean(dtype=np.float64))


def _failures(loss: float | None, agreement: float | None, limits: Limits) -> list[str]:
    failures = []
    if loss is not None and loss > limits.dice_loss:
        failures.append(
            f"tumour Dice falls by {loss:.4f}, more than {limits.dice_loss:g}"
        )
    if agreement is not None and agreement < limits.class_agreement:
        failures.append(
            f"{agreement:.2%} of the classes stay, fewer than "
            f"{limits.class_agreement:.2%}"
        )
    return failures
