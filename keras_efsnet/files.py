"""Writing files that are complete or not there at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Calls `write` with a temporary name beside `path`, then renames it to `path`.

    The temporary name keeps the suffix; it is removed when writing fails, and a file
    that was there before stays.

    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        with naming(path):
            write(part)
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Names `path` in an OSError that names no file, as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename or error.errno is None:
            raise
        problem = f"cannot be written ({error.strerror})"
        raise OSError(error.errno, problem, str(path)) from error
