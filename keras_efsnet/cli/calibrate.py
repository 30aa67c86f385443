"""Calibration of a trained model, and training of a teacher."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_efsnet.cli import console
from keras_efsnet.cli.options import (
    NOTICE,
    AllowSeenOption,
    DataOption,
    FoldOption,
    SixteenBitOption,
    SplitOption,
)
from keras_efsnet.labels import NORMAL

if TYPE_CHECKING:
    from keras_efsnet.training.calibrate import Calibration


def calibrate(
    model: Annotated[
        str, typer.Option(metavar="FILE", help=".keras file, such as RUN/best.keras.")
    ],
    data: DataOption,
    split: SplitOption,
    out: Annotated[
        Path,
        typer.Option(metavar="PRESET", help="Folder for model.keras and card.json."),
    ],
    fold: FoldOption = 0,
    allow_seen: AllowSeenOption = False,
    sixteen_bit: SixteenBitOption = "full",
) -> None:
    """Calibrate a model on the validation images and fit its card's rules."""
    with console.quiet_start():
        from keras_efsnet.models.presets import find_model
        from keras_efsnet.training import calibrate as calibration
        from keras_efsnet.training.datasets.reading import read_datasets
        from keras_efsnet.training.datasets.splits import read_split
        from keras_efsnet.training.seen import refuse_seen_training

        file = find_model(model).keras_file
        parts = read_split(read_datasets(data), split, fold)
        refuse_seen_training(file, parts, allow_seen)
        calibration.prepare_preset(out)
    typer.echo(f"Calibrating on {len(parts.validation)} images.", err=True)
    with console.quiet_start():
        found = calibration.calibrate(file, parts.validation, parts.train)
        calibration.write_preset(file, found, out, parts)
    console.print_table(("what", "before", "after"), _rows(found))
    typer.echo(f"model.keras and card.json: {out}. {NOTICE}")


def _rows(found: "Calibration") -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    if found.temperature is not None and found.ece is not None:
        rows.append(("temperature of the classes", "1", f"{found.temperature:.3f}"))
        rows.append(("calibration error", *(f"{error:.3f}" for error in found.ece)))
    if found.mask_threshold is not None and found.dice is not None:
        rules = found.rules
        smallest = f"{rules.minimum_lesion_fraction:.1%} of the image"
        gate = "off" if rules.normal_gate is None else f"{rules.normal_gate:.2f}"
        rows.append(("threshold of the mask", "0.50", f"{found.mask_threshold:.2f}"))
        rows.append(("smallest lesion", "0", smallest))
        if NORMAL in rules.labels:
            rows.append(("P(normal) that empties the mask", "off", gate))
        rows.append(("Dice, all images", *(f"{dice:.3f}" for dice in found.dice)))
    if found.malignancy is not None:
        limit = f"{found.malignancy.limit:.4f}"
        rows.append(("P(malignant) that refers an image", "off", limit))
    rows.append(("images referred", "0%", f"{found.referred:.0%}"))
    if found.errors_referred is not None:
        rows.append(("wrong answers referred", "0%", f"{found.errors_referred:.0%}"))
    return rows


def teacher(
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="settings.json, recipe or card.json.")
    ],
    data: DataOption,
    split: SplitOption,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder for teacher.pt.")],
) -> None:
    """Train a larger network with PyTorch whose answers help to train EFSNet."""
    with console.log_lines("keras_efsnet.training"), console.quiet_start():
        from keras_efsnet.training.taught import import_teacher

        teaching = import_teacher()
        file = teaching.make_teacher(settings, data, split, out)
    typer.echo(f"Teacher: {file}. {NOTICE}")
