"""Evaluates a model on a subset: the per-image table, metrics.json and the plots.

Protocols B and C compare masks at each image's own size, postprocessed. Protocol A,
for comparison with published tables, resizes image and truth to 256 x 256 and cuts the
raw probability at 0.5. `scores.compute_metrics` defines the metrics.
"""

import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

from keras_efsnet.images.grey import resize_image, resize_mask
from keras_efsnet.images.reading import read_image
from keras_efsnet.labels import CLASS, MASK, NORMAL
from keras_efsnet.prediction.postprocess import Postprocess, postprocess
from keras_efsnet.prediction.predictor import Predictor
from keras_efsnet.prediction.referral import mask_margin
from keras_efsnet.training.breakdown import (
    average_sources,
    compute_by_source,
    compute_subgroups,
)
from keras_efsnet.training.case_pictures import Case, pick_cases
from keras_efsnet.training.datasets.sample import Sample, check_known, load_mask
from keras_efsnet.training.patients import compute_by_patient
from keras_efsnet.training.per_image import (
    UNKNOWN_SOURCE,
    ImageScore,
    make_columns,
    write_table,
)
from keras_efsnet.training.plots import CASES, CHARTS, write_plots
from keras_efsnet.training.scores import BATCH, compute_metrics

PROTOCOLS = ("A", "B", "C")
PUBLISHED_GRID = (256, 256)


