"""Prediction of files, and the demo."""

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from keras_efsnet.cli import console
from keras_efsnet.cli.console import NOTHING_DONE, SOME_FAILED
from keras_efsnet.cli.options import (
    NOTICE,
    KindOption,
    ModelOption,
    OutOption,
    SixteenBitOption,
    ThreadsOption,
)
from keras_efsnet.files import prepare_output
from keras_efsnet.models.presets import DEFAULT_MODEL


class AnnotationFormat(StrEnum):
    """Values of `efsnet predict --format`."""

    COCO = "coco"
    LABELME = "labelme"
    CSV = "csv"
    DICOM_SEG = "dicom-seg"
    DICOM_SR = "dicom-sr"


def demo(out: OutOption = Path("demo"), kind: KindOption = None) -> None:
    """Predict one synthetic image of each class with the shipped weights."""
    from keras_efsnet.prediction.demo import run_demo
    from keras_efsnet.prediction.loading import load_predictor
    from keras_efsnet.prediction.page import PAGE_NAME, check_place

    check_place(out)
    prepare_output(out)
    with console.quiet_start():
        predictor = load_predictor(DEFAULT_MODEL, None, kind)
    console.print_demo(run_demo(out, predictor, DEFAULT_MODEL))
    typer.echo(f"Open {out / PAGE_NAME} to see the results. {NOTICE}")


def predict(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Images or folders (recursive)."),
    ],
    out: OutOption,
    model: ModelOption = DEFAULT_MODEL,
    kind: KindOption = None,
    threads: ThreadsOption = None,
    sixteen_bit: SixteenBitOption = "full",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Predict in this many processes with Ray. Resumes a stopped run; "
            "writes predictions/*.json.",
        ),
    ] = None,
    save_probabilities: Annotated[
        bool,
        typer.Option(
            "--save-probabilities", help="Also write lesion probabilities, 16-bit PNG."
        ),
    ] = False,
    callipers: Annotated[
        bool,
        typer.Option("--callipers", help="Draw the lesions' diameters."),
    ] = False,
    formats: Annotated[
        list[AnnotationFormat] | None,
        typer.Option("--format", help="Also write this format; repeatable."),
    ] = None,
    group_by: Annotated[
        Literal["study", "folder", "patient"] | None,
        typer.Option(
            help="Also write examinations.json and .csv, one record for each."
        ),
    ] = None,
    no_page: Annotated[
        bool, typer.Option("--no-page", help="Write no index.html.")
    ] = False,
) -> None:
    """Write masks, overlays, predictions.json and index.html, a page of the results."""
    from keras_efsnet.cli.outputs import Choice, Outputs
    from keras_efsnet.prediction.loading import load_predictor
    from keras_efsnet.prediction.planning import plan_jobs

    sharded = workers is not None
    if sharded and (formats or save_probabilities or callipers):
        raise ValueError(
            "--workers writes masks and plain overlays alone; leave it out, or leave "
            "out --format, --save-probabilities and --callipers."
        )
    with console.log_lines("keras_efsnet.prediction.planning"):
        jobs = plan_jobs(paths, out)
    if all(job.problem for job in jobs):
        for job in jobs:
            console.report_error(job.problem)
        raise typer.Exit(NOTHING_DONE)
    choice = Choice(formats or (), group_by, page=not no_page, in_shards=sharded)
    outputs = Outputs(out, jobs, choice)
    prepare_output(out)
    with console.quiet_start():
        predictor = load_predictor(model, threads, kind)
    outputs.check_model(predictor)
    if workers is None:
        from keras_efsnet.prediction.batch import run_jobs

        results = run_jobs(jobs, predictor, out, save_probabilities, callipers)
    else:
        from keras_efsnet.prediction.archive import run_sharded

        results = run_sharded(jobs, out, workers, model, threads, kind)
    problems: list[str] = []
    counts: Counter[str] = Counter()
    finished = False
    try:
        for record in _shown(results, len(jobs)):
            counts.update(images=1, failed="error" in record)
            counts.update(referred=bool(record.get("refer")))
            outputs.add(record)
        finished = True
    finally:  # also on Ctrl-C
        name = f"{model} {kind or ''}".rstrip()
        options = {
            "sixteen_bit": sixteen_bit,
            "threads": threads,
            "workers": workers,
            "save_probabilities": save_probabilities,
            "callipers": callipers,
            "formats": list(formats or ()),
            "group_by": group_by,
        }
        problems = outputs.write(predictor, name, options, finished=finished)
    for problem in problems:
        console.report_error(problem)
    for note in console.describe_limits(predictor.rules):
        typer.echo(note)
    images, failed = counts["images"], counts["failed"]
    trusted = f", {counts['referred']} referred" if predictor.rules.refer else ""
    cases = f", {outputs.examinations} examinations" if group_by else ""
    typer.echo(f"{images - failed} of {images} images{trusted}{cases}: {out}. {NOTICE}")
    if failed or problems:
        raise typer.Exit(NOTHING_DONE if failed == images else SOME_FAILED)


def _shown(results: Iterator[dict[str, Any]], files: int) -> Iterator[dict[str, Any]]:
    """Yields each record, then shows it with the number of its file."""
    number, path = 0, None
    with console.progress_bar("Predicting") as show:
        for record in _quietly(results):
            number += record["path"] != path
            path = record["path"]
            yield record
            show(number, files)
            console.print_record(record, number, files)


def _quietly(records: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Hides libtiff's lines on damaged images; we print our own."""
    while True:
        with console.quiet_start():
            record = next(records, None)
        if record is None:
            return
        yield record
