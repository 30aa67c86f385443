"""Errors, progress, tables and exit codes of the command line.

Rich is imported on use, so that a run without a terminal starts faster.
"""

import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from keras_efsnet.extras import quiet_start as quiet_start
from keras_efsnet.labels import CLASS, MASK, UNKNOWN

if TYPE_CHECKING:
    from keras_efsnet.prediction.demo import DemoResult
    from keras_efsnet.prediction.postprocess import Postprocess
    from keras_efsnet.prediction.writing import Record
    from keras_efsnet.tflite.verify import Verification
    from keras_efsnet.training.datasets.sample import Sample
    from keras_efsnet.training.datasets.verification import DataReport

DONE, SOME_FAILED, NOTHING_DONE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""


def report_error(message: str) -> None:
    typer.echo(f"error: {message}", err=True)


def is_terminal() -> bool:
    return sys.stdout.isatty() and sys.stderr.isatty()


def print_record(record: dict[str, Any], number: int, total: int) -> None:
    if "error" in record:
        report_error(record["error"])
    elif not is_terminal():
        typer.echo(f"[{number}/{total}] {_summary(record)}")


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Shows a progress bar on a terminal."""
    if not is_terminal():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    # A copy of stderr: the original is hidden while a library writes to it.
    with Progress(console=Console(file=os.fdopen(os.dup(2), "w"))) as progress:
        bar = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


@contextmanager
def live_line(text: Callable[[], str]) -> Iterator[None]:
    """Shows a line on a terminal and keeps it up to date."""
    if not is_terminal():
        yield
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(
        console=Console(stderr=True),
        get_renderable=lambda: Text(text()),
        transient=True,
    ):
        yield


@contextmanager
def log_lines(name: str) -> Iterator[None]:
    """Shows a logger's lines, even while stderr is hidden."""
    logger = logging.getLogger(name)
    level = logger.level
    with os.fdopen(os.dup(2), "w") as stderr:
        handler = logging.StreamHandler(stderr)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


@contextmanager
def epoch_lines(epochs: int) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """Shows a line per epoch and, on a terminal, a progress bar."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not is_terminal()) as progress:
        bar = progress.add_task("Training", total=epochs)

        def report(epoch: int, logs: dict[str, float]) -> None:
            progress.update(bar, completed=epoch)
            facts = [
                f"{name} {value:.4g}"
                for name, value in logs.items()
                if name != "seconds_left"
            ]
            left = time_in_words(logs["seconds_left"])
            facts += [f"{left} left"] if epoch < epochs else []
            line = f"epoch {epoch}/{epochs}: {', '.join(facts)}"
            progress.console.print(line, highlight=False)

        yield report


def time_in_words(seconds: float) -> str:
    """A time such as "40 seconds", "12 minutes" or "2 hours 5 minutes"."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} seconds"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} minutes"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} hour{'s' * (hours > 1)} {minutes} minutes"


def _class_of(record: dict[str, Any]) -> str:
    """The most probable class and its probability; empty without classes."""
    label = record["class"]
    return f"{label} {record['probabilities'][label]:.0%}" if label else ""


def _summary(record: dict[str, Any]) -> str:
    facts = [_class_of(record)] if record["class"] else []
    if (lesion := record["lesion_fraction"]) is not None:
        facts.append(f"lesion {lesion:.1%}")
    frame = f", frame {record['frame']}" if "frame" in record else ""
    refer = f", refer: {', '.join(record['refer'])}" if record["refer"] else ""
    return (
        f"{record['path']}{frame}: {', '.join(facts)}, "
        f"{record['milliseconds']:.0f} ms{refer}"
    )


def describe_limits(rules: "Postprocess") -> Iterator[str]:
    """Says what a model does not predict, a line each."""
    if CLASS not in rules.tasks:
        yield "note: the model was trained on masks alone and gives no class."
    if MASK not in rules.tasks:
        yield "note: the model was trained on classes alone and gives no mask."
    if rules.refer is None:
        yield (
            "note: the model has no refer rule, so no image is referred to a person; "
            "`efsnet calibrate` fits one."
        )


def print_seen(seen: int | None) -> None:
    """Says how many of the evaluated images trained the model; None is unknown."""
    if seen is None:
        typer.echo("warning: the model does not say what it was trained on.", err=True)
    elif seen:
        typer.echo(f"seen: {seen} of these images trained the model.")


def print_evaluation(metrics: dict[str, Any]) -> None:
    """Prints the metrics of all images, of each source and of each subgroup."""
    from keras_efsnet.training.intervals import TOO_FEW, has_too_few

    print_metrics(metrics)
    print_sources(metrics)
    print_subgroups(metrics["subgroups"])
    parts = [metrics, *metrics["sources"].values(), *metrics["subgroups"].values()]
    if any(map(has_too_few, parts)):
        typer.echo(TOO_FEW)


def print_metrics(metrics: dict[str, Any]) -> None:
    """Prints each metric with its 95 % interval."""
    rows = []
    for output in ("mask", "class", "refer"):
        figures = metrics[output]
        for name, value in figures.items():
            if isinstance(value, float):
                interval = figures[f"{name}_ci"] or ()
                ends = " to ".join(f"{end:.3f}" for end in interval)
                rows.append((output, name, f"{value:.3f}", ends))
    print_table(("output", "metric", "value", "95 % interval"), rows)


