"""BUS-BRA in its original layout: biopsy-proven tumours of four scanners.

    BUSBRA/Images/bus_0001-l.png
    BUSBRA/Masks/mask_0001-l.png
    BUSBRA/bus_data.csv     ID, Case (the patient), Histology, Pathology, BIRADS, Device
    BUSBRA/5-fold-cv.csv    ID, kFold (the authors' folds 1 to 5)

A patient's left and right scans lie in one fold. They are the halves of the scanner's
screen with two views of one lesion, and not the two breasts
(docs/reference/results.md). Three patients have two numbers each, `SAME_PATIENT`: scans
of one number show the same tissue as those of the other, with other callipers or in
another frame (found by benchmarks/shared_scans.py and looked at). Cases 44 and 65 lie
in the folds 3 and 1, cases 854 and 853 in 4 and 1.

Reference: Gomez-Flores et al., Medical Physics 51:3110, 2024.
"""

from pathlib import Path

from keras_efsnet.training.datasets.classes import known_label
from keras_efsnet.training.datasets.files import read_table, require_files
from keras_efsnet.training.datasets.sample import Sample

LAYOUT = "BUS-BRA (bus_data.csv, Images/ and Masks/)"

SAME_PATIENT = {"65": "44", "91": "56", "854": "853"}
"""Cases that are a patient with another number."""

_TABLE, _FOLDS = "bus_data.csv", "5-fold-cv.csv"
_COLUMNS = ("ID", "Case", "Histology", "Pathology", "BIRADS", "Device")


def is_busbra(folder: Path) -> bool:
    """Says whether a folder holds BUS-BRA's table."""
    return (folder / _TABLE).is_file()


def read_busbra(folder: Path) -> list[Sample]:
    """Lists the images in the order of bus_data.csv, named `busbra/bus_0001-l`.

    Folds are those of 5-fold-cv.csv; unknown where that file is missing.

    Raises:
        OSError: a file is missing or may not be read.
        ValueError: the table and the files do not agree.
    """
    rows = read_table(folder / _TABLE, _COLUMNS)
    folds = _read_folds(folder / _FOLDS)
    samples = [_sample(folder, row, folds) for _, row in rows]
    images = [sample.image for sample in samples]
    masks = [mask for sample in samples for mask in sample.masks]
    require_files(images, folder / "Images", folder / _TABLE)
    require_files(masks, folder / "Masks", folder / _TABLE)
    return samples


def _sample(folder: Path, row: dict[str, str], folds: dict[str, int]) -> Sample:
    stem = row["ID"]
    mask = stem.replace("bus_", "mask_", 1)
    return Sample(
        name=f"busbra/{stem}",
        label=known_label(row["Pathology"], folder / "Images" / f"{stem}.png"),
        image=folder / "Images" / f"{stem}.png",
        masks=(folder / "Masks" / f"{mask}.png",),
        source="busbra",
        patient=SAME_PATIENT.get(row["Case"], row["Case"]),
        device=row["Device"] or None,
        birads=row["BIRADS"] or None,
        histology=row["Histology"] or None,
        fold=folds.get(stem),
    )


def _read_folds(path: Path) -> dict[str, int]:
    if not path.is_file():
        return {}
    folds = {}
    for where, row in read_table(path, ("ID", "kFold")):
        if not row["kFold"].isdecimal():
            raise ValueError(
                f"{where}: kFold is a number from 1, got '{row['kFold']}'; correct it."
            )
        folds[row["ID"]] = int(row["kFold"])
    return folds
