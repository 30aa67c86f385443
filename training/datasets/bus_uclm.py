"""BUS-UCLM in its original layout: scans of a Siemens ACUSON S2000 in Ciudad Real.

    BUS-UCLM/images/ALWI_000.png
    BUS-UCLM/masks/ALWI_000.png    green = benign, red = malignant, black = no lesion
    BUS-UCLM/INFO.csv              Image;Resolution;Label;Doppler;Marks;Combined

The first four letters of a name are the patient; CHCO and CHVI are one patient. The
download may be scaled: sizes are read from the images, not from INFO.csv.

Reference: Vallez et al., Scientific Data 12, 2025.
"""

from pathlib import Path

from keras_efsnet.training.datasets.classes import known_label
from keras_efsnet.training.datasets.files import read_table, require_files
from keras_efsnet.training.datasets.sample import Sample

LAYOUT = "BUS-UCLM (INFO.csv, images/ and masks/)"

SAME_PATIENT = {"CHVI": "CHCO"}
"""Names that stand for a patient with another name."""

_TABLE = "INFO.csv"
_COLUMNS = ("Image", "Label", "Doppler", "Marks")
_LETTERS = 4


def is_bus_uclm(folder: Path) -> bool:
    """Says whether a folder holds BUS-UCLM's table and folders."""
    folders = ((folder / name).is_dir() for name in ("images", "masks"))
    return (folder / _TABLE).is_file() and all(folders)


def read_bus_uclm(folder: Path) -> list[Sample]:
    """Lists the images in the order of INFO.csv, named `bus_uclm/ALWI_000`.

    Raises:
        OSError: a file is missing or may not be read.
        ValueError: the table and the files do not agree.
    """
    rows = read_table(folder / _TABLE, _COLUMNS, delimiter=";")
    samples = [_sample(folder, row, where) for where, row in rows]
    images = [sample.image for sample in samples]
    masks = [mask for sample in samples for mask in sample.masks]
    require_files(images, folder / "images", folder / _TABLE)
    require_files(masks, folder / "masks", folder / _TABLE)
    return samples


def _sample(folder: Path, row: dict[str, str], where: str) -> Sample:
    file = row["Image"]
    stem = Path(file).stem
    patient = stem[:_LETTERS]
    return Sample(
        name=f"bus_uclm/{stem}",
        label=known_label(row["Label"], folder / "images" / file),
        image=folder / "images" / file,
        masks=(folder / "masks" / file,),
        source="bus_uclm",
        patient=SAME_PATIENT.get(patient, patient),
        device="Siemens ACUSON S2000",
        doppler=_yes(row["Doppler"], where),
        marks=_yes(row["Marks"], where),
    )


def _yes(cell: str, where: str) -> bool:
    """Reads Yes or No, or their first letters."""
    answer = {"y": True, "n": False}.get(cell[:1].lower())
    if answer is None:
        raise ValueError(f"{where}: Yes or No is expected, got '{cell}'; correct it.")
    return answer
