"""Runs one network in its own process, for `benchmark`.

    python -m keras_efsnet.tflite.benchmark_worker FILE [THREADS]

Replies in lines of JSON: first the start, or an `error`. A number n as input gives the
durations of n runs in nanoseconds; `delegation` gives LiteRT's split of the graph (null
for Keras).
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_efsnet.images.grey import Size
from keras_efsnet.prediction.loading import load_predictor

WARM_UP = 3
"""Runs before each timed series, to refill caches and restore the clock speed."""


class Network(Protocol):
    """Runs one image `(1, height, width, 1)`, grey values in [0, 255].

    The image's type is the network's `input_type`, or float32 without this attribute.
    """

    size: Size

    def __call__(self, images: np.ndarray) -> Any: ...


def serve(
    load: Callable[[str, int | None], Network],
    describe: Callable[[str], str],
    arguments: Sequence[str],
) -> None:
    """Runs the worker on a file.

    Args:
        load: takes a file and a number of threads, and gives a network that has run one
            image; raises OSError or ValueError if it cannot load the file.
        describe: takes a file and gives its runtime with version.
        arguments: the file and, optionally, the number of threads.
    """
    file, *threads = arguments
    try:
        network = load(file, int(threads[0]) if threads else None)
    except (OSError, ValueError) as error:
        from keras_efsnet.files import describe_error

        return _reply({"error": describe_error(error)})
    _reply({"runtime": describe(file), "peak_memory": peak_memory()})
    frame = make_frame(network)
    for request in map(str.strip, sys.stdin):
        if request == "delegation":
            _reply(_delegation(file))
        else:
            _reply(time_runs(lambda: network(frame), int(request)))


def make_frame(network: Network) -> np.ndarray:
    """Makes a phantom of the network's size and type, `(1, height, width, 1)`."""
    from keras_efsnet.phantoms import make_phantom

    image = make_phantom("benign", seed=0, size=network.size).image
    dtype = getattr(network, "input_type", np.float32)
    return image[None, :, :, None].astype(dtype)


def time_runs(
    run: Callable[[], object],
    runs: int,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> list[int]:
    """Gives the durations of `runs` calls, after `WARM_UP` calls that do not count."""
    for _ in range(WARM_UP):
        run()
    durations = []
    for _ in range(runs):
        start = clock()
        run()
        durations.append(clock() - start)
    return durations


def peak_memory() -> int | None:
    """Gives the largest resident size of this process in bytes; None if unknown."""
    status = Path("/proc/self/status")
    if status.is_file():  # On Linux, ru_maxrss includes the parent's.
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return 1024 * int(fields["VmHWM"].split()[0])
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: in bytes


def _delegation(file: str) -> dict[str, Any] | None:
    if not file.endswith(".tflite"):
        return None
    from keras_efsnet.tflite.delegation import inspect_delegation

    return asdict(inspect_delegation(file))


def _runtime(file: str) -> str:
    if file.endswith(".tflite"):
        return f"LiteRT {version('ai-edge-litert')}"
    import keras

    return f"Keras {keras.__version__}, {keras.backend.backend()}"


def _reply(content: Any) -> None:
    print(json.dumps(content), flush=True)


if __name__ == "__main__":
    serve(load_predictor, _runtime, sys.argv[1:])
