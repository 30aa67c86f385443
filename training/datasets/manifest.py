"""A manifest: a CSV file that lists the images of any dataset.

    image,masks,label,patient,source,device,fold
    scans/a.png,truth/a.png,benign,17,our clinic,GE Logiq E9,2
    scans/b.png,,normal,18,our clinic,GE Logiq E9,0

`image` and `label` are needed. Paths are relative to the manifest's folder; the union
of several masks, with `;` between them, is the lesion. The column may be called `mask`.
An empty label is an unknown class. normal, benign and malignant may be written in any
case; other labels are classes of their own. `name` stands for an image in folds files;
without it an image is named `<source>/<stem>`, or by its stem where the source is
unknown.
Further columns: `birads`, `histology`, `doppler` and `marks` (yes or no). Others are
left alone.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from keras_efsnet.files import relative_path, write_whole
from keras_efsnet.labels import LABELS, check_label
from keras_efsnet.training.datasets.files import read_table
from keras_efsnet.training.datasets.sample import Sample, by_name

LAYOUT = "a manifest (manifest.csv with the columns image, masks and label)"
MANIFEST_NAME = "manifest.csv"

COLUMNS = (
    *("name", "image", "masks", "label", "source", "patient", "device", "birads"),
    *("histology", "doppler", "marks", "fold"),
)
_BETWEEN_MASKS = ";"
_ANSWERS = {"": None, "yes": True, "no": False}


def read_manifest(path: Path) -> list[Sample]:
    """Lists the images of a manifest in its order.

    Raises:
        OSError: it is missing or may not be read.
        ValueError: it lacks a column, lists no image, a file that it lists is not
            there, a cell holds something else than it may, or two images share a name.
    """
    rows = read_table(path, ("image", "label"))
    if not rows:
        raise ValueError(f"{path}: lists no image; add a row for each.")
    samples = [_sample(path.parent, row, where) for where, row in rows]
    by_name(samples)
    return samples


def write_manifest(samples: Sequence[Sample], path: Path) -> None:
    """Writes a manifest whole, with paths relative to its folder.

    Raises:
        OSError: it cannot be written.
        ValueError: it exists, two samples share a name, or a mask's path holds `;`.
    """
    check_manifest_name(path)
    by_name(samples)
    rows = [_row(sample, path.parent) for sample in samples]
    write_whole(path, lambda part: write_rows(rows, part))


def check_manifest_name(path: Path) -> None:
    """Refuses a file's name that is no manifest's, or is taken.

    Raises:
        ValueError: it is refused.
    """
    if path.suffix.lower() != ".csv":
        raise ValueError(f"{path}: a manifest ends with .csv; give such a name.")
    if path.exists():
        raise ValueError(
            f"{path}: exists already, and runs may use it; choose another name."
        )


def write_rows(rows: Sequence[dict[str, str]], path: Path) -> None:
    """Writes rows by the names of their columns, as `COLUMNS` orders them."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _sample(folder: Path, row: dict[str, str], where: str) -> Sample:
    image = _file(folder, row["image"], where)
    names = row.get("masks", row.get("mask", "")).split(_BETWEEN_MASKS)
    masks = [_file(folder, name.strip(), where) for name in names if name.strip()]
    source = row.get("source") or None
    stem = image.stem if source is None else f"{source}/{image.stem}"
    return Sample(
        name=row.get("name") or stem,
        label=_label(row["label"], where),
        image=image,
        masks=tuple(masks),
        source=source,
        patient=row.get("patient") or None,
        device=row.get("device") or None,
        birads=row.get("birads") or None,
        histology=row.get("histology") or None,
        doppler=_answer(row, "doppler", where),
        marks=_answer(row, "marks", where),
        fold=_fold(row.get("fold", ""), where),
    )


def _file(folder: Path, name: str, where: str) -> Path:
    path = folder / name
    if not name or not path.is_file():
        raise ValueError(
            f"{where}: the file '{name}' is not there; give its path from {folder}."
        )
    return path


def _label(cell: str, where: str) -> str | None:
    if not cell or cell.lower() in LABELS:
        return cell.lower() or None
    try:
        return check_label(cell)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _answer(row: dict[str, str], column: str, where: str) -> bool | None:
    cell = row.get(column, "").lower()
    if cell not in _ANSWERS:
        raise ValueError(
            f"{where}: {column} is yes, no or empty, got '{cell}'; correct it."
        )
    return _ANSWERS[cell]


def _fold(cell: str, where: str) -> int | None:
    try:
        return int(cell) if cell else None
    except ValueError:
        raise ValueError(
            f"{where}: a fold is a whole number or empty, got '{cell}'; correct it."
        ) from None


def _row(sample: Sample, folder: Path) -> dict[str, str]:
    masks = [relative_path(mask, folder) for mask in sample.masks]
    if any(_BETWEEN_MASKS in mask for mask in masks):
        raise ValueError(
            f"{sample.masks[0]}: a mask's path may not hold '{_BETWEEN_MASKS}', which "
            "stands between masks; rename it."
        )
    facts = {name: _cell(getattr(sample, name)) for name in COLUMNS if name != "masks"}
    image = relative_path(sample.image, folder)
    return {**facts, "image": image, "masks": _BETWEEN_MASKS.join(masks)}


def _cell(fact: object) -> str:
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    return "" if fact is None else str(fact)
