"""Runs of `efsnet train` that start at once, to be killed by a test.

One process imports a backend; each run is a fork of it from before its first operation.
So twenty runs do not pay for twenty imports. The network lacks EFSNet's longest parts,
which would take most of a run's time to compile; every kind of layer that has a state
is still there.
"""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

SERVER = """
import os, signal, sys
import keras
from keras_efsnet import layers
from keras_efsnet.cli import main
from keras_efsnet.training import train
try:
    import tensorflow  # TensorBoard's callback imports it on every backend
except ImportError:
    pass

for block in ("FactorizedBlock", "CSDCBlock", "ShuffleUnit"):
    setattr(layers, block, lambda *_, name, **__: keras.layers.Identity(name=name))

# Ctrl-C is ignored by what is started in the background, and so by what that starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
for line in sys.stdin:
    errors, *arguments = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(main(arguments))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def compile_once(folder: Path) -> dict[str, str]:
    """Gives the environment in which runs share what JAX compiles."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }


class Run:
    """A run, with the methods of `subprocess.Popen`."""

    def __init__(self, answers: int, errors: Path) -> None:
        self.answers = answers
        self.errors = errors
        self.pid = _read_number(answers)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self.answers], [], [], 0)[0]:
            self.returncode = _read_number(self.answers)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self) -> tuple[None, str]:
        if self.returncode is None:
            self.returncode = _read_number(self.answers)
        return None, self.errors.read_text(encoding="utf-8")


class ForkedRuns:
    """Starts runs on a backend, one after another."""

    def __init__(self, backend: str, folder: Path) -> None:
        self.backend = backend
        self.folder = folder
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            env={**os.environ, "KERAS_BACKEND": backend, **compile_once(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def start(self, out: Path, *options: str) -> Run:
        errors = self.folder / "stderr"
        line = "\t".join([str(errors), "train", "--out", str(out), *options])
        self.server.stdin.write(f"{line}\n".encode())
        self.server.stdin.flush()
        return Run(self.server.stdout.fileno(), errors)

    def close(self) -> None:
        """Ends the process; the last run has ended."""
        self.server.communicate()


def _read_number(descriptor: int) -> int:
    """The next line; unbuffered, so that `select` sees what is left."""
    digits = b""
    while not digits.endswith(b"\n"):
        digits += os.read(descriptor, 1) or b"\n"
    return int(digits)
