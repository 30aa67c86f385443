"""The commands `efsnet data ...`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_efsnet.cli import console
from keras_efsnet.cli.options import SixteenBitOption

app = typer.Typer(help="Check datasets, make folds, or convert other formats.")
DataFolders = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="DIR", help="BUSI, BUS-BRA, BUS-UCLM or a manifest.csv; one or several."
    ),
]
DataOption = Annotated[
    list[Path] | None,
    typer.Option(metavar="DIR", help="The same as DIR; can be repeated."),
]


@app.command("verify")
def verify_data(
    folders: DataFolders = None,
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for report.json.")
    ] = None,
    sixteen_bit: SixteenBitOption = "full",
) -> None:
    """Check all images and masks, and find images of the same scan."""
    from keras_efsnet.files import prepare_output

    with console.quiet_start():
        from keras_efsnet.training.datasets import verification as checks
    paths = _all_paths(folders, data)
    if out is not None:
        prepare_output(out)
    with console.progress_bar("Checking") as show:
        report = checks.verify_datasets(paths, show)
    console.print_data_report(report)
    if out is not None:
        checks.write_report(report, out)
        typer.echo(f"{checks.REPORT_NAME}: {out}")
    if report.problems or report.duplicate_groups:
        raise typer.Exit(console.SOME_FAILED)


@app.command("split")
def split_data(
    out: Annotated[
        Path, typer.Option(metavar="FOLDS.csv", help="The folds file to write.")
    ],
    folders: DataFolders = None,
    data: DataOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the shuffle.")] = 0,
    sixteen_bit: SixteenBitOption = "full",
) -> None:
    """Make folds balanced by class; images of the same scan stay together."""
    from keras_efsnet.files import prepare_output

    with console.quiet_start():
        from keras_efsnet.training.datasets import groups as splitting
        from keras_efsnet.training.datasets.duplicates import remembered_duplicates
        from keras_efsnet.training.datasets.reading import read_datasets
    splitting.check_folds_name(out)
    samples = read_datasets(_all_paths(folders, data))
    prepare_output(out.parent)
    with console.progress_bar("Looking for shared scans") as show:
        found = remembered_duplicates([sample.image for sample in samples], show)
        show(1, 1)  # What is remembered takes no steps.
    groups = splitting.group_samples(samples, found)
    unused = splitting.find_contradictions(samples, found)
    folds = splitting.assign_folds(samples, groups, unused, seed)
    splitting.write_folds(out, samples, groups, folds)
    console.print_folds(samples, folds.tolist())
    typer.echo(f"{len(found)} scans with several images kept together: {out}")


@app.command("index")
def index_data(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH", help="Datasets, COCO, LabelMe or nnU-Net, image folders."
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="MANIFEST.csv", help="The manifest to write.")
    ],
    classes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV with the columns image and label."),
    ] = None,
    class_names: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME=LABEL",
            help="What a name stands for, such as cancer=malignant, or cyst=cyst for a "
            "class of your own; can be repeated.",
        ),
    ] = None,
    sixteen_bit: SixteenBitOption = "full",
) -> None:
    """Write a manifest of images, masks and classes in any known format."""
    from collections import Counter

    with console.quiet_start():
        from keras_efsnet.training.datasets.classes import parse_names
        from keras_efsnet.training.datasets.importing import index_datasets
    with console.progress_bar("Drawing masks") as show:
        samples = index_datasets(
            paths,
            out,
            classes=classes,
            names=parse_names(class_names or []),
            progress=show,
        )
    for label, number in Counter(s.label or "unknown" for s in samples).items():
        typer.echo(f"{label}: {number}")
    typer.echo(f"{len(samples)} images: {out}")


@app.command("from-labelme")
def convert_labelme(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of LabelMe files (recursive).")
    ],
    out: Annotated[Path, typer.Option(metavar="DATA", help="Dataset folder to write.")],
    sixteen_bit: SixteenBitOption = "full",
) -> None:
    """Convert corrected LabelMe files to a dataset in BUSI's layout."""
    from collections import Counter

    from keras_efsnet.files import prepare_output
    from keras_efsnet.training.datasets.labelme import read_annotations, write_dataset

    annotations = read_annotations(folder)
    prepare_output(out)
    write_dataset(annotations, out)
    for label, number in Counter(a.label for a in annotations).items():
        typer.echo(f"{label}: {number}")
    typer.echo(f"{len(annotations)} images with masks: {out}")


def _all_paths(folders: list[Path] | None, data: list[Path] | None) -> list[Path]:
    paths = [*(folders or []), *(data or [])]
    if not paths:
        raise ValueError("no dataset is given; name its folder or manifest.csv.")
    return paths
