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
    from keras_efsnet.clinic import writing as clinic
    from keras_efsnet.clinic.algorithm import describe_algorithm
    from keras_efsnet.clinic.objects import KINDS
    from keras_efsnet.prediction import examinations, page
    from keras_efsnet.prediction import formats as annotations
    from keras_efsnet.prediction.cine import write_cines
    from keras_efsnet.prediction.grouping import group_jobs
    from keras_efsnet.prediction.loading import load_predictor
    from keras_efsnet.prediction.planning import plan_jobs
    from keras_efsnet.prediction.writing import write_records

    if workers is not None and (formats or save_probabilities or callipers):
        raise ValueError(
            "--workers writes masks and plain overlays alone; leave it out, or leave "
            "out --format, --save-probabilities and --callipers."
        )
    with console.log_lines("keras_efsnet.prediction.planning"):
        jobs = plan_jobs(paths, out)
    tables = [name for name in formats or [] if name not in KINDS]
    objects = [name for name in formats or [] if name in KINDS]
    sources = [job.source for job in jobs]
    annotations.check_sources(sources, tables)
    clinic.check_sources(sources, objects)
    if all(job.problem for job in jobs):
        for job in jobs:
            console.report_error(job.problem)
        raise typer.Exit(NOTHING_DONE)
    has_page = workers is None and not no_page
    if has_page:
        page.check_place(out, "--no-page")
    examination_of = group_jobs(jobs, group_by) if group_by else {}
    prepare_output(out)
    with console.quiet_start():
        predictor = load_predictor(model, threads, kind)
    clinic.check_rules(predictor.rules, objects)
    kept: list[dict[str, Any]] = []
    problems: list[str] = []
    views: list[dict[str, Any]] = []
    finished = False
    counts: Counter[str] = Counter()
    if workers is None:
        from keras_efsnet.prediction.batch import run_jobs

        results = run_jobs(jobs, predictor, out, save_probabilities, callipers)
    else:
        from keras_efsnet.prediction.archive import run_sharded

        results = run_sharded(jobs, out, workers, model, threads, kind)
    try:
        for record in _shown(results, len(jobs)):
            counts.update(images=1, failed="error" in record)
            counts.update(referred=bool(record.get("refer")))
            if workers is None:
                kept.append(record)
            if group_by:
                views.append(examinations.make_view(record))
        finished = True
    finally:  # also on Ctrl-C
        if workers is None:
            try:
                write_cines(out, kept)
                if objects:
                    algorithm = describe_algorithm(predictor)
                    problems = clinic.write_objects(out, jobs, kept, algorithm, objects)
            finally:
                written = write_records(out, kept)
            annotations.write_formats(out, kept, tables)
            if has_page:
                refers, earlier = bool(predictor.rules.refer), len(written) - len(kept)
                name = f"{model} {kind or ''}".rstrip()
                page.write_page(out, written, name, refers, earlier)
            else:
                page.remove_page(out)
        if counts["images"] and group_by:
            examinations.write_examinations(
                out, group_by, examination_of, views, finished=finished
            )
        elif counts["images"]:
            examinations.remove_examinations(out)
    for problem in problems:
        console.report_error(problem)
    images, failed = counts["images"], counts["failed"]
    for note in console.describe_limits(predictor.rules):
        typer.echo(note)
    trusted = f", {counts['referred']} referred" if predictor.rules.refer else ""
    cases = f", {len({*examination_of.values()})} examinations" if group_by else ""
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
