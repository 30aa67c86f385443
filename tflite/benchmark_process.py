"""Contenders of a benchmark, each in its own process."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from keras_efsnet.tflite.delegation import Delegation


@dataclass(frozen=True)
class Contender:
    """A network to measure.

    Attributes:
        name: its name in the results.
        file: a `.tflite` or `.keras` file, or another that the worker can load.
        threads: CPU threads; None means that the runtime chooses.
        backend: Keras backend for a `.keras` file; None keeps the environment's.
        worker: Python's arguments that start the process.
    """

    name: str
    file: Path
    threads: int | None = None
    backend: str | None = None
    worker: tuple[str, ...] = ("-m", "keras_efsnet.tflite.benchmark_worker")


@dataclass(frozen=True)
class Start:
    """The start of a network, up to its first output.

    Attributes:
        milliseconds: time from the start of its process.
        runtime: LiteRT or Keras, with version and backend.
        peak_memory: largest resident size in bytes; None if unknown.
    """

    milliseconds: float
    runtime: str
    peak_memory: int | None


class Worker:
    """A contender loaded in its own process, see `benchmark_worker`.

    Raises:
        ValueError: the network cannot be loaded or run.
    """

    def __init__(self, contender: Contender) -> None:
        self._name = contender.name
        command = [sys.executable, *contender.worker, str(contender.file)]
        if contender.threads is not None:
            command.append(str(contender.threads))
        environment = dict(os.environ)
        if contender.backend is not None:
            environment["KERAS_BACKEND"] = contender.backend
        begin = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            answer = self._read()
            if "error" in answer:
                raise ValueError(answer["error"])
        except BaseException:  # also on Ctrl-C
            self.close()
            raise
        self.start = Start(1000 * (time.perf_counter() - begin), **answer)

    def time(self, runs: int) -> list[int]:
        """Runs the network and gives each run's duration in nanoseconds."""
        return self._ask(runs)

    def delegation(self) -> Delegation | None:
        """LiteRT's split of the graph; None for Keras."""
        answer = self._ask("delegation")
        return answer and Delegation(**answer)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, request: int | str) -> Any:
        assert self._process.stdin
        with suppress(BrokenPipeError):  # `_read` reports a process that has ended
            self._process.stdin.write(f"{request}\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise ValueError(
                f"{self._name}: its process ended with code {self._process.wait()}; "
                "free memory, or check the file with `efsnet info`."
            )
        return json.loads(line)
