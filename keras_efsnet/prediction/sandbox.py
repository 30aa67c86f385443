"""Loading `.tflite` files that nothing vouches for.

LiteRT checks a file's structure, but not all of its numbers: some wrong ones end the
process, or take all of its memory or time. So a file must be the one that its
description names by hash, or, where it has none, run once in a process of its own.
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
"""Limits of loading and running it; EFSNet takes tenths of a second and 50 MiB. The
time is the processor's, so that a busy machine refuses no file."""

PATIENCE = 60
"""Seconds on the clock after which the trial is ended even if it does nothing."""


def description_path(file: Path) -> Path:
    """Where the description of a `.tflite` file lies."""
    return file.with_name(f"{file.name}.json")


def check_file(file: Path, content: bytes) -> None:
    """Makes sure that LiteRT can load a file without harm to this process.

    Args:
        file: its name, to find its description.
        content: its bytes.

    Raises:
        ValueError: it is not the file of its description, the description is damaged,
            or its trial failed.
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
    """The hash in a description, or None where there is none."""
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
        # Without -P, the modules beside this one would hide others of their names.
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
    # What is raised here is raised again, and named, where the file is loaded.
    except (RuntimeError, ValueError):
        return


if __name__ == "__main__":
    main()
