"""Measures the speed, memory and size of networks on this machine.

Each network runs in its own process. They take turns, a few runs each, so that other
load on the machine slows down all of them equally.
"""

import json
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_efsnet import __version__
from keras_efsnet.extras import MissingPackage
from keras_efsnet.files import write_text
from keras_efsnet.models.presets import KINDS, find_folder, preset_names
from keras_efsnet.prediction.predictor import check_threads
from keras_efsnet.tflite import benchmark_onnx
from keras_efsnet.tflite.benchmark_process import Contender, Start, Worker
from keras_efsnet.tflite.delegation import Delegation

RUNS = 200
RUNS_A_TURN = 10
COLD_STARTS = 3

MEBIBYTE = 2**20

BASELINE = "plain float32"
"""Ratios are relative to this contender, see `keras_efsnet.tflite.plain_graph`."""


@dataclass(frozen=True)
class Measurement:
    """One network's measurements; a row of the table.

    Attributes:
        threads: CPU threads; None means that the runtime chooses.
        runtime: LiteRT, Keras or another, with version and backend.
        runs: number of timed runs.
        median_ms: latency of one image, from grey values to probabilities.
        p95_ms: 95th percentile of the latency.
        cold_start_ms: time from the start of Python to the first output, with the file
            in the system's cache; median of `COLD_STARTS`.
        peak_memory_mib: peak memory of a process that runs one image; None if unknown.
        delegation: LiteRT's split of the graph; None for others.
    """

    name: str
    threads: int | None
    runtime: str
    runs: int
    median_ms: float
    p95_ms: float
    cold_start_ms: float
    peak_memory_mib: float | None
    file_bytes: int
    delegation: Delegation | None

    @property
    def frames_per_second(self) -> float:
        return 1000 / self.median_ms

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "frames_per_second": self.frames_per_second}

    def to_cells(self) -> dict[str, str]:
        """Formats the row, by column title."""
        peak = self.peak_memory_mib
        return {
            "model": self.name,
            "threads": str(self.threads or "auto"),
            "median\nms": f"{self.median_ms:.2f}",
            "p95\nms": f"{self.p95_ms:.2f}",
            "images\na second": f"{self.frames_per_second:.0f}",
            "cold\nstart ms": f"{self.cold_start_ms:.0f}",
            "memory\nMiB": "?" if peak is None else f"{peak:.0f}",
            "file\nKiB": f"{self.file_bytes / 1024:.0f}",
            "delegate\npartitions": str(self.delegation or "-"),
        }


class Timed(Protocol):
    """Runs a network and gives each run's duration in nanoseconds."""

    def time(self, runs: int) -> list[int]: ...


def find_contenders(
    models: Iterable[str | Path], threads: Sequence[int] = ()
) -> list[Contender]:
    """Lists each model's files with each number of threads.

    Args:
        models: `.tflite`, `.onnx` and `.keras` files, or presets and folders with the
            same files as a preset, of which all but `.keras` are measured. `.onnx`
            files run in each of `benchmark_onnx.RUNTIMES` that is installed.
        threads: numbers of CPU threads; if empty, 1, but for Keras the backend chooses.

    Raises:
        MissingPackage: there are only `.onnx` files and no runtime for them.
        ValueError: a model is missing, or a number of threads is below 1.
    """
    for number in threads:
        check_threads(number)
    files = {name: file for model in models for name, file in _find_files(model)}
    if not files:
        raise ValueError("no models to measure; give .tflite or .keras files.")
    contenders = [
        contender
        for name, file in files.items()
        for number in dict.fromkeys(threads) or _default_threads(file)
        for contender in _in_each_runtime(Contender(name, file, number))
    ]
    if not contenders:
        raise MissingPackage(
            ".onnx files need onnxruntime; install it: "
            'pip install "keras-efsnet[onnx]".'
        )
    return contenders


def benchmark(
    contenders: Sequence[Contender],
    runs: int = RUNS,
    progress: Callable[[int, int], None] | None = None,
) -> list[Measurement]:
    """Measures networks on a phantom image.

    Args:
        contenders: from `find_contenders`.
        runs: timed runs of each contender, in turns of `RUNS_A_TURN`.
        progress: called with the number of finished steps and of all steps.

    Raises:
        ValueError: `runs` is below 1, or a network cannot be loaded or run.
    """
    if runs < 1:
        raise ValueError(f"runs must be at least 1, got {runs}.")
    turns = [min(RUNS_A_TURN, runs - done) for done in range(0, runs, RUNS_A_TURN)]
    steps = len(contenders) * COLD_STARTS + len(turns)
    numbers = count(1)

    def advance() -> None:
        if progress:
            progress(next(numbers), steps)

    with ExitStack() as stack:
        starts, workers = [], []
        for contender in contenders:
            several, worker = _start(contender, advance)
            workers.append(stack.enter_context(worker))
            starts.append(several)
        delegations = [worker.delegation() for worker in workers]
        durations = take_turns(workers, turns, advance)
    columns = (contenders, starts, delegations, durations)
    return [make_measurement(*row) for row in zip(*columns, strict=True)]


