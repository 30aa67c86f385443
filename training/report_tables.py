"""Makes the tables of the report from metrics.json, those of earlier versions too."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any

from keras_efsnet.training.intervals import TOO_FEW, has_too_few

FIGURES = {
    "iou": "IoU, all images",
    "dice": "Dice, all images",
    "iou_tumour": "IoU, images with a lesion",
    "dice_tumour": "Dice, images with a lesion",
    "iou_pooled": "IoU of all pixels together",
    "iou_batch8": "IoU of batches of 8 tumour images",
    "f1_batch8": "F1 of batches of 8 tumour images",
    "hd95_tumour": "HD95 in pixels, images with a lesion",
    "missed": "missed lesions (IoU below 0.1)",
    "normal_false_positive_rate": "normal images with a false mask",
    "accuracy": "accuracy of the class",
    "balanced_accuracy": "balanced accuracy",
    "auroc_macro": "AUROC, mean of the classes",
    "auroc_malignant": "AUROC, malignant against the rest",
    "auroc_malignant_benign": "AUROC, malignant against benign",
    "auroc_lesion": "AUROC, lesion against normal, by the class",
    "auroc_lesion_mask_peak": "AUROC, lesion against normal, by the mask",
    "sensitivity_malignant": "sensitivity, malignant",
    "specificity_malignant": "specificity, malignant",
    "sensitivity_at_90_specificity": (
        "sensitivity at 90 % specificity, malignant against benign"
    ),
    "specificity_at_90_sensitivity": (
        "specificity at 90 % sensitivity, malignant against benign"
    ),
    "ece": "expected calibration error",
    "referred": "images referred to a person",
    "errors_referred": "wrong answers that are referred",
    "class_error_area": "area under risk-coverage, wrong class",
    "accuracy_kept": "accuracy of the class, not referred",
    "accuracy_referred": "accuracy of the class, referred",
    "dice_loss_area": "area under risk-coverage, 1 - Dice",
    "dice_kept": "Dice, not referred",
    "dice_referred": "Dice, referred",
}
"""Labels of the metrics in metrics.json; others are shown by their key."""

OUTPUTS = ("mask", "class", "refer")

IN_SUBGROUPS = ("dice", "dice_tumour", "accuracy", "sensitivity_malignant")

IN_PIXELS = ("hd95_tumour",)


def figures_table(metrics: dict[str, Any]) -> str:
    """Makes a table with a row for each metric of all images."""
    rows = [_metric_row(*row) for row in _estimates(metrics)]
    header = ["figure", "value", "95 % interval (bar: 0 to 1)"]
    return _note([metrics]) + html_table("numbers", "Figures", header, rows)


def sources_table(metrics: dict[str, Any]) -> str:
    """Makes a table with a column for each source and one for their mean."""
    sources = metrics.get("sources", {})
    columns = [_cells(part) for part in sources.values()]
    columns.append(_means(metrics.get("mean_over_sources", {})))
    rows = [
        [escape(label), *(column.get(name, "") for column in columns)]
        for name, label in FIGURES.items()
        if any(name in column for column in columns)
    ]
    heads = [f"{escape(name)}, {part['n']} images" for name, part in sources.items()]
    header = ["figure", *heads, "mean over sources"]
    return _note(sources.values()) + html_table("numbers", "Sources", header, rows)


def subgroups_table(subgroups: dict[str, dict[str, Any]]) -> str:
    """Makes a table with a row for each subgroup."""
    rows = []
    for name, metrics in subgroups.items():
        cells = _cells(metrics)
        found = [cells.get(figure, "") for figure in IN_SUBGROUPS]
        rows.append([escape(name), str(metrics["n"]), *found])
    header = ["subgroup", "images", *(FIGURES[figure] for figure in IN_SUBGROUPS)]
    table = html_table("numbers", "Subgroups", header, rows)
    return _note(subgroups.values()) + table


def html_table(
    kind: str, label: str, header: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """Makes a table of HTML cells that scrolls, by the keyboard too, where it is wide.

    Args:
        kind: its style.
        label: its name for screen readers.
        rows: the first cell of each is its header.
    """
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    lines = "".join(
        f'<tr><th scope="row">{first}</th>'
        f"{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        for first, *cells in rows
    )
    return (
        f'<div class="scroll" role="group" aria-label="{label}" tabindex="0">'
        f'<table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _estimates(
    metrics: dict[str, Any],
) -> Iterator[tuple[str, float, list[float] | None]]:
    """Gives the name, value and interval of each metric that is defined."""
    for output in OUTPUTS:
        group = metrics.get(output, {})
        for name, value in group.items():
            if isinstance(value, float):
                yield name, value, group[f"{name}_ci"]


def _metric_row(name: str, value: float, interval: list[float] | None) -> list[str]:
    label = escape(FIGURES.get(name, name))
    if interval is None:
        return [label, format_number(name, value), "none"]
    low, high = interval
    ends = f"{format_number(name, low)} to {format_number(name, high)}"
    if name in IN_PIXELS:
        return [label, format_number(name, value), ends]
    bar = (
        f'<div class="range"><i style="left:{low:.1%};width:{high - low:.1%}"></i>'
        f'<b style="left:calc({value:.1%} - .1rem)"></b></div>'
    )
    return [label, format_number(name, value), ends + bar]


def format_number(name: str, value: float, digits: int = 3) -> str:
    """Writes a metric's value, with one digit if it is in pixels."""
    return f"{value:.1f}" if name in IN_PIXELS else f"{value:.{digits}f}"


def _cells(metrics: dict[str, Any]) -> dict[str, str]:
    """Gives each metric with its interval, or with why it has none, by its name."""
    cells = {}
    for name, value, interval in _estimates(metrics):
        ends = " to ".join(format_number(name, end, 2) for end in interval or ())
        remark = "too few" if has_too_few(metrics) else ends
        cells[name] = format_number(name, value, 2) + (f" ({remark})" if remark else "")
    return cells


def _means(means: dict[str, Any]) -> dict[str, str]:
    """Gives the means by name, with the sources in them where these are not all."""
    cells = {}
    for part in (means.get(output, {}) for output in OUTPUTS):
        for name, value in part.items():
            if isinstance(value, float):
                used = part[f"{name}_sources"]
                names = f" ({escape(', '.join(used))})"
                cells[name] = format_number(name, value, 2)
                cells[name] += "" if used == means["sources"] else names
    return cells


def _note(parts: Iterable[dict[str, Any]]) -> str:
    """Explains "too few" if a part has too few images."""
    return f"<p>{escape(TOO_FEW)}</p>" if any(map(has_too_few, parts)) else ""
