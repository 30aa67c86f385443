"""The `efsnet` command.

Each file holds a group of commands. Commands import the library when they run, so
`--help` is fast. `main` turns a ValueError or OSError into one line on stderr and exit
code 2.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated

import typer

from keras_efsnet import __version__
from keras_efsnet.cli import (
    audit,
    calibrate,
    console,
    data,
    dicomweb,
    export,
    live,
    predict,
    train,
)
from keras_efsnet.cli.options import NOTICE
from keras_efsnet.extras import describe_missing

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help=f"Lesion mask and class of breast ultrasound images. {NOTICE}",
)
for command in (
    *(predict.demo, predict.predict, audit.audit),
    *(train.train, calibrate.calibrate, train.evaluate, train.report),
    dicomweb.dicomweb,
    *(export.export, export.benchmark),
    *(live.stream, live.serve),
    *(export.info, calibrate.teacher),
):
    app.command()(command)
app.add_typer(data.app, name="data")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    0: done. 1: finished, but some inputs or a check failed. 2: wrong use, or nothing
    done. 130: Ctrl-C. `--debug` or EFSNET_DEBUG=1 also prints an error's stack trace.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if isinstance(sys.stdout, TextIOWrapper):  # a file's name may not be printable
        sys.stdout.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words or os.environ.get("EFSNET_DEBUG") == "1"
    words = [word for word in words if word != "--debug"]
    try:
        code = app(words, "efsnet", standalone_mode=False) or console.DONE
    except typer.TyperException as error:
        return _fail(f"{error.format_message().rstrip('.')}; see efsnet --help.")
    except ModuleNotFoundError as error:
        advice = describe_missing(words[0], error)
        if advice is None:
            raise
        return _fail(advice)
    except (OSError, ValueError) as error:
        from keras_efsnet.files import describe_error

        if debug:
            traceback.print_exc()
        return _fail(describe_error(error))
    if code == console.INTERRUPTED:
        typer.echo("interrupted", err=True)
    return code


def _fail(message: str) -> int:
    console.report_error(" ".join(message.split()))
    return console.NOTHING_DONE


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
    """Defines the options of `efsnet` itself for typer."""
