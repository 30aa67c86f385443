"""The `efsnet` command.

Each command imports what it needs when it runs, so that `--help` answers at once. A
user's mistake is a ValueError or OSError of the library; `main` turns it into one line
on stderr and exit code 2.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_efsnet import DEFAULT_MODEL, __version__, console
from keras_efsnet.console import DONE, INTERRUPTED, NOTHING_DONE, SOME_FAILED
from keras_efsnet.data_cli import data_app

NOTICE = "For research use only, not for diagnosis."
KIND_HELP = "The preset's file: float32 (if not given), float16, dynamic or int8."


class Subset(StrEnum):
    """The parts of a split."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class AnnotationFormat(StrEnum):
    """What `efsnet predict --format` writes for annotation tools."""

    COCO = "coco"
    LABELME = "labelme"
    CSV = "csv"


app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help=f"Lesion mask and class of breast ultrasound images. {NOTICE}",
)

app.add_typer(data_app, name="data")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    0: done. 1: finished, but some inputs or a check failed. 2: wrong use, or nothing
    could be done. 130: Ctrl-C.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if isinstance(sys.stdout, TextIOWrapper):  # a file's name may not be printable
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = app(args=arguments, prog_name="efsnet", standalone_mode=False) or DONE
    except typer.TyperException as error:
        return _fail(f"{error.format_message().rstrip('.')}; see efsnet --help.")
    except (OSError, ValueError) as error:
        from keras_efsnet.batch import describe_error

        return _fail(describe_error(error))
    if code == INTERRUPTED:
        typer.echo("interrupted", err=True)
    return code


def _fail(message: str) -> int:
    console.report_error(" ".join(message.split()))
    return NOTHING_DONE


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"keras-efsnet {__version__}")
        raise typer.Exit


