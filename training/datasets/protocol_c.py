"""Makes training/splits/protocol_c_folds.csv, the split of two hospitals.

    python -m keras_efsnet.training.datasets.protocol_c BUSBRA OUT.csv

BUSI by the shipped folds: 2 to 4 train, 1 validates, 0 tests, -1 is unused. BUS-BRA by
its authors' folds: 3 to 5 train, 2 validates, 1 tests. A patient of BUS-BRA who has two
numbers, in two folds, stays on the later side (test after validation after train); the
images on the other side are unused.
"""

import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from keras_efsnet.files import write_whole
from keras_efsnet.training.datasets.busbra import read_busbra
from keras_efsnet.training.datasets.files import read_table
from keras_efsnet.training.datasets.groups import SUBSETS
from keras_efsnet.training.datasets.sample import Sample

COLUMNS = ("source", "stem", "label", "patient", "group", "subset")

BUSI_SUBSETS = {"-1": "unused", "0": "test", "1": "validation"}
BUSBRA_SUBSETS = {1: "test", 2: "validation"}

Row = tuple[str, ...]


def make_rows(busi_folds: Path, busbra: Sequence[Sample]) -> list[Row]:
    """Gives the rows of the file, BUSI's first.

    Args:
        busi_folds: training/splits/busi_grouped_folds.csv.
        busbra: the images of BUS-BRA.

    Raises:
        OSError, ValueError: the folds file cannot be read.
    """
    columns = ("stem", "label", "group", "fold")
    rows = [
        (
            *("busi", row["stem"], row["label"], "", f"busi/{row['group']}"),
            BUSI_SUBSETS.get(row["fold"], "train"),
        )
        for _, row in read_table(busi_folds, columns)
    ]
    return rows + list(_busbra_rows(busbra))


def _busbra_rows(samples: Sequence[Sample]) -> Iterable[Row]:
    subset = {s.name: BUSBRA_SUBSETS.get(s.fold or 0, "train") for s in samples}
    side: dict[str | None, str] = {}
    for sample in samples:
        own = subset[sample.name]
        side[sample.person] = max(side.get(sample.person, own), own, key=SUBSETS.index)
    for sample in samples:
        name = subset[sample.name]
        yield (
            *("busbra", sample.name, sample.label or "", sample.patient or ""),
            sample.person or "",
            name if name == side[sample.person] else "unused",
        )


def main() -> None:
    """Writes the file for a copy of BUS-BRA."""
    folder, out = map(Path, sys.argv[1:])
    shipped = Path(__file__).parents[1] / "splits" / "busi_grouped_folds.csv"
    rows = make_rows(shipped, read_busbra(folder))

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])

    write_whole(out, write)


if __name__ == "__main__":
    main()
