"""Whole-file writing, output folders, one-line errors and natural order of files."""

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
    """Writes a file under a temporary name, then renames it to `path`.

    If writing fails, the temporary file is removed and the old file stays.

    Args:
        path: the file.
        write: writes the content to the path it receives, which has the same suffix.
        durable: flush to the disk first, so that a power cut leaves a whole file.

    Raises:
        OSError: the file cannot be written.
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
    """Writes a UTF-8 text file with `write_whole`; escapes undecodable file names."""
    content = text.encode(errors="backslashreplace")
    write_whole(path, lambda part: part.write_bytes(content), durable=durable)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Adds `path` to an OSError that names no file, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename or error.errno is None:
            raise
        problem = f"cannot be written ({error.strerror})"
        raise OSError(error.errno, problem, str(path)) from error


def prepare_output(out: Path) -> None:
    """Makes the output folder and checks that files can be written in it.

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


def relative_path(path: Path, folder: Path) -> str:
    """Gives a file's path from a folder with `/`; its whole path on another drive."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return path.resolve().as_posix()


def describe_error(error: Exception) -> str:
    """Returns one line with the file and the problem."""
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        text = name + error.strerror
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())


def natural_order(path: Path) -> list[tuple[str, int]]:
    """Returns a sort key that puts `2.png` before `10.png`."""
    parts = re.findall(r"([^0-9]*)([0-9]*)", path.name.casefold())
    return [(text, int(digits or -1)) for text, digits in parts]
