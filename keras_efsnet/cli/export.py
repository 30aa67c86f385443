"""Export to deployment files, benchmark, and facts of a model file."""

import json
import tempfile
from pathlib import Path
from typing import Annotated

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
from keras_efsnet.models.presets import DEFAULT_MODEL


def export(
    model: Annotated[
        str, typer.Option(metavar="NAME_OR_FILE", help="Preset or .keras file.")
    ],
    data: DataOption,
    split: SplitOption,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")],
    fold: FoldOption = 0,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="float32, float16, dynamic, int8 (default: these four), int8-full, "
            "int8-qat, clustered, onnx, saved_model or mediapipe; repeatable."
        ),
    ] = None,
    max_dice_loss: Annotated[
        float, typer.Option(help="Largest allowed drop in tumour Dice.")
    ] = 0.01,
    min_class_agreement: Annotated[
        float, typer.Option(help="Smallest allowed share of equal classes.")
    ] = 0.97,
    allow_seen: AllowSeenOption = False,
    sixteen_bit: SixteenBitOption = "full",
) -> None:
    """Write files for deployment and compare each with the Keras model."""
    with console.quiet_start():
        from keras_efsnet.models.presets import KINDS, find_model
        from keras_efsnet.tflite import verify
        from keras_efsnet.tflite.export import export as run
        from keras_efsnet.training.datasets.reading import read_datasets
        from keras_efsnet.training.datasets.splits import read_split
        from keras_efsnet.training.seen import refuse_seen_training

        limits = verify.Limits(max_dice_loss, min_class_agreement)
        parts = read_split(read_datasets(data), split, fold)
        refuse_seen_training(model, parts, allow_seen)
    typer.echo(f"Converting, then comparing {len(parts.validation)} images.", err=True)
    # The converter writes a lot.
    with console.log_lines("keras_efsnet.tflite"), console.quiet_start():
        results = run(
            find_model(model),
            parts,
            kind or list(KINDS),
            out,
            name=Path(model).stem,
            limits=limits,
        )
    console.print_verification(results)
    for name, result in results.items():
        for failure in result.failures:
            console.report_error(
                f"the {name} file: {failure}; moved to {out}/rejected."
            )
    typer.echo(f"Files and export.json: {out}. {NOTICE}")
    if not all(result.passed for result in results.values()):
        raise typer.Exit(console.SOME_FAILED)


def benchmark(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help=".tflite, .onnx or .keras files, or presets."
        ),
    ],
    threads: Annotated[
        list[int] | None, typer.Option(metavar="N...", help="CPU threads, e.g. 1 2.")
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Also write the results here."),
    ] = None,
    plain: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_FILE",
            help="Keras model to convert without rewrites: the baseline of the ratios.",
        ),
    ] = None,
) -> None:
    """Measure speed, memory and size; the models take turns."""
    from keras_efsnet.tflite import benchmark as measuring

    # `--threads 1 2` puts the 2 among the models.
    numbers = [int(model) for model in models if model.isdecimal()]
    files = [model for model in models if not model.isdecimal()]
    counts = [*(threads or []), *numbers]
    contenders = measuring.find_contenders(files, counts)
    with tempfile.TemporaryDirectory() as folder:
        if plain:
            with console.quiet_start():
                from keras_efsnet.tflite.plain_graph import plain_contenders

                contenders += plain_contenders(plain, Path(folder), counts)
        with console.progress_bar("Measuring") as show:
            rows = measuring.benchmark(contenders, progress=show)
    console.print_cells(measuring.table_cells(rows))
    if json_file:
        measuring.write_report(json_file, rows)


def info(
    model: Annotated[
        str,
        typer.Argument(
            metavar="PRESET_OR_FILE", help="Preset, .tflite or .keras file."
        ),
    ] = DEFAULT_MODEL,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Print a model's hash, parameters, tensors and card, and versions."""
    from keras_efsnet.prediction.info import (
        describe_model,
        identify_model,
        list_versions,
    )

    versions = list_versions()
    if as_json:
        found = {"versions": versions, **identify_model(model)}
        typer.echo(json.dumps(found, indent=2))
        return
    with console.quiet_start():
        facts = describe_model(model)
    facts |= {f"version {name}": value for name, value in versions.items()}
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        typer.echo(f"{name:{width}}  {value}")
