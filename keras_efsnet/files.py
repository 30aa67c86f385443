"""Files and folders: written whole or not at all, in order, errors in one line."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_whole(
    path: Path, write: Callable[[Path], Any], *, durable: bool = False
) -> None:
    """Calls `write` with a temporary name beside `path`, then renames it to `path`.

    The temporary name keeps the suffix; it is removed when writing fails, and a file
    that was there before stays.

    Args:
        path: the file.
        write: writes the content to the path it is given.
        durable: the content is on the disk before the file takes its name, so that a
            power cut leaves the old file or the new one.

    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        with naming(path):
            write(part)
            if durable:
                with part.open("rb") as file:
                    os.fsync(file.fileno())
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Writes a UTF-8 text file as `write_whole` does.

    A file's name that is no UTF-8 stays readable in it, as \\udc80 to \\udcff.
    """
    content = text.encode(errors="backslashreplace")
    write_whole(path, lambda part: part.write_bytes(content), durable=durable)


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


def prepare_output(out: Path) -> None:
    """Makes the output folder and makes sure that files can be written in it.

    Raises:
        OSError: they cannot.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        problem = f"cannot be written to ({error.strerror})"
        raise OSError(error.errno, problem, str(out)) from error


def describe_error(error: Exception) -> str:
    """The error in one line: the file, and what is wrong with it."""
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        text = name + error.strerror
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())


def natural_order(path: Path) -> list[tuple[str, int]]:
    """A key that sorts `2.png` before `10.png`: numbers in names as numbers."""
    parts = re.findall(r"([^0-9]*)([0-9]*)", path.name.casefold())
    return [(text, int(digits or -1)) for text, digits in parts]