@app.callback()
def _common_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Options of `efsnet` itself; typer needs a function to hang them on."""


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the results.")
    ] = Path("demo"),
    kind: Annotated[str | None, typer.Option(metavar="KIND", help=KIND_HELP)] = None,
) -> None:
    """Predict one synthetic image of each class with the shipped weights."""
    from keras_efsnet.batch import prepare_output
    from keras_efsnet.demo import run_demo
    from keras_efsnet.predictor import load_predictor

    prepare_output(out)
    with console.quiet_start():
        predictor = load_predictor(DEFAULT_MODEL, None, kind)
    console.print_demo(run_demo(out, predictor))
    typer.echo(f"Images, masks, overlays and predictions.json: {out}. {NOTICE}")


@app.command()
def predict(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Images, or folders to walk."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")],
    model: Annotated[
        str,
        typer.Option(metavar="NAME_OR_FILE", help="Preset, .tflite or .keras file."),
    ] = DEFAULT_MODEL,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help=KIND_HELP)] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of the network.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes to share the images among, by Ray. Goes on where an "
            "earlier run stopped; writes predictions/*.json in parts.",
        ),
    ] = None,
    save_probabilities: Annotated[
        bool,
        typer.Option("--save-probabilities", help="Also the mask's, as 16-bit PNG."),
    ] = False,
    formats: Annotated[
        list[AnnotationFormat] | None,
        typer.Option("--format", help="Also for annotation tools; repeat it."),
    ] = None,
) -> None:
    """Write masks, overlays and predictions.json for images and folders."""
    from keras_efsnet import annotations, batch
    from keras_efsnet.predictor import load_predictor

    if workers is not None and (formats or save_probabilities):
        raise ValueError(
            "--workers writes masks and overlays alone; leave it out, or "
            "--format and --save-probabilities."
        )
    jobs = batch.plan_jobs(paths, out)
    annotations.check_jobs(jobs, formats or [])
    if all(job.problem for job in jobs):
        for job in jobs:
            console.report_error(job.problem)
        raise typer.Exit(NOTHING_DONE)
    batch.prepare_output(out)
    with console.quiet_start():
        predictor = load_predictor(model, threads, kind)
    kept: list[dict[str, Any]] = []
    failed = referred = 0
    if workers is None:
        results = batch.run_jobs(jobs, predictor, out, save_probabilities)
    else:
        from keras_efsnet.scale import run_sharded

        results = run_sharded(jobs, out, workers, model, threads, kind)
    try:
        for record in _shown(results, len(jobs)):
            failed += "error" in record
            referred += bool(record.get("refer"))
            if workers is None:
                kept.append(record)
    finally:  # also on Ctrl-C
        if workers is None:
            batch.write_records(out, kept)
            annotations.write_annotations(out, kept, formats or [])
    trusted = f", {referred} referred" if predictor.rules.refer else ""
    typer.echo(f"{len(jobs) - failed} of {len(jobs)} images{trusted}: {out}. {NOTICE}")
    if failed:
        raise typer.Exit(NOTHING_DONE if failed == len(jobs) else SOME_FAILED)


@app.command()
def train(
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder of the run.")],
    data: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Dataset in BUSI's layout, or 'phantom'."),
    ] = None,
    split: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="FOLDS.csv, or twice: TRAIN.txt, VAL.txt."),
    ] = None,
    fold: Annotated[int | None, typer.Option(help="Test fold of a folds file.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NETWORK",
            help="efsnet (if not given), or for comparison unet or deeplab_v3_plus.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    image_size: Annotated[int | None, typer.Option(min=8)] = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    init: Annotated[
        str | None,
        typer.Option(metavar="PRESET_OR_FILE", help="Weights to start from."),
    ] = None,
    phantoms: Annotated[
        int | None, typer.Option(min=0, help="Generated images a class to add.")
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="settings.json or card.json to repeat."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in RUN.")
    ] = False,
    distribute: Annotated[
        bool,
        typer.Option("--distribute", help="Share each batch among all devices."),
    ] = False,
) -> None:
    """Train a network; the best model is RUN/best.keras."""
    given = {
        "data": data,
        "split": [str(file) for file in split] if split else None,
        "fold": fold,
        "model": model,
        "epochs": epochs,
        "image_size": image_size,
        "batch_size": batch_size,
        "seed": seed,
        "init": init,
        "phantoms": phantoms,
    }
    with console.quiet_start():
        # The first operation starts the backend, with lines of its own.
        import keras

        from keras_efsnet.files import naming
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
    devices = all_devices(chosen.batch_size) if distribute else nullcontext()
    with devices, console.epoch_lines(chosen.epochs) as report, naming(out):
        best = run(chosen, out, resume=resume, callbacks=[EpochReport(report)])
    typer.echo(f"Best model: {best}. {NOTICE}")


@app.command()
def evaluate(
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Dataset in BUSI's layout.")
    ],
    split: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="FOLDS.csv, or twice: TRAIN.txt, VAL.txt."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")],
    model: Annotated[
        str, typer.Option(metavar="NAME_OR_FILE", help="Preset, or a model file.")
    ] = DEFAULT_MODEL,
    fold: Annotated[int, typer.Option(help="Test fold of a folds file.")] = 0,
    subset: Annotated[
        Subset, typer.Option(help="Which part of the split.")
    ] = Subset.TEST,
) -> None:
    """Write metrics.json, per_image.csv and plots for a part of a dataset."""
    with console.quiet_start():
        from keras_efsnet.predictor import load_predictor
        from keras_efsnet.training import evaluate as evaluation
        from keras_efsnet.training.busi import index_dataset
        from keras_efsnet.training.split import read_split, read_subgroups

        parts = read_split(index_dataset(data), split, fold)
        subgroups = read_subgroups(split)
        predictor = load_predictor(model)
    samples = {
        Subset.TRAIN: parts.train,
        Subset.VALIDATION: parts.validation,
        Subset.TEST: parts.test,
    }[subset]
    with console.progress_bar("Evaluating") as show:
        metrics = evaluation.evaluate(
            predictor,
            samples,
            split_digest=parts.digest,
            split_name=" ".join(file.name for file in split),
            subset=subset.value,
            model_name=model,
            protocol=parts.protocol,
            out=out,
            subgroups=subgroups,
            progress=show,
        )
    console.print_metrics(metrics)
    console.print_subgroups(metrics["subgroups"])
    typer.echo(f"metrics.json, per_image.csv and plots: {out}. {NOTICE}")


@app.command()
def report(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_OR_METRICS", help="Folders of `train` and `evaluate`."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="The report.")],
) -> None:
    """Write one HTML file with curves, figures, charts, cases and settings."""
    from keras_efsnet.training.report import write_report

    size = write_report(sources, out)
    typer.echo(f"{out}: {size / 1e6:.1f} MB. {NOTICE}")


@app.command()
def export(
    model: Annotated[
        str, typer.Option(metavar="NAME_OR_FILE", help="Preset, or a .keras file.")
    ],
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Dataset in BUSI's layout.")
    ],
    split: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="FOLDS.csv, or twice: TRAIN.txt, VAL.txt."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")],
    fold: Annotated[int, typer.Option(help="Test fold of a folds file.")] = 0,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="float32, float16, dynamic, int8 (all four if not given), int8-qat, "
            "int8-pruned, pruned, clustered, pruned-clustered, onnx or saved_model; "
            "repeat it."
        ),
    ] = None,
    max_dice_loss: Annotated[
        float, typer.Option(help="Tumour Dice a file may lose.")
    ] = 0.01,
    min_class_agreement: Annotated[
        float, typer.Option(help="Fraction of classes that must stay.")
    ] = 0.97,
) -> None:
    """Write files for deployment and compare each with the Keras model."""
    with console.quiet_start():
        from keras_efsnet.predictor import KINDS, find_model
        from keras_efsnet.tflite import verify
        from keras_efsnet.tflite.export import export as run
        from keras_efsnet.training.busi import index_dataset
        from keras_efsnet.training.split import read_split

        limits = verify.Limits(max_dice_loss, min_class_agreement)
        parts = read_split(index_dataset(data), split, fold)
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
        raise typer.Exit(SOME_FAILED)


@app.command()
def benchmark(
    models: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help=".tflite or .keras files, or presets."),
    ],
    threads: Annotated[
        list[int] | None, typer.Option(metavar="N...", help="CPU threads: 1 2.")
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write the figures here too."),
    ] = None,
    plain: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_FILE",
            help="Also this Keras model converted as it is, for ratios to it.",
        ),
    ] = None,
) -> None:
    """Measure speed, memory and size, all models in turns."""
    from keras_efsnet.tflite import benchmark as measuring

    # `--threads 1 2` leaves the 2 among the models, which never are plain numbers.
    numbers = [int(model) for model in models if model.isdecimal()]
    files = [model for model in models if not model.isdecimal()]
    counts = [*(threads or []), *numbers]
    contenders = measuring.find_contenders(files, counts)
    with tempfile.TemporaryDirectory() as folder:
        if plain:
            contenders += _plain_contenders(plain, Path(folder), counts)
        with console.progress_bar("Measuring") as show:
            rows = measuring.benchmark(contenders, progress=show)
    console.print_benchmark(rows)
    if json_file:
        measuring.write_report(json_file, rows)


def _plain_contenders(model: str, folder: Path, threads: Sequence[int]) -> list[Any]:
    with console.quiet_start():
        from keras_efsnet.keras_predictor import load_keras_model
        from keras_efsnet.predictor import find_model
        from keras_efsnet.tflite.benchmark_process import Contender
        from keras_efsnet.tflite.plain import write_plain_files

        files = write_plain_files(
            load_keras_model(find_model(model).keras_file), folder
        )
    return [
        Contender(name, file, number)
        for name, file in files.items()
        for number in dict.fromkeys(threads) or [1]
    ]


@app.command()
def stream(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="Video file, folder of frames, or a camera's index."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="VIDEO_OR_FOLDER", help="Overlays: .mp4, .avi or a folder of PNGs."
        ),
    ] = None,
    roi: Annotated[
        str,
        typer.Option(metavar="L,T,W,H", help="Where the image is on the screen."),
    ] = "auto",
    fps: Annotated[
        float | None,
        typer.Option(min=0.1, help="Pace: late frames of a file are dropped."),
    ] = None,
    smooth: Annotated[
        float, typer.Option(help="Weight of the frames before, 0 to less than 1.")
    ] = 0.0,
    model: Annotated[
        str,
        typer.Option(metavar="NAME_OR_FILE", help="Preset, .tflite or .keras file."),
    ] = DEFAULT_MODEL,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help=KIND_HELP)] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of the network.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many.")
    ] = None,
) -> None:
    """Predict a video or a camera live: overlays, frames a second, latency."""
    from itertools import islice

    from keras_efsnet import stream as live
    from keras_efsnet.predictor import load_predictor
    from keras_efsnet.recording import open_recording

    meter = live.Meter()
    with ExitStack() as stack:
        with console.quiet_start():
            opened = stack.enter_context(live.open_source(source, fps))
            recording = stack.enter_context(open_recording(out, opened.fps, source))
            region, choice = live.choose_region(opened, roi)
            predictor = live.Smoothed(load_predictor(model, threads, kind), smooth)
        typer.echo(f"Region of interest: {choice}")
        try:
            with console.live_line(lambda: str(meter.report(opened.dropped))):
                chosen = islice(opened, frames)
                live.run_stream(chosen, predictor, region, recording, meter)
        finally:  # also on Ctrl-C
            report = meter.report(opened.dropped)
            typer.echo(f"{report}. {NOTICE}")
    for problem in opened.problems:
        console.report_error(problem)
    if opened.problems:
        raise typer.Exit(SOME_FAILED if report.frames else NOTHING_DONE)


@app.command()
def serve(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0 takes a free one.")
    ] = 8321,
    model: Annotated[
        str, typer.Option(metavar="PRESET", help="Preset, or a folder like one.")
    ] = DEFAULT_MODEL,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address.")
    ] = False,
) -> None:
    """Show the demo page in a browser, to this machine alone; Ctrl-C ends it."""
    import webbrowser

    from keras_efsnet.serve import Server, list_contents

    with Server(port, list_contents(model)) as server:
        typer.echo(f"{server.url} (Ctrl-C ends it). {NOTICE}")
        if not no_browser:
            webbrowser.open(server.url)
        server.serve_forever()


@app.command()
def info(
    model: Annotated[
        str,
        typer.Argument(
            metavar="PRESET_OR_FILE", help="Preset, .tflite or .keras file."
        ),
    ],
) -> None:
    """Print a model's card, parameters, tensors and hash."""
    from keras_efsnet.info import describe_model

    with console.quiet_start():
        facts = describe_model(model)
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        typer.echo(f"{name:{width}}  {value}")


def _shown(results: Iterator[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
    """Shows each record after it is taken."""
    for number, record in enumerate(console.with_bar(_quietly(results), total), 1):
        yield record
        console.print_record(record, number, total)


def _quietly(records: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Hides what libtiff writes about a damaged image beside our own line."""
    while True:
        with console.quiet_start():
            record = next(records, None)
        if record is None:
            return
        yield record
