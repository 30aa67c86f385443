"""Whether a model will work on a user's own scans."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_efsnet.cli import console
from keras_efsnet.cli.options import (
    NOTICE,
    KindOption,
    ModelOption,
    OutOption,
    SixteenBitOption,
    ThreadsOption,
)
from keras_efsnet.files import prepare_output, write_text
from keras_efsnet.labels import CLASS, MASK, NORMAL
from keras_efsnet.models.presets import DEFAULT_MODEL

if TYPE_CHECKING:
    from keras_efsnet.images.frame import Frame
    from keras_efsnet.training.datasets.sample import Sample


def audit(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Images, or a dataset or manifest.csv with labels."
        ),
    ],
    out: OutOption,
    model: ModelOption = DEFAULT_MODEL,
    kind: KindOption = None,
    threads: ThreadsOption = None,
    sixteen_bit: SixteenBitOption = "full",
) -> None:
    """Check whether a model suits your scans: appearance, referrals and, with labels,
    metrics."""
    from keras_efsnet.prediction import audit as auditing
    from keras_efsnet.prediction.loading import load_predictor

    samples = _read_labels(path)
    files = [sample.image for sample in samples] or _list_files(path, out)
    if not files:
        raise typer.Exit(console.NOTHING_DONE)
    looks = auditing.read_looks(model)
    prepare_output(out)
    with console.quiet_start():
        predictor = load_predictor(model, threads, kind)
    frames, failed = [], 0
    with console.progress_bar("Auditing") as show:
        for number, file in enumerate(files, start=1):
            for frame in _read(file):
                if isinstance(frame, str):
                    console.report_error(frame)
                    failed += 1
                else:
                    frames.append(auditing.audit_frame(frame, predictor, looks))
            show(number, len(files))
    if not frames:
        raise typer.Exit(console.NOTHING_DONE)
    facts = auditing.summarize(frames)
    write_text(out / "audit.json", json.dumps(facts, indent=2) + "\n")
    auditing.draw_odd(frames, out / "odd_images.png")
    _print_summary(facts, len(looks) > 0)
    if samples:
        _evaluate(samples, predictor, model, out)
    typer.echo(f"audit.json and odd_images.png: {out}. {NOTICE}")
    if failed:
        raise typer.Exit(console.SOME_FAILED)


def _read_labels(path: Path) -> "list[Sample]":
    """Reads a dataset; gives none for a folder of images alone."""
    if path.suffix.lower() != ".csv" and not path.is_dir():
        raise ValueError(f"{path}: no such folder or manifest; give one of these.")
    from keras_efsnet.training.datasets.reading import find_reader, read_dataset

    if path.is_dir() and find_reader(path) is None:
        return []
    return read_dataset(path)


def _list_files(path: Path, out: Path) -> list[Path]:
    from keras_efsnet.prediction.planning import plan_jobs

    with console.log_lines("keras_efsnet.prediction.planning"):
        jobs = plan_jobs([path], out)
    for job in jobs:
        if job.problem:
            console.report_error(job.problem)
    return [job.source for job in jobs if not job.problem]


def _read(file: Path) -> "Iterator[Frame | str]":
    """Gives a file's frames, or what is wrong with them."""
    from keras_efsnet.files import describe_error
    from keras_efsnet.images.frame import DamagedFrame
    from keras_efsnet.images.reading import read_frames

    try:
        for frame in read_frames(file):
            yield frame.problem if isinstance(frame, DamagedFrame) else frame
    except (OSError, ValueError) as error:
        yield describe_error(error)


def _print_summary(facts: dict[str, Any], has_looks: bool) -> None:
    from keras_efsnet.prediction.audit import FEWEST

    count = facts["images"]
    typer.echo(f"{count} images")
    if count < FEWEST:
        typer.echo(
            f"Fewer than {FEWEST} images: the fractions below say little about others."
        )
    rows = [
        (source, f"{part['median_distance']:.2f}", f"{part['within']:.0%}")
        for source, part in facts["sources"].items()
    ]
    if rows:
        titles = ("training source", "median distance (usual: below 1)", "within it")
        console.print_table(titles, rows)
    if not has_looks:
        typer.echo("The model's card has no training images to compare with.")
    referred = [(reason, f"{part:.0%}") for reason, part in facts["referred"].items()]
    console.print_table(("reason to refer", "images"), referred)
    for odd in facts["odd"] if has_looks else ():
        typer.echo(f"distance {odd['distance']:.2f}: {odd['image']}")


def _evaluate(samples: "list[Sample]", predictor: Any, model: str, out: Path) -> None:
    """Prints and writes metrics of the images whose class and lesion are known."""
    from keras_efsnet.prediction.audit import FEWEST

    with console.quiet_start():
        from keras_efsnet.training import evaluate as evaluation
        from keras_efsnet.training.datasets import splits
        from keras_efsnet.training.seen import refuse_seen

    tasks = predictor.rules.tasks
    known = [
        sample
        for sample in samples
        if (CLASS not in tasks or sample.label)
        and (MASK not in tasks or sample.masks or sample.label == NORMAL)
    ]
    if len(known) < len(samples):
        typer.echo(
            f"{len(samples) - len(known)} images without a class, or tumours without a "
            "mask, are not in the metrics."
        )
    if not known:
        return
    parts = splits.take_all(known)
    seen = refuse_seen(model, parts.test, "test", allow=True)
    with console.quiet_start():  # the first operation starts Keras's backend
        metrics = evaluation.evaluate(
            predictor,
            parts.test,
            split_digest=parts.digest,
            split_name="none",
            subset="test",
            model_name=model,
            protocol=parts.protocol,
            seen=seen,
            out=out,
            subgroups=splits.group_by_facts(known),
        )
    if len(known) < FEWEST:
        typer.echo(
            f"Fewer than {FEWEST} labelled images: the metrics say little about others."
        )
    console.print_evaluation(metrics)
    console.print_seen(seen)
