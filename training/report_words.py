"""Says in words what an evaluation found, from metrics.json of any version."""

from collections.abc import Iterator
from typing import Any

from keras_efsnet.training.report_tables import format_number
from keras_efsnet.training.scores import S_DETECT

PERCENT = {
    "missed": "Missed lesions (IoU below 0.1)",
    "normal_false_positive_rate": "Normal images with a false mask",
    "accuracy": "Images with the right class",
    "referred": "Images referred to a person",
    "errors_referred": "Wrong answers that are referred",
}
NUMBERS = {
    "dice_tumour": "Mean Dice of the images with a lesion",
    "auroc_malignant_benign": "AUROC of malignant against benign",
    "sensitivity_at_90_specificity": (
        "Sensitivity for malignant lesions at 90\N{NO-BREAK SPACE}% specificity"
    ),
    "specificity_at_90_sensitivity": "Specificity at 90\N{NO-BREAK SPACE}% sensitivity",
}
FOUND = {
    "mask": ("dice_tumour", "missed", "normal_false_positive_rate"),
    "class": (
        *("accuracy", "auroc_malignant_benign", "sensitivity_at_90_specificity"),
        "specificity_at_90_sensitivity",
    ),
    "refer": ("referred", "errors_referred"),
}
"""The metrics that the report opens with."""


def describe_evaluation(metrics: dict[str, Any]) -> str:
    """Says what was evaluated on which images, and when."""
    when = f" on {metrics['date']}" if "date" in metrics else ""
    split = metrics["split"]["name"]
    whole = split == "none"
    part = "all" if whole else f"the {metrics['subset']} subset of {split},"
    groups = metrics.get("groups", metrics["n"])
    people = f" of {groups} patients or scans" if groups < metrics["n"] else ""
    sources = " and ".join(metrics.get("sources", {}))
    return (
        f"{metrics['model']} was evaluated{when} on {part} "
        f"{metrics['n']} images{people}{f' from {sources}' if sources else ''}, by "
        f"protocol {metrics['protocol']}."
    )


def describe_findings(metrics: dict[str, Any]) -> Iterator[str]:
    """Says the main figures, one in a sentence."""
    if seen := metrics.get("seen"):
        yield (
            f"{seen} of the images trained the model, so the figures are too good for "
            "new images."
        )
    for output, names in FOUND.items():
        for name in names:
            if _is_known(metrics, output, name):
                yield _say(metrics, output, name)
        if output == "class":
            yield from _compare(metrics)


def _compare(metrics: dict[str, Any]) -> Iterator[str]:
    """Says what patients have instead of images, and S-Detect instead of the model."""
    patients = metrics.get("patients") or {}
    if _is_known(patients, "class", "auroc_malignant_benign"):
        yield f"By patient or scan: {_say(patients, 'class', 'auroc_malignant_benign')}"
    if _is_known(metrics, "class", "sensitivity_at_90_specificity"):
        sensitivity, specificity = (value for value, *_ in S_DETECT.values())
        yield (
            "For comparison: S-Detect, a commercial system, has a sensitivity of "
            f"{sensitivity:.2f} at a specificity of {specificity:.2f} (pooled from 11 "
            "studies with other images; Wang and Meng, Medicine 101(34), 2022)."
        )


def _is_known(metrics: dict[str, Any], output: str, name: str) -> bool:
    return metrics.get(output, {}).get(name) is not None


def _say(metrics: dict[str, Any], output: str, name: str) -> str:
    part = metrics[output]
    interval = part[f"{name}_ci"]
    ends = " to ".join(_figure(name, end) for end in interval or ())
    sources = metrics.get("sources", {})
    values = {
        source: each.get(output, {}).get(name) for source, each in sources.items()
    }
    known = [f"{s} {_figure(name, v)}" for s, v in values.items() if v is not None]
    return (
        f"{PERCENT.get(name) or NUMBERS[name]}: {_figure(name, part[name])}"
        f"{f' ({ends})' if ends else ''}"
        f"{'; ' + ', '.join(known) if len(sources) > 1 else ''}."
    )


def _figure(name: str, value: float) -> str:
    if name in PERCENT:
        return f"{100 * value:.0f}\N{NO-BREAK SPACE}%"
    return format_number(name, value, 2)
