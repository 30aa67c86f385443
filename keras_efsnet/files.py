"""Writing files that are complete or not there at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Calls `write` with a temporary name beside `path`, then renames it to `path`.

    The temporary name keeps the suffix; it is removed when writing fails, and a file
    that was there before stays.

    Raises:
        OSError: it cannot be written; names `path`, which errors of a full disk do not.
    """
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        write(part)
        part.replace(path)
    except OSError as error:
        if error.errno is None:
            raise
        problem = f"cannot be written ({error.strerror})"
        raise OSError(error.errno, problem, str(path)) from error
    finally:
        part.unlink(missing_ok=True)
