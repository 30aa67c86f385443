"""Live prediction of a video or camera, and the browser demo."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

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


def stream(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Video or DICOM file, folder of frames or camera index.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="VIDEO_OR_FOLDER",
            help="Overlays to write: .webm (for browsers), .mp4, .avi or a folder of "
            "PNGs. Lesions go beside it, to cine.json.",
        ),
    ] = None,
    roi: Annotated[
        str, typer.Option(metavar="L,T,W,H", help="Screen region to predict (pixels).")
    ] = "auto",
    fps: Annotated[
        float | None,
        typer.Option(min=0.1, help="Frames per second; files then drop late frames."),
    ] = None,
    smooth: Annotated[
        float, typer.Option(help="Weight of the previous result: 0 (off) to below 1.")
    ] = 0.0,
    model: ModelOption = DEFAULT_MODEL,
    kind: KindOption = None,
    threads: ThreadsOption = None,
    sixteen_bit: SixteenBitOption = "full",
    frames: Annotated[
        int | None,
        typer.Option(min=1, max=10**9, help="Number of frames to predict."),
    ] = None,
) -> None:
    """Predict a video or camera live, follow its lesions, and report the speed."""
    from itertools import islice

    from keras_efsnet.live import stream as live
    from keras_efsnet.live.recording import open_cine, open_recording
    from keras_efsnet.prediction.loading import load_predictor

    meter = live.Meter()
    with ExitStack() as stack:
        with console.log_lines("keras_efsnet.live"), console.quiet_start():
            opened = stack.enter_context(live.open_source(source, fps))
            write = stack.enter_context(open_recording(out, opened.fps, source))
            region, choice = live.choose_region(opened, roi)
            predictor = live.Smoothed(load_predictor(model, threads, kind), smooth)
        typer.echo(f"Region of interest: {choice}")
        cine = stack.enter_context(open_cine(opened.name, out))
        try:
            with console.live_line(lambda: str(meter.report(opened.dropped))):
                chosen = islice(opened, frames)
                live.run_stream(
                    chosen, predictor, region, opened.regions, write, meter, cine
                )
        finally:  # also on Ctrl-C
            report = meter.report(opened.dropped)
            typer.echo(f"{report}. {NOTICE}")
            console.print_cine(cine.finish(), cine.left_out)
            for problem in opened.problems:
                console.report_error(problem)
    if opened.problems:
        raise typer.Exit(SOME_FAILED if report.frames else NOTHING_DONE)


def serve(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")
    ] = 8321,
    model: Annotated[
        str, typer.Option(metavar="PRESET", help="Preset, or folder in its layout.")
    ] = DEFAULT_MODEL,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address.")
    ] = False,
) -> None:
    """Serve the demo page to this machine only and open it; Ctrl-C ends it."""
    import webbrowser

    from keras_efsnet.serve.server import Server, list_contents

    with Server(port, list_contents(model)) as server:
        typer.echo(f"{server.url} (Ctrl-C ends it). {NOTICE}")
        if not no_browser:
            webbrowser.open(server.url)
        server.serve_forever()