def evaluate(
    predictor: Predictor,
    samples: Sequence[Sample],
    *,
    split_digest: str,
    split_name: str,
    subset: str,
    model_name: str,
    protocol: str,
    out: Path,
    seen: int | None = None,
    subgroups: Mapping[str, Collection[str]] | None = None,
    groups: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Runs a model on labelled images and writes metrics, the table and plots.

    Args:
        predictor: the model, from `keras_efsnet.prediction.loading.load_predictor`.
        samples: the subset's images, in file order.
        split_digest: SHA-256 of the split.
        split_name: the split's name, such as that of its file.
        subset: "train", "validation" or "test".
        model_name: the model's name or file.
        protocol: "A", "B" or "C", see above.
        out: folder for metrics.json, per_image.csv and plots; written at the end.
        seen: how many of the images trained the model; None if that is unknown.
        subgroups: stems by the name of a subgroup, from `splits.read_subgroups`; those
            of lesion sizes are added.
        groups: the group of an image by its stem, from `splits.name_groups`, for the
            intervals. Images that are not in it are grouped by patient where known.
        progress: called with the number of finished images and of all images.

    Returns:
        The content of metrics.json: the metrics of all images; under `sources` those of
        each source, under `mean_over_sources` their mean (`breakdown`), under
        `patients` those of one answer for each patient (`patients`), and under
        `subgroups` those of each subgroup that has images.

    Raises:
        OSError: a file cannot be read, or `out` cannot be written.
        ValueError: there is no sample, the protocol is unknown, a truth is missing
            (`check_truth`), or a file is not an image or mask.
    """
    _check(samples, subset, protocol)
    check_truth(samples, predictor.rules)
    out.mkdir(parents=True, exist_ok=True)
    # Made first, so that a folder without write access fails early.
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=out) as folder:
        rows: list[ImageScore] = []
        for output in run_network(predictor, samples):
            case = score_output(output, predictor.rules, protocol)
            group = (groups or {}).get(case.score.stem, case.score.group)
            rows.append(replace(case.score, group=group))
            if progress:
                progress(len(rows), len(samples))
        sources = compute_by_source(rows)
        metrics = {
            **compute_metrics(rows),
            "split": {"name": split_name, "digest": split_digest},
            "subset": subset,
            "model": model_name,
            "date": date.today().isoformat(),
            "protocol": protocol,
            "seen": seen,
            "sources": sources,
            "mean_over_sources": average_sources(sources),
            "patients": compute_by_patient(rows),
            "subgroups": compute_subgroups(rows, subgroups or {}),
        }
        unfinished = Path(folder)
        cases = _show_cases(predictor, samples, rows, protocol)
        write_plots(rows, sources, cases, unfinished)
        write_table(rows, unfinished / "per_image.csv")
        text = json.dumps(metrics, indent=2, allow_nan=False)
        (unfinished / "metrics.json").write_text(text + "\n", encoding="utf-8")
        for name in (*CHARTS, *CASES):  # of an earlier evaluation
            (out / f"{name}.png").unlink(missing_ok=True)
        for path in sorted(unfinished.iterdir()):
            path.replace(out / path.name)
    return metrics


def hd95(truth: np.ndarray, prediction: np.ndarray) -> float | None:
    """Computes the 95th percentile Hausdorff distance between two masks' outlines.

    Outline pixels are lesion pixels at the image's border or with one of 4 neighbours
    outside the lesion. Each outline gives the 95th percentile of its pixels' Euclidean
    distances to the other outline; the result is the larger one.

    Args:
        truth, prediction: bool `(height, width)`.

    Returns:
        Pixels; the image's diagonal if only the prediction is empty; None if the truth
        is empty.

    Reference: Maier-Hein et al., Nature Methods 21, 2024 (Metrics reloaded), HD95.
    """
    if not truth.any():
        return None
    if not prediction.any():
        return float(np.hypot(*truth.shape))
    # Only the box around both masks is needed.
    box = _bounding_box(truth | prediction)
    one, other = _outline(truth[box]), _outline(prediction[box])
    return max(_directed_95(one, other), _directed_95(other, one))


@dataclass(frozen=True, eq=False)
class RawOutput:
    """A network's output for one sample, before any threshold.

    Attributes:
        grey: the sample's pixels, uint8 `(height, width)`.
        mask: probability of lesion, float32 `(h, w)` at the network's size.
        probabilities: of each class in the order of the model's labels, float32
            `(classes,)`.
    """

    sample: Sample
    grey: np.ndarray
    mask: np.ndarray
    probabilities: np.ndarray


def run_network(predictor: Predictor, samples: Sequence[Sample]) -> Iterator[RawOutput]:
    """Runs a network on samples in their order, in batches of 8.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not an image.
    """
    for start in range(0, len(samples), BATCH):
        batch = samples[start : start + BATCH]
        greys = [read_image(sample.image) for sample in batch]
        inputs = np.stack([resize_image(grey, predictor.size) for grey in greys])
        outputs = predictor(inputs.astype(np.float32)[..., np.newaxis])
        masks, classes = np.asarray(outputs["mask"]), np.asarray(outputs["class"])
        for row in zip(batch, greys, masks[..., 0], classes, strict=True):
            yield RawOutput(*row)


def score_output(output: RawOutput, rules: Postprocess, protocol: str) -> Case:
    """Compares one output with the truth, with protocol A or B (see above).

    Raises:
        OSError, ValueError: a mask file cannot be read, or has another size.
    """
    grey = output.grey
    truth = np.zeros(grey.shape, bool)
    if MASK in rules.tasks:
        truth = load_mask(output.sample, grey.shape)
    image = resize_image(grey, output.mask.shape)
    if protocol == "A":
        grey = resize_image(grey, PUBLISHED_GRID)
        truth = resize_mask(truth, PUBLISHED_GRID)
    found = postprocess(output.mask, output.probabilities, grey.shape, rules, image)
    prediction = found.mask
    if protocol == "A" and MASK in rules.tasks:
        prediction = found.probability > 0.5
    return _case(output, rules, grey, truth, prediction, found.refer)


def check_truth(samples: Sequence[Sample], rules: Postprocess) -> None:
    """Checks that the truth of a model's outputs is known.

    Raises:
        ValueError: for a model with classes, an image without a class or of another
            one; for a model with a mask, a tumour image without a mask.
    """
    if rules.labels:
        check_known(samples, rules.labels)
    for sample in samples:
        if CLASS in rules.tasks and sample.label is None:
            raise ValueError(
                f"{sample.image}: evaluation needs the class of every image; add it."
            )
        if MASK in rules.tasks and sample.label != NORMAL and not sample.masks:
            raise ValueError(
                f"{sample.image}: evaluation needs a mask for every tumour image; add "
                f"{sample.stem}_mask.png."
            )


def _check(samples: Sequence[Sample], subset: str, protocol: str) -> None:
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be A, B or C, got {protocol}.")
    if not samples:
        raise ValueError(f"the {subset} subset has no image; choose another one.")


def _case(
    output: RawOutput,
    rules: Postprocess,
    grey: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    refer: tuple[str, ...],
) -> Case:
    height, width = grey.shape
    score = ImageScore(
        stem=output.sample.stem,
        source=output.sample.source or UNKNOWN_SOURCE,
        group=output.sample.person or output.sample.stem,
        label=output.sample.label or "",
        probabilities=tuple(map(float, output.probabilities if rules.labels else ())),
        height=height,
        width=width,
        truth_px=int(truth.sum()),
        predicted_px=int(prediction.sum()),
        intersection_px=int((truth & prediction).sum()),
        hd95=hd95(truth, prediction),
        mask_peak=float(output.mask.max()),
        mask_margin=mask_margin(output.mask),
        refer=refer,
        labels=rules.labels,
        tasks=rules.tasks,
    )
    return Case(score, float(make_columns([score]).dice[0]), grey, truth, prediction)


def _show_cases(
    predictor: Predictor,
    samples: Sequence[Sample],
    rows: Sequence[ImageScore],
    protocol: str,
) -> dict[str, list[Case]]:
    """Runs the model again on the picked images, as not all fit into memory."""
    picked = pick_cases(rows)
    places = sorted(set(chain.from_iterable(picked.values())))
    outputs = run_network(predictor, [samples[place] for place in places])
    cases = {
        place: score_output(output, predictor.rules, protocol)
        for place, output in zip(places, outputs, strict=True)
    }
    return {name: [cases[place] for place in shown] for name, shown in picked.items()}


def _bounding_box(mask: np.ndarray) -> tuple[slice, slice]:
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _outline(mask: np.ndarray) -> np.ndarray:
    return mask & ~binary_erosion(mask)


def _directed_95(outline: np.ndarray, other: np.ndarray) -> float:
    distances = distance_transform_edt(~other)[outline]
    return float(np.percentile(distances, 95))
