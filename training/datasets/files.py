"""What a dataset's folders hold: images in natural order, and tables."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from keras_efsnet.files import natural_order
from keras_efsnet.images.reading import SUFFIXES


def list_images(folder: Path) -> list[Path]:
    """Lists a folder's image files, `a (9)` before `a (10)`; hidden ones are left out.

    Raises:
        OSError: the folder is missing or may not be read.
    """
    files = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    return sorted(files, key=natural_order)


def list_below(folder: Path, suffix: str) -> list[Path]:
    """Lists the files with a suffix in a folder and its sub-folders, sorted.

    Links to folders are followed, and each real folder is searched once.
    """
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        found += [Path(place, name) for name in names if name.endswith(suffix)]
    return sorted(found)


def read_table(
    path: Path, columns: Sequence[str], delimiter: str = ","
) -> list[tuple[str, dict[str, str]]]:
    """Reads a CSV file with a header.

    Args:
        path: the file.
        columns: those that it must have.
        delimiter: between the cells.

    Returns:
        For each row where it stands, such as "a.csv, line 2", and its cells by the
        names of their columns, without blanks around them.

    Raises:
        OSError: it is missing or may not be read.
        ValueError: a column is missing, or a row has too many cells.
    """
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file, restval="", delimiter=delimiter)
        names = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = names
        missing = [name for name in columns if name not in names]
        if missing:
            raise ValueError(
                f"{path}: the first line must name the columns {', '.join(columns)}, "
                f"but {', '.join(missing)} is missing; add it."
            )
        return [_clean(row, f"{path}, line {reader.line_num}") for row in reader]


def _clean(row: dict[str, str], where: str) -> tuple[str, dict[str, str]]:
    if None in row:
        raise ValueError(
            f"{where}: more cells than columns; put quotes around a cell with commas."
        )
    return where, {name: cell.strip() for name, cell in row.items()}


def require_files(listed: Sequence[Path], folder: Path, table: Path) -> None:
    """Compares the images that a table lists with those that its folder holds.

    Raises:
        OSError: the folder may not be read.
        ValueError: one is in the table alone or in the folder alone.
    """
    present = set(list_images(folder))
    missing = [path for path in listed if path not in present]
    if missing:
        raise ValueError(
            f"{missing[0]}: listed in {table.name} but not there; copy it again or "
            "delete its row."
        )
    unlisted = sorted(present - set(listed))
    if unlisted:
        raise ValueError(
            f"{unlisted[0]}: every image needs a row in {table.name}; add one or move "
            "the file away."
        )