def take_turns(
    workers: Sequence[Timed], turns: Sequence[int], advance: Callable[[], None]
) -> list[list[int]]:
    """Gives each worker's durations in nanoseconds.

    Args:
        turns: runs of each worker in each turn.
        advance: called after each turn.
    """
    durations: list[list[int]] = [[] for _ in workers]
    for runs in turns:
        for worker, times in zip(workers, durations, strict=True):
            times.extend(worker.time(runs))
        advance()
    return durations


def make_measurement(
    contender: Contender,
    starts: Sequence[Start],
    delegation: Delegation | None,
    durations: Sequence[int],
) -> Measurement:
    """Summarizes a contender's runs; durations are in nanoseconds."""
    median, p95 = np.percentile(durations, (50, 95)) / 1e6
    peaks = [start.peak_memory for start in starts if start.peak_memory is not None]
    return Measurement(
        name=contender.name,
        threads=contender.threads,
        runtime=starts[0].runtime,
        runs=len(durations),
        median_ms=float(median),
        p95_ms=float(p95),
        cold_start_ms=float(np.median([start.milliseconds for start in starts])),
        peak_memory_mib=float(np.median(peaks)) / MEBIBYTE if peaks else None,
        file_bytes=contender.file.stat().st_size,
        delegation=delegation,
    )


def ratios(rows: Sequence[Measurement]) -> list[float | None]:
    """Divides medians by the baseline's with as many threads; None without one."""
    baseline = {row.threads: row.median_ms for row in rows if row.name == BASELINE}
    return [
        row.median_ms / baseline[row.threads] if row.threads in baseline else None
        for row in rows
    ]


def table_cells(rows: Sequence[Measurement]) -> list[dict[str, str]]:
    """Formats the rows, by column title, with ratios if there is a baseline."""
    cells = [row.to_cells() for row in rows]
    if any(row.name == BASELINE for row in rows):
        for row, ratio in zip(cells, ratios(rows), strict=True):
            row[f"of\n{BASELINE}"] = f"{ratio:.2f}" if ratio else "-"
    return cells


def write_report(path: Path, rows: Sequence[Measurement]) -> None:
    """Writes the measurements and facts about this machine as JSON, atomically.

    Raises:
        OSError: `path` cannot be written.
    """
    report = {
        "version": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "measurements": [
            {**row.to_json(), "ratio": ratio}
            for row, ratio in zip(rows, ratios(rows), strict=True)
        ],
    }
    write_text(path, json.dumps(report, indent=2) + "\n")


def _start(
    contender: Contender, advance: Callable[[], None]
) -> tuple[list[Start], Worker]:
    """Starts a contender `COLD_STARTS` times and keeps the last one running."""
    starts = []
    for _ in range(COLD_STARTS - 1):
        with Worker(contender) as worker:
            starts.append(worker.start)
        advance()
    worker = Worker(contender)
    advance()
    return [*starts, worker.start], worker


def _in_each_runtime(contender: Contender) -> list[Contender]:
    if contender.file.suffix != ".onnx":
        return [contender]
    return [
        replace(
            contender,
            name=f"{contender.name}, {benchmark_onnx.RUNTIMES[package]}",
            worker=("-m", benchmark_onnx.__name__, package),
        )
        for package in benchmark_onnx.installed_runtimes()
    ]


def _default_threads(file: Path) -> list[int | None]:
    return [None if file.suffix == ".keras" else 1]


def _find_files(model: str | Path) -> list[tuple[str, Path]]:
    """Lists the names and files to measure for a model."""
    path = find_folder(model) or Path(model)
    names = [*(f"model_{kind}.tflite" for kind in KINDS), "model.onnx"]
    found = [(f"{model}/{name}", path / name) for name in names if path.is_dir()]
    if path.suffix in (".tflite", ".onnx", ".keras"):
        found = [(str(model), path)]
    found = [(name, file) for name, file in found if file.is_file()]
    if not found:
        shipped = ", ".join(preset_names()) or "none"
        raise ValueError(
            f"{model}: nothing to measure there; give .tflite, .onnx or .keras files, "
            f"presets ({shipped}) or folders written by `efsnet export`."
        )
    return found
