"""From other people's names of classes to `LABELS`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from keras_efsnet.labels import LABELS, UNKNOWN, check_label
from keras_efsnet.training.datasets.files import read_table
from keras_efsnet.training.datasets.sample import Sample

ClassNames = Mapping[str, str]
"""Names in small letters, and the label or `UNKNOWN` that each stands for."""


def to_label(name: str, names: ClassNames, where: str) -> str | None:
    """Gives the label that a class's name stands for.

    Args:
        name: the name; one of `LABELS`, in any case, stands for itself.
        names: what other names stand for.
        where: the file, for the error.

    Raises:
        ValueError: nobody says what it stands for.
    """
    small = name.strip().lower()
    if small not in (*names, *LABELS, UNKNOWN):
        raise ValueError(
            f"{where}: the class '{name}' is none of {', '.join(LABELS)}; say what it "
            f"stands for, such as --class '{name}=benign', '{name}={UNKNOWN}', or "
            f"'{name}={name}' for a class of its own."
        )
    label = names.get(small, small)
    return None if label == UNKNOWN else label


def known_label(name: str, where: Path) -> str:
    """Gives the label of a public dataset's class.

    Raises:
        ValueError: it is none of `LABELS`.
    """
    label = name.strip().lower()
    if label not in LABELS:
        raise ValueError(
            f"{where}: a class is {', '.join(LABELS)}, got '{name}'; correct it."
        )
    return label


def only_label(labels: set[str | None], where: str) -> str | None:
    """Gives the one class of an image's lesions, normal where there is none.

    Raises:
        ValueError: there are several.
    """
    if len(labels) > 1:
        named = ", ".join(sorted(label or UNKNOWN for label in labels))
        raise ValueError(
            f"{where}: an image has one class, but its lesions are {named}; "
            "correct one of them or leave the image out."
        )
    return next(iter(labels)) if labels else "normal"


def parse_names(pairs: Sequence[str]) -> dict[str, str]:
    """Reads `NAME=LABEL` pairs, as the command line takes them.

    A label is one of `LABELS`, `UNKNOWN`, or a class of one's own. The latter needs a
    pair of its own name, such as `cyst=cyst`, so that a misspelt label makes no class.

    Raises:
        ValueError: one is no such pair.
    """
    split = [pair.rpartition("=") for pair in pairs]
    labels = {label.strip() for name, _, label in split if _same(name, label)}
    known = {label.lower(): label for label in (*labels, *LABELS, UNKNOWN)}
    names = {}
    for pair, (name, equals, label) in zip(pairs, split, strict=True):
        label = known.get(label.strip().lower(), "")
        if not equals or not label:
            raise ValueError(
                f"--class {pair}: give NAME=LABEL with a label of {', '.join(LABELS)} "
                f"or {UNKNOWN}, or make a class of your own, such as --class cyst=cyst."
            )
        if label != UNKNOWN:
            try:
                check_label(label)
            except ValueError as error:
                raise ValueError(f"--class {pair}: {error}") from None
        names[name.strip().lower()] = label
    return names


def _same(name: str, label: str) -> bool:
    return name.strip().lower() == label.strip().lower()


def find_class_table(folder: Path) -> Path | None:
    """Finds the CSV file with the columns `image` and `label` in a folder."""
    for path in sorted(folder.glob("*.csv")):
        try:
            read_table(path, ("image", "label"))
        except (OSError, ValueError):
            continue
        return path
    return None


def label_samples(
    samples: Sequence[Sample], table: Path, names: ClassNames
) -> list[Sample]:
    """Gives samples the classes of a CSV file with the columns `image` and `label`.

    `image` is a file's name with or without its ending, or its path; an empty label is
    an unknown class.

    Raises:
        OSError, ValueError: the file cannot be read, names an image twice or one that
            is not there, or lacks one.
    """
    labels: dict[str, str | None] = {}
    for where, row in read_table(table, ("image", "label")):
        stem = _stem(row["image"])
        if stem in labels:
            raise ValueError(f"{where}: {stem} is named twice; keep one of the two.")
        labels[stem] = to_label(row["label"] or UNKNOWN, names, where)
    stems = {sample.image.stem for sample in samples}
    for stem in labels:
        if stem not in stems:
            raise ValueError(f"{table}: '{stem}' is no image there; delete its row.")
    for sample in samples:
        if sample.image.stem not in labels:
            raise ValueError(
                f"{sample.image}: has no row in {table.name}; add one, with an empty "
                "label if its class is unknown."
            )
    return [replace(sample, label=labels[sample.image.stem]) for sample in samples]


def _stem(cell: str) -> str:
    return Path(cell.replace("\\", "/")).stem
