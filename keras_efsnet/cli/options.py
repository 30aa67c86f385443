"""Options and texts that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

NOTICE = "For research use only, not for diagnosis."

ModelOption = Annotated[
    str, typer.Option(metavar="NAME_OR_FILE", help="Preset, .tflite or .keras file.")
]
KindOption = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="File of the preset: float32 (default), float16, dynamic or int8.",
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="CPU threads for the network.")
]
DataOption = Annotated[
    list[Path],
    typer.Option(
        metavar="DIR",
        help="BUSI, BUS-BRA, BUS-UCLM or a manifest.csv; can be repeated.",
    ),
]
SplitOption = Annotated[
    list[Path],
    typer.Option(metavar="FILE", help="FOLDS.csv, or used twice: TRAIN.txt, VAL.txt."),
]
FoldOption = Annotated[int, typer.Option(help="Test fold of FOLDS.csv.")]
AllowSeenOption = Annotated[
    bool,
    typer.Option("--allow-seen", help="Also use images that the model was trained on."),
]
OutOption = Annotated[Path, typer.Option(metavar="DIR", help="Output folder.")]
SIXTEEN_BIT = "Range of 16-bit grey PNG and TIFF: full, or each image's own (minmax)."


def _read_by(context: typer.Context, rule: Literal["full", "minmax"]) -> None:
    from keras_efsnet.images.reading import sixteen_bit_as

    context.with_resource(sixteen_bit_as(rule))


SixteenBitOption = Annotated[
    Literal["full", "minmax"],
    typer.Option(
        "--sixteen-bit", callback=_read_by, expose_value=False, help=SIXTEEN_BIT
    ),
]
"""Holds until the command ends, which does not see the value."""
