"""Safe loading of untrusted `.tflite` files.

LiteRT does not check all numbers in a file. Wrong ones can crash the process or use up
memory or time. So a file must match the hash in its description; a file without a
description first runs in a separate process.
"""

import json
import math
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path

import numpy as np

from keras_efsnet.models.presets import file_digest

CPU_SECONDS, DATA_BYTES = 2, 2**30
"""Limits of the trial. EFSNet takes tenths of a second and 50 MiB. CPU time does not
depend on the load of the machine."""

PATIENCE = 60
"""Limit of the trial in seconds of wall-clock time."""


def description_path(file: Path) -> Path:
    """Returns the path of a `.tflite` file's description."""
    return file.with_name(f"{file.name}.json")


def check_file(file: Path, content: bytes) -> None:
    """Checks that LiteRT can load a file without harm to this process.

    Args:
        file: its path, to find its description.
        content: its bytes.

    Raises:
        ValueError: it does not match its description, the description is damaged, or
            its trial failed.
    """
    digest = _described_digest(description_path(file))
    if digest is None:
        try:
            _run_sandboxed(content)
        except subprocess.SubprocessError as error:
            raise ValueError(
                f"{file}: not a .tflite file that LiteRT can run (its trial in another "
                "process crashed, or took too long or too much memory); export or copy "
                "it again."
            ) from error
    elif digest != file_digest(content):
        raise ValueError(
            f"{file}: not the file that {description_path(file).name} describes; "
            "export or copy both again."
        )


def _described_digest(description: Path) -> str | None:
    """The hash in a description, or None if there is no description."""
    try:
        return str(json.loads(description.read_text(encoding="utf-8"))["sha256"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{description}: no description of a .tflite file; export or copy it again."
        ) from error


@lru_cache(maxsize=8)
def _run_sandboxed(content: bytes) -> None:
    subprocess.run(
        # Without -P, modules beside this one could shadow others.
        [sys.executable, "-P", __file__],
        input=content,
        timeout=PATIENCE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def main() -> None:
    """Runs the file on stdin once; crashes where LiteRT does."""
    from ai_edge_litert.interpreter import Interpreter

    if sys.platform != "win32":
        import resource

        seconds = math.ceil(time.process_time()) + CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES, DATA_BYTES))
    try:
        runner = Interpreter(
            model_content=sys.stdin.buffer.read()
        ).get_signature_runner()
        tensors = runner.get_input_details()
        runner(**{k: np.zeros(t["shape"], t["dtype"]) for k, t in tensors.items()})
    # Loading the file raises this error again and reports it.
    except (RuntimeError, ValueError):
        return


if __name__ == "__main__":
    main()