def print_sources(metrics: dict[str, Any]) -> None:
    """Prints the main metrics of each source and their mean, if there are several."""
    titles = {
        "tumour Dice": "dice_tumour",
        "missed": "missed",
        "false masks on normal": "normal_false_positive_rate",
        "AUROC malignant/benign": "auroc_malignant_benign",
        "sensitivity at 90 % specificity": "sensitivity_at_90_specificity",
        "ECE": "ece",
    }
    sources, means = metrics["sources"], metrics["mean_over_sources"]
    if len(sources) < 2:
        return
    rows = [
        (name, str(part["n"]), *(_with_interval(part, key) for key in titles.values()))
        for name, part in sources.items()
    ]
    mean = (_mean(means, key) for key in titles.values())
    rows.append(("mean over sources", str(metrics["n"]), *mean))
    print_table(("source", "images", *titles), rows)


def print_subgroups(subgroups: dict[str, Any]) -> None:
    """Prints the main metrics of each subgroup, if there are any."""
    rows = []
    for name, part in subgroups.items():
        names = ("dice", "dice_tumour", "accuracy", "referred")
        cells = (_with_interval(part, figure) for figure in names)
        rows.append((name, str(part["n"]), *cells))
    titles = ("subgroup", "images", "Dice", "tumour Dice", "accuracy", "referred")
    if rows:
        print_table(titles, rows)


def _with_interval(part: dict[str, Any], name: str) -> str:
    from keras_efsnet.training.intervals import has_too_few

    figures = {**part["mask"], **part["class"], **part["refer"]}
    value, interval = figures[name], figures[f"{name}_ci"]
    if value is None:
        return ""
    if has_too_few(part):
        return f"{value:.2f} (too few)"
    ends = " to ".join(f"{end:.2f}" for end in interval or ())
    return f"{value:.2f} ({ends})" if ends else f"{value:.2f}"


def _mean(means: dict[str, Any], name: str) -> str:
    """Shows a mean over sources, and the sources in it if these are not all."""
    figures = {**means["mask"], **means["class"], **means["refer"]}
    if figures[name] is None:
        return ""
    used = figures[f"{name}_sources"]
    only = "" if used == means["sources"] else f" ({', '.join(used)} only)"
    return f"{figures[name]:.2f}{only}"


def print_verification(results: "dict[str, Verification]") -> None:
    """Prints each file's difference from Keras, and the metrics of both."""
    kept = [("Keras", ("", "", ""), next(iter(results.values())).reference)]
    for name, result in results.items():
        differences = (
            f"{result.mask_mean:.0e}, at most {result.mask_worst:.0e}",
            f"{result.mask_dice:.4f}",
            _cell(result.class_agreement, ".1%"),
        )
        kept.append((name, differences, result.candidate))
    rows = []
    for name, differences, figures in kept:
        mask, label = figures["mask"], figures["class"]
        ends = " to ".join(f"{end:.2f}" for end in mask["dice_tumour_ci"] or ())
        dice = _cell(mask["dice_tumour"], ".4f") + (f" ({ends})" if ends else "")
        scores = (dice, _cell(label["accuracy"], ".3f"), _cell(label["ece"], ".3f"))
        rows.append((name, *differences, *scores))
    titles = ("file", "mask off by", "mask Dice", "class", "tumour Dice", "acc.", "ECE")
    print_table(titles, rows)


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def print_cells(rows: Sequence[dict[str, str]]) -> None:
    """Prints rows given as {column title: cell}."""
    print_table(tuple(rows[0]), [tuple(row.values()) for row in rows])


def print_demo(results: "list[DemoResult]") -> None:
    """Prints the true and the predicted class of each phantom."""
    rows = []
    for result in results:
        found = result.prediction
        label = str(found.label)
        probability = f"{found.probabilities[label]:.2f}"
        times = (f"{result.dice:.2f}", f"{found.milliseconds:.0f}")
        names = (result.file.name, result.label, label)
        rows.append((*names, probability, *times))
    print_table(("image", "class", "predicted", "probability", "Dice", "ms"), rows)


def print_data_report(report: "DataReport") -> None:
    """Prints each problem, then the number of problems of each kind."""
    for problem in report.problems:
        typer.echo(f"{problem.file}: {problem.kind}: {problem.detail}")
    for group in report.duplicate_groups:
        typer.echo(f"one scan: {', '.join(sample.stem for sample in group)}")
    counts = {
        "images": report.images,
        **Counter(problem.kind for problem in report.problems),
        "groups of images of one scan": len(report.duplicate_groups),
    }
    print_table(("what", "number"), [(name, str(n)) for name, n in counts.items()])


def print_folds(samples: "Sequence[Sample]", folds: Sequence[int]) -> None:
    """Prints the number of images of each class in each fold."""
    from keras_efsnet.training.datasets.sample import order_labels

    counts = Counter((fold, s.label) for s, fold in zip(samples, folds, strict=True))
    unknown = [None] if any(sample.label is None for sample in samples) else []
    labels = [*order_labels(samples), *unknown]
    rows = []
    for fold in sorted(set(folds)):
        name = "unused" if fold < 0 else str(fold)
        rows.append((name, *(str(counts[fold, label]) for label in labels)))
    print_table(("fold", *(label or UNKNOWN for label in labels)), rows)


def print_cine(rows: "Sequence[Record]", left_out: int = 0) -> None:
    """Prints the lesions that were followed over the frames of a clip."""
    from keras_efsnet.prediction.measurements import describe_size

    cells = [
        (
            str(row["track"]),
            str(row["frames_seen"]),
            f"{row['first_frame']}-{row['last_frame']}",
            str(row["best_frame"]),
            describe_size(row),
            _class_of(row),
        )
        for row in rows
    ]
    if cells:
        titles = ("lesion", "frames seen", "first-last", "best frame", "size there")
        print_table((*titles, "class"), cells)
    if left_out:
        typer.echo(f"{left_out} more lesions, seen in fewer frames.")


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*titles)
    for row in rows:
        table.add_row(*row)
    # Without a terminal Rich would wrap at 80 columns.
    Console(width=None if is_terminal() else 500).print(table)
