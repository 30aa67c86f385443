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
    SixteenBitOption,
    ThreadsOption,
)
from keras_efsnet.models.presets import DEFAULT_MODEL

if TYPE_CHECKING:
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
    sixteen_bit: SixteenBitOption = "full",
) -> None:
    """Predict a study in a PACS and store DICOM SEG and SR beside its images.

    Credentials: EFSNET_DICOMWEB_TOKEN, or EFSNET_DICOMWEB_USER and
    EFSNET_DICOMWEB_PASSWORD, or a netrc file.
    """
