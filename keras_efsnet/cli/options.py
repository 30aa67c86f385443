"""Options and texts that several commands share."""

from pathlib import Path
from typing import Annotated

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
