"""Training, evaluation and the HTML report."""

from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from keras_efsnet.cli import console
from keras_efsnet.cli.options import (
    NOTICE,
    SIXTEEN_BIT,
    AllowSeenOption,
    DataOption,
    FoldOption,
    ModelOption,
    OutOption,
    SixteenBitOption,
)
from keras_efsnet.models.presets import DEFAULT_MODEL

if TYPE_CHECKING:
    from keras_efsnet.training.settings import TrainSettings


class Subset(StrEnum):
    """The parts of a split."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def train(
    out: Annotated[Path, typer.Option(metavar="RUN", help="Output folder of the run.")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR",
            help="BUSI, BUS-BRA or a manifest.csv (can be repeated), or 'phantom'.",
        ),
    ] = None,
    split: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="FOLDS.csv, or used twice: TRAIN.txt, VAL.txt."
        ),
    ] = None,
    fold: Annotated[int | None, typer.Option(help="Test fold of FOLDS.csv.")] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="The classes, in order (default: those of --init, or normal, benign, "
            "malignant).",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NETWORK",
            help="efsnet (default), or for comparison unet or deeplab_v3_plus.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    image_size: Annotated[int | None, typer.Option(min=8)] = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    sixteen_bit: Annotated[
        Literal["full", "minmax"] | None, typer.Option(help=SIXTEEN_BIT)
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(metavar="PRESET_OR_FILE", help="Initial weights."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="teacher.pt, whose answers count as much as the truth.",
        ),
    ] = None,
    phantoms: Annotated[
        int | None, typer.Option(min=0, help="Synthetic images to add per class.")
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="settings.json or card.json to start from."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the run in RUN.")
    ] = False,
    distribute: Annotated[
        bool, typer.Option("--distribute", help="Split each batch across all devices.")
    ] = False,
    skip_scan_check: Annotated[
        bool,
        typer.Option(
            "--skip-scan-check",
            help="Do not look for images of one scan on two sides of the split.",
        ),
    ] = False,
) -> None:
    """Train a network; the best model is RUN/best.keras."""
    given = {
        "data": data or None,
        "split": [str(file) for file in split] if split else None,
        "fold": fold,
        "labels": labels and [label.strip() for label in labels.split(",")],
        "model": model,
        "epochs": epochs,
        "image_size": image_size,
        "batch_size": batch_size,
        "seed": seed,
        "sixteen_bit": sixteen_bit,
        "init": init,
        "teacher": teacher,
        "phantoms": phantoms,
    }
    with console.quiet_start():
        # The first operation starts the backend, which prints lines.
        import keras

        from keras_efsnet.files import naming
        from keras_efsnet.images.reading import sixteen_bit_as
        from keras_efsnet.training.callbacks import EpochReport
        from keras_efsnet.training.distribute import all_devices
        from keras_efsnet.training.settings import TrainSettings, read_settings
        from keras_efsnet.training.train import train as run

        keras.ops.zeros(1)
    if resume and settings is None:
        settings = out / "settings.json"
    stored = read_settings(settings) if settings else {}
    changes = {name: value for name, value in given.items() if value is not None}
    chosen = TrainSettings.from_json({**stored, **changes})
    if not (resume or skip_scan_check or chosen.on_phantoms):
        with sixteen_bit_as(chosen.sixteen_bit):
            _look_for_leaks(chosen, out)
    devices = all_devices(chosen.batch_size) if distribute else nullcontext()
    with (
        devices,
        console.epoch_lines(chosen.epochs) as report,
        naming(out),
    ):
        try:
            best = run(
                chosen,
                out,
                resume=resume,
                check_leaks=False,  # done above, with progress
                callbacks=[EpochReport(report)],
            )
        except KeyboardInterrupt:
            typer.echo(_how_to_go_on(out), err=True)
            raise
    typer.echo(f"Best model: {best}. {NOTICE}")


def _how_to_go_on(run: Path) -> str:
    if not (run / "state.npz").exists():
        return f"{run}: stopped before an epoch ended; nothing is saved."
    return f"Stopped. Go on with: efsnet train --resume --out {quote(str(run))}"


def _look_for_leaks(settings: "TrainSettings", out: Path) -> None:
    """Does what `train` would do without progress."""
    from keras_efsnet.training.datasets.leaks import count_leaks, describe_leaks
    from keras_efsnet.training.run_images import load_split

    split = load_split(settings, out)
    with console.progress_bar("Looking for shared scans") as show:
        scans, images = count_leaks(split, settings.split, show)
        show(1, 1)  # What is remembered takes no steps.
    warning = describe_leaks(scans, images)
    if warning:
        typer.echo(f"warning: {warning}", err=True)
    else:
        typer.echo("No scan or patient lies on two sides of the split.")


def evaluate(
    data: DataOption,
    split: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            help="FOLDS.csv, used twice: TRAIN.txt, VAL.txt, or none: all images.",
        ),
    ],
    out: OutOption,
    model: ModelOption = DEFAULT_MODEL,
    fold: FoldOption = 0,
    subset: Annotated[
        Subset | None, typer.Option(help="Part of the split to evaluate.")
    ] = None,
    allow_seen: AllowSeenOption = False,
    sixteen_bit: SixteenBitOption = "full",
) -> None:
    """Write metrics.json, per_image.csv and plots for one part of a dataset."""
    whole = split == [Path("none")]
    part = Subset.TEST if whole else subset
    if part is None:
        raise ValueError("--subset is missing; give train, validation or test.")
    with console.quiet_start():
        from keras_efsnet.prediction.loading import load_predictor
        from keras_efsnet.training import evaluate as evaluation
        from keras_efsnet.training.datasets import splits
        from keras_efsnet.training.datasets.reading import read_datasets
        from keras_efsnet.training.seen import refuse_seen

        samples = read_datasets(data)
        parts = (
            splits.take_all(samples)
            if whole
            else splits.read_split(samples, split, fold)
        )
        chosen = getattr(parts, part.value)
        # The published lists validate and test on the same images.
        held_out = parts.test == parts.validation and part is Subset.TEST
        name = "validation" if held_out else part.value
        seen = refuse_seen(model, chosen, name, allow_seen)
        subgroups = {} if whole else splits.read_subgroups(split)
        subgroups |= splits.group_by_facts(chosen)
        groups = splits.name_groups(samples, [] if whole else split)
        predictor = load_predictor(model)
    with console.progress_bar("Evaluating") as show:
        metrics = evaluation.evaluate(
            predictor,
            chosen,
            split_digest=parts.digest,
            split_name=" ".join(file.name for file in split),
            subset=part.value,
            model_name=model,
            protocol=parts.protocol,
            seen=seen,
            out=out,
            subgroups=subgroups,
            groups=groups,
            progress=show,
        )
    console.print_evaluation(metrics)
    console.print_seen(seen)
    typer.echo(f"metrics.json, per_image.csv and plots: {out}. {NOTICE}")


def report(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_OR_METRICS", help="Outputs of `train` and `evaluate`."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="Report to write.")],
) -> None:
    """Write an HTML report of curves, metrics, charts, cases and settings."""
    from keras_efsnet.training.report import write_report

    size = write_report(sources, out)
    typer.echo(f"{out}: {size / 1e6:.1f} MB. {NOTICE}")
