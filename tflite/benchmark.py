"""Speed, memory and size of networks, side by side on one machine.

Each network has a process of its own and they take turns, a few runs each, so that
whatever else the machine does slows down all of them alike.
"""

import json
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_efsnet import __version__
from keras_efsnet.files import write_text
from keras_efsnet.models.presets import KINDS, find_folder, preset_names
from keras_efsnet.prediction.predictor import check_threads
from keras_efsnet.tflite.benchmark_process import Contender, Start, Worker
from keras_efsnet.tflite.delegation import Delegation

RUNS = 200
RUNS_A_TURN = 10
COLD_STARTS = 3

MEBIBYTE = 2**20

BASELINE = "plain float32"
"""The contender that ratios refer to, see `keras_efsnet.tflite.plain_graph`."""


@dataclass(frozen=True)
class Measurement:
    """One network's figures; a row of the table.

    Attributes:
        name: the contender's.
        threads: CPU threads; None is the runtime's own choice.
        runtime: LiteRT or Keras, with version and backend.
        runs: how many were timed.
        median_ms: latency of one image of the network's size, from grey values to
            probabilities.
        p95_ms: what 95 % of the runs stay within.
        cold_start_ms: from starting Python to the first answer, the file having been
            read before; median of `COLD_STARTS`.
        peak_memory_mib: of a process that has run one image and does nothing else;
            None where the system does not tell.
        file_bytes: the file's size.
        delegation: LiteRT's split of the graph; None for Keras.
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
        """The figures for people, by column title."""
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
    """A network that can be timed."""

    def time(self, runs: int) -> list[int]:
        """Runs the network and gives each run's duration in nanoseconds."""
        ...


def find_contenders(
    models: Iterable[str | Path], threads: Sequence[int] = ()
) -> list[Contender]:
    """Lists the networks that models stand for, each with each number of threads.

    Args:
        models: `.tflite` and `.keras` files; presets, and folders laid out like one,
            which stand for their `.tflite` files.
        threads: numbers of CPU threads; if empty, 1 for LiteRT and the backend's own
            choice for Keras.

    Raises:
        ValueError: there are no or no such models, or a number of threads is below 1.
    """
    for number in threads:
        check_threads(number)
    files = {name: file for model in models for name, file in _find_files(model)}
    if not files:
        raise ValueError("no models to measure; give .tflite or .keras files.")
    return [
        Contender(name, file, number)
        for name, file in files.items()
        for number in dict.fromkeys(threads) or _default_threads(file)
    ]


def benchmark(
    contenders: Sequence[Contender],
    runs: int = RUNS,
    progress: Callable[[int, int], None] | None = None,
) -> list[Measurement]:
    """Measures networks on a phantom image.

    Args:
        contenders: what to measure, see `find_contenders`.
        runs: how many to time of each, `RUNS_A_TURN` at a turn.
        progress: called with the numbers of finished and of all steps.

    Returns:
        A measurement for each contender.

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
    """Times all workers in each turn.

    Args:
        turns: how many runs each worker has in it.
        advance: called after each turn.

    Returns:
        Each worker's durations in nanoseconds.
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
    """Makes a contender's row; durations are in nanoseconds."""
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
    """Each row's median over the baseline's with as many threads, or None."""
    baseline = {row.threads: row.median_ms for row in rows if row.name == BASELINE}
    return [
        row.median_ms / baseline[row.threads] if row.threads in baseline else None
        for row in rows
    ]


def table_cells(rows: Sequence[Measurement]) -> list[dict[str, str]]:
    """The rows for people, by column title, with ratios where there is a baseline."""
    cells = [row.to_cells() for row in rows]
    if any(row.name == BASELINE for row in rows):
        for row, ratio in zip(cells, ratios(rows), strict=True):
            row[f"of\n{BASELINE}"] = f"{ratio:.2f}" if ratio else "-"
    return cells


def write_report(path: Path, rows: Sequence[Measurement]) -> None:
    """Writes figures and the machine they hold for as JSON, whole or not at all.

    Args:
        path: the file.
        rows: the measurements.

    Raises:
        OSError: `path` cannot be written to.
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
    text = json.dumps(report, indent=2) + "\n"
    write_text(path, text)


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


def _default_threads(file: Path) -> list[int | None]:
    return [1 if file.suffix == ".tflite" else None]


def _find_files(model: str | Path) -> list[tuple[str, Path]]:
    """Names and files of what `model` stands for."""
    path = find_folder(model) or Path(model)
    names = [f"model_{kind}.tflite" for kind in KINDS if path.is_dir()]
    found = [(f"{model}/{name}", path / name) for name in names]
    if path.suffix in (".tflite", ".keras"):
        found = [(str(model), path)]
    found = [(name, file) for name, file in found if file.is_file()]
    if not found:
        shipped = ", ".join(preset_names()) or "none"
        raise ValueError(
            f"{model}: nothing to measure there; give .tflite or .keras files, presets "
            f"({shipped}) or folders written by `efsnet export`."
        )
    return found
