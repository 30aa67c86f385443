"""Gives each metric the 95 % interval that belongs to it, or none.

Images of one patient or scan are alike, so these groups are the unit everywhere:

- A proportion of images has a Wilson interval (`wilson`).
- A mean, an AUROC and other smooth metrics have an expanded percentile interval of
  1,000 bootstrap draws of whole groups (`bootstrap.percentile_interval`), without the
  draws in which the metric is undefined.
- There is none for metrics of which a draw says nothing: the calibration error (a draw
  repeats images, so its bins are noisier and its error is larger), and means over
  batches of the file (a draw has other batches).
- There is none from fewer than ten groups: not for a set of images with fewer, and not
  by bootstrap for a metric that is about fewer, such as an AUROC of nine normal images.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_efsnet.training.bootstrap import (
    mean,
    percentile_interval,
    weighted_auroc,
)

FEWEST_GROUPS = 10
TOO_FEW = (
    f"Too few: fewer than {FEWEST_GROUPS} patients or scans (images, where neither is "
    "known) are too few to say anything, and have no interval."
)
Z = 1.959964
"""The standard normal distribution's 97.5 % quantile."""


@dataclass(frozen=True)
class Metric:
    """A metric of a set of `n` images.

    Attributes:
        compute: gives the metric for each weighting, `(r, n)` to `(r,)`; NaN where it
            is undefined.
        about: the images it is about, bool `(n,)`; for AUROC the two kinds apart. Empty
            for a metric without an interval.
        hits: for a proportion, bool `(n,)`.
    """

    compute: Callable[[np.ndarray], np.ndarray]
    about: tuple[np.ndarray, ...] = ()
    hits: np.ndarray | None = None


def average(values: np.ndarray, over: np.ndarray) -> Metric:
    """Makes the mean of values `(n,)` over the chosen images."""
    return Metric(lambda weights: mean(values[over], weights[:, over]), (over,))


def proportion(hits: np.ndarray, over: np.ndarray) -> Metric:
    """Makes the fraction of hits, bool `(n,)`, among the chosen images."""
    return Metric(average(hits, over).compute, (over,), hits)


def ranking(
    scores: np.ndarray,
    positive: np.ndarray,
    over: np.ndarray,
    compute: Callable[..., np.ndarray] = weighted_auroc,
    **options: float,
) -> Metric:
    """Makes a metric of how scores sort positives and negatives, such as the AUROC.

    Images whose score is unknown (NaN) are left out.
    """
    over = over & ~np.isnan(scores)

    def computed(weights: np.ndarray) -> np.ndarray:
        return compute(scores[over], positive[over], weights[:, over], **options)

    return Metric(computed, (over & positive, over & ~positive))


def without_interval(value: float) -> Metric:
    """Makes a metric that is only known for the images as they are."""
    return Metric(lambda weights: np.full(len(weights), value))


def estimate(
    metrics: Mapping[str, Metric], groups: np.ndarray, draws: np.ndarray
) -> dict[str, float | list[float] | None]:
    """Computes metrics and, as `..._ci`, their 95 % intervals.

    Args:
        metrics: by name.
        groups: each image's group, numbered from 0, `(n,)`.
        draws: from `bootstrap.draw_groups`.

    Returns:
        Numbers and `[low, high]`; None if undefined.
    """
    as_is = np.ones((1, len(groups)))
    report: dict[str, Any] = {}
    for name, metric in metrics.items():
        value = float(metric.compute(as_is)[0])
        defined = np.isfinite(value)
        report[name] = value if defined else None
        report[f"{name}_ci"] = _interval(metric, groups, draws) if defined else None
    return report


def has_too_few(metrics: Mapping[str, Any]) -> bool:
    """Tells whether a part of metrics.json has too few images to say anything."""
    return metrics.get("groups", metrics["n"]) < FEWEST_GROUPS


def _interval(
    metric: Metric, groups: np.ndarray, draws: np.ndarray
) -> list[float] | None:
    fewest = min([_count(groups[over]) for over in metric.about], default=0)
    if metric.hits is not None:
        (over,) = metric.about
        enough = _count(groups) >= FEWEST_GROUPS
        return wilson(metric.hits[over], groups[over]) if enough else None
    if fewest < FEWEST_GROUPS:
        return None
    return percentile_interval(metric.compute(draws), fewest)


def wilson(hits: np.ndarray, groups: np.ndarray) -> list[float]:
    """Gives the 95 % Wilson interval of a proportion of images in groups.

    The number of images is replaced by the effective one: with so many independent
    images the proportion would vary as much as it does with these groups. It is the
    number of images where each is a group of its own, and where hits do not depend on
    the group. Where all images or none are hits nothing is known of this, so the
    effective number is that of the groups.

    Args:
        hits: bool `(n,)`, at least one image.
        groups: each image's group, numbers `(n,)`.

    Returns:
        Low and high, in [0, 1].

    Reference: Brown, Cai and DasGupta, Statistical Science 16, 2001 (Wilson); Korn and
        Graubard, Survey Methodology 24, 1998 (effective number, at most the images').
    """
    p, n = hits.mean(), float(len(hits))
    if p in (0, 1):
        effective = float(_count(groups))
    else:
        surplus = np.bincount(groups, hits - p)
        effective = n * min(1.0, n * p * (1 - p) / max(surplus @ surplus, 1e-12))
    scale = 1 + Z**2 / effective
    middle = (p + Z**2 / (2 * effective)) / scale
    spread = Z * np.sqrt(p * (1 - p) / effective + (Z / (2 * effective)) ** 2) / scale
    return [max(0.0, float(middle - spread)), min(1.0, float(middle + spread))]


def _count(groups: np.ndarray) -> int:
    return len(np.unique(groups))
