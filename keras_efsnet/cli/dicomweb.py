"""Prediction of a study in a PACS."""

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from keras_efsnet.cli import console
from keras_efsnet.cli.console import NOTHING_DONE, SOME_FAILED
from keras_efsnet.cli.options import (
    NOTICE,
    KindOption,
    ModelOption,
    ThreadsOption,
)
from keras_efsnet.extras import MissingPackage, import_highdicom
from keras_efsnet.files import describe_error
from keras_efsnet.models.presets import DEFAULT_MODEL

if TYPE_CHECKING:
    from types import ModuleType

    from keras_efsnet.clinic.studies import Outcome


class ResultFormat(StrEnum):
    """Values of `efsnet dicomweb --format`."""

    SEG = "dicom-seg"
    SR = "dicom-sr"


def dicomweb(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Address of the DICOMweb service.")
    ],
    study: Annotated[
        str, typer.Option(metavar="UID", help="Study Instance UID of the images.")
    ],
    series: Annotated[
        str | None, typer.Option(metavar="UID", help="Only this series of the study.")
    ] = None,
    formats: Annotated[
        list[ResultFormat] | None,
        typer.Option("--format", help="Store only this; repeatable. Both by default."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Store nothing; print what would be.")
    ] = False,
    model: ModelOption = DEFAULT_MODEL,
    kind: KindOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Predict a study in a PACS and store DICOM SEG and SR beside its images.

    Credentials: EFSNET_DICOMWEB_TOKEN, or EFSNET_DICOMWEB_USER and
    EFSNET_DICOMWEB_PASSWORD, or a netrc file.
    """
    studies = _import_studies()
    from keras_efsnet.clinic.algorithm import describe_algorithm
    from keras_efsnet.clinic.instances import choose_images
    from keras_efsnet.clinic.objects import KINDS
    from keras_efsnet.clinic.writing import check_rules
    from keras_efsnet.prediction.loading import load_predictor

    server = studies.Server(url)
    found = server.list_instances(study, series)
    images = choose_images(found)
    if not images:
        raise ValueError(
            f"{url}: none of the {len(found)} instances of the study is an ultrasound "
            "image; check the UID."
        )
    with console.quiet_start():
        predictor = load_predictor(model, threads, kind)
    algorithm, kinds = describe_algorithm(predictor), formats or KINDS
    check_rules(predictor.rules, kinds)
    outcomes = studies.predict_instances(
        server, images, predictor, algorithm, kinds, dry_run
    )
    counts: Counter[str] = Counter()
    try:
        for number, outcome in enumerate(outcomes, 1):
            counts.update(done=int(outcome.error is None), stored=len(outcome.stored))
            counts.update(present=len(outcome.present))
            _print_outcome(outcome, number, len(images), dry_run)
    except (OSError, studies.ServerError) as error:
        if not counts["done"]:
            raise
        console.report_error(describe_error(error))
    finally:  # also on Ctrl-C
        if counts:
            _print_summary(counts, len(images), dry_run)
    if counts["done"] < len(images):
        raise typer.Exit(SOME_FAILED if counts["done"] else NOTHING_DONE)


def _import_studies() -> "ModuleType":
    import_highdicom()
    try:
        from keras_efsnet.clinic import studies
    except ImportError as error:
        raise MissingPackage(
            f"a PACS needs dicomweb-client ({error}); install it: "
            'pip install "keras-efsnet[clinic]".'
        ) from error
    return studies


def _print_outcome(outcome: "Outcome", number: int, total: int, dry_run: bool) -> None:
    """Prints a line without findings: what was found stands in the results alone."""
    if outcome.error is not None:
        console.report_error(outcome.error)
        return
    frames = "1 frame" if outcome.frames == 1 else f"{outcome.frames} frames"
    parts = {
        "would store" if dry_run else "stored": outcome.stored,
        "there before:": outcome.present,
    }
    said = [f"{word} {', '.join(kinds)}" for word, kinds in parts.items() if kinds]
    typer.echo(
        f"[{number}/{total}] {outcome.instance.uid}: " + "; ".join([frames, *said])
    )


def _print_summary(counts: Counter[str], total: int, dry_run: bool) -> None:
    stored = "would be stored" if dry_run else "stored"
    typer.echo(
        f"{counts['done']} of {total} images: {counts['stored']} objects {stored}, "
        f"{counts['present']} there before. {NOTICE}"
    )
