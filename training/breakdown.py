"""Computes the metrics of each source apart, their mean, and those of subgroups."""

from bisect import bisect
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from keras_efsnet.training.per_image import ImageScore, make_columns
from keras_efsnet.training.scores import compute_metrics

SIZES = ("below 3 %", "3 to 10 %", "10 % or more")
SIZE_LIMITS = (0.03, 0.1)
"""Shares of the image's pixels. Chosen: near the thirds of the training images of BUSI
and BUS-BRA."""

Parts = dict[str, dict[str, Any]]


def compute_by_source(rows: Sequence[ImageScore]) -> Parts:
    """Computes the metrics of each source, in the order of their names."""
    sources = sorted({row.source for row in rows})
    return {
        source: compute_metrics([row for row in rows if row.source == source])
        for source in sources
    }


def average_sources(sources: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Computes the plain mean of each metric over the sources that define it.

    Each source counts the same, however many images it has. `..._sources` names the
    sources in a mean. The means have no interval.

    Args:
        sources: from `compute_by_source`.

    Returns:
        `{"sources": [...], "mask": {...}, "class": {...}, "refer": {...}}`; None where
        no source defines the metric.
    """
    means: dict[str, Any] = {"sources": list(sources)}
    for output in ("mask", "class", "refer"):
        means[output] = part = {}
        for name in next(iter(sources.values()))[output]:
            if name.endswith("_ci") or name == "confusion":
                continue
            values = {source: m[output][name] for source, m in sources.items()}
            defined = {s: value for s, value in values.items() if value is not None}
            total = sum(defined.values())
            part[name] = total / len(defined) if defined else None
            part[f"{name}_sources"] = list(defined)
    return means


def compute_subgroups(
    rows: Sequence[ImageScore], subgroups: Mapping[str, Collection[str]]
) -> Parts:
    """Computes the metrics of each subgroup that has images.

    Args:
        rows: the per-image table.
        subgroups: stems by the name of a subgroup; those of lesion sizes are added.
    """
    named = {**subgroups, **group_by_size(rows)}
    parts = {
        name: [row for row in rows if row.stem in stems]
        for name, stems in named.items()
    }
    return {name: compute_metrics(part) for name, part in parts.items() if part}


def group_by_size(rows: Sequence[ImageScore]) -> dict[str, set[str]]:
    """Groups the images with a lesion by its share of the image's pixels.

    Returns:
        Stems by the subgroup's name, such as `lesion size: below 3 %` of the image.
    """
    groups: dict[str, set[str]] = {f"lesion size: {name}": set() for name in SIZES}
    names = list(groups)
    for row, share in zip(rows, make_columns(rows).lesion_share, strict=True):
        if share:
            groups[names[bisect(SIZE_LIMITS, share)]].add(row.stem)
    return groups
